/** States with undo and redo. */

export class History {
  #past = [];
  #future = [];

  constructor(first) {
    this.now = first;
  }

  /** Adds a state and clears the redo list. */
  push(state) {
    this.#past.push(this.now);
    this.#future = [];
    this.now = state;
  }

  /** Replaces the present state when its answer comes. */
  amend(state) {
    this.now = state;
  }

  undo() {
    if (!this.canUndo) return;
    this.#future.push(this.now);
    this.now = this.#past.pop();
  }

  redo() {
    if (!this.canRedo) return;
    this.#past.push(this.now);
    this.now = this.#future.pop();
  }

  get canUndo() {
    return this.#past.length > 0;
  }

  get canRedo() {
    return this.#future.length > 0;
  }
}
