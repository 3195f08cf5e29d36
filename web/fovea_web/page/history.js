/** States that can be undone and done again. */

export class History {
  #past = [];
  #future = [];

  constructor(first) {
    this.now = first;
  }

  /** A new state, after which nothing is left to do again. */
  push(state) {
    this.#past.push(this.now);
    this.#future = [];
    this.now = state;
  }

  /** The present state, known better: its answer came. */
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
