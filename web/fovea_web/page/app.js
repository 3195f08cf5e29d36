/** What all modes share: the stage, the picture, and the link between lists and picture. */

import { byId, h, say } from "./dom.js";
import { Stage } from "./picture.js";
import { problemCard } from "./problems.js";
import { timesLine } from "./times.js";

/** Shorter work shows no progress, because it would only flash. */
const BUSY_AFTER_MS = 150;

export class App {
  constructor(deployment) {
    this.deployment = deployment;
    this.stage = new Stage(byId("stage"));
    this.picture = null;
    this.mode = null;
    this.links = new Map();
    this.selected = new Set();
    this.stage.addEventListener("hover", ({ detail }) => this.focus(detail));
    this.stage.addEventListener("pick", ({ detail }) => this.select(detail));
  }

  /** Shows a mode's items over the picture, nothing selected. */
  showItems(items, prompts = null) {
    this.selected = new Set();
    this.stage.show({ items, prompts, focus: [] });
  }

  /** Ties a list's button to an item: pointing at either highlights both. */
  link(button, item) {
    this.links.set(item, button);
    for (const name of ["pointerenter", "focus"]) button.addEventListener(name, () => this.focus(item));
    for (const name of ["pointerleave", "blur"]) button.addEventListener(name, () => this.focus(null));
    button.addEventListener("click", () => this.select(item));
  }

  /** Drops the buttons of lists that are gone. */
  unlink() {
    this.links.clear();
  }

  /** Highlights one thing, the selected ones, or none. */
  focus(item) {
    for (const [other, button] of this.links) button.classList.toggle("lit", other === item);
    this.stage.show({ focus: item ? [item] : this.selected });
  }

  /** Toggles a thing's selection; null clears it. */
  select(item) {
    if (!item) this.selected.clear();
    else if (!this.selected.delete(item)) this.selected.add(item);
    for (const [other, button] of this.links) button.setAttribute("aria-pressed", String(this.selected.has(other)));
    this.links.get(item)?.scrollIntoView({ block: "nearest" });
    this.focus(item && this.selected.has(item) ? item : null);
    this.mode?.selectionChanged?.();
  }

  /** The selected ones, or all. */
  chosen(items) {
    const some = items.filter((item) => this.selected.has(item));
    return some.length ? some : items;
  }

  /** Awaits work with a progress bar on the card. */
  async busy(work) {
    const bar = byId("busy");
    const timer = setTimeout(() => { bar.hidden = false; }, BUSY_AFTER_MS);
    byId("card").setAttribute("aria-busy", "true");
    try {
      return await work;
    } finally {
      clearTimeout(timer);
      bar.hidden = true;
      byId("card").removeAttribute("aria-busy");
    }
  }

  /**
   * Runs a request and draws its answer: `job` returns it, or undefined if a newer one came; `draw`
   * gets it. An error becomes a card in `place`, with a button that tries again.
   */
  async answer(place, job, draw) {
    try {
      const answer = await this.busy(job());
      if (answer === undefined) return;
      place.replaceChildren();
      draw(answer);
      place.append(timesLine(answer));
    } catch (error) {
      if (error.name === "AbortError") return;
      console.warn(error);
      place.replaceChildren(problemCard(error, () => this.answer(place, job, draw)));
      say("That did not work");
    }
  }
}

/** A line that says what a panel waits for. */
export const hint = (text) => h("p", { class: "hint" }, text);
