/** Points: clicks and boxes, and the mask that follows them. */

import { Newest, ask } from "./api.js";
import { hint } from "./app.js";
import { named, pathOf } from "./deployment.js";
import { byId, h, icon, percent, say } from "./dom.js";
import { History } from "./history.js";
import { Mask } from "./masks.js";
import { colourOf, css } from "./palette.js";
import { problemCard } from "./problems.js";
import { thumbnail } from "./results.js";
import { curlOf, pythonOf } from "./snippets.js";
import { saveCoco, saveCutOut, takeAwayBar } from "./take_away.js";
import { timesLine } from "./times.js";

/** Most points of one prompt, the server's own limit. */
const MOST_POINTS = 16;

const blank = (id) => ({ id, points: [], box: null, mask: null, score: null });
const isBlank = ({ points, box }) => !points.length && !box;
/** Points beside a thing are not enough: they do not say which thing. */
const isMeant = ({ points, box }) => Boolean(box) || points.some(({ positive }) => positive);

/** An object's prompt as the parameters of `segment`. */
export function toPrompt({ points, box }) {
  return {
    ...(box && { boxes: [box] }),
    ...(points.length && {
      points: [points.map(({ x, y }) => [x, y])],
      point_labels: [points.map(({ positive }) => (positive ? 1 : 0))],
    }),
  };
}

export class Points {
  static title = "Points";

  static offered = (deployment) => deployment.offers("segment");

  constructor(app) {
    this.app = app;
    this.verb = app.deployment.of("segment")[0];
    this.newest = new Newest();
    this.adds = true;
    this.#forget();
    this.list = h("div", { class: "objects" });
    this.results = h("div", { class: "results" });
    this.panel = h("div", { class: "stack" },
      h("h2", { class: "title" }, "Show what you mean"),
      h("ul", { class: "legend" },
        h("li", {}, h("span", { class: "dot plus" }, "+"), h("span", {}, "Click on it")),
        h("li", {}, h("span", { class: "dot minus" }, "−"), h("span", { class: "fine-pointer" }, "Right-click or Alt-click what is too much"),
          h("span", { class: "coarse-pointer" }, "Press − under the picture, then tap what is too much")),
        h("li", {}, h("span", { class: "dot box" }), "Or drag a box around it")),
      this.list, this.results, keysHelp());
    app.stage.addEventListener("point", ({ detail }) => this.#point(detail));
    app.stage.addEventListener("box", ({ detail }) => this.#edit(() => ({ box: detail })));
    this.#buildToolbar();
    this.#refresh();
  }

  enter() {
    this.app.stage.prompting = true;
    byId("toolbar").hidden = !this.app.picture;
    byId("toolbar").replaceChildren(...this.tools);
    this.#refresh();
  }

  leave() {
    this.newest.cancel();
    this.app.stage.prompting = false;
    byId("toolbar").hidden = true;
  }

  pictureChanged() {
    this.newest.cancel();
    this.#forget();
    byId("toolbar").hidden = this.app.mode !== this;
    this.results.replaceChildren();
    if (this.app.mode === this) this.#refresh();
  }

  undo() {
    this.history.undo();
    this.#moved();
  }

  redo() {
    this.history.redo();
    this.#moved();
  }

  /** Begins another object with the next prompt. */
  begin() {
    const { objects } = this.history.now;
    const empty = objects.find(isBlank);
    if (empty) this.history.amend({ objects, active: empty.id });
    else {
      const next = blank(Math.max(...objects.map(({ id }) => id)) + 1);
      this.history.push({ objects: [...objects, next], active: next.id });
    }
    this.#refresh();
    say("New object");
  }

  /** Removes an object, the active one by default. */
  remove(id = this.history.now.active) {
    const rest = this.history.now.objects.filter((one) => one.id !== id);
    const objects = rest.length ? rest : [blank(id + 1)];
    this.history.push({ objects, active: objects.at(-1).id });
    this.#refresh();
  }

  /** Whether a plain click means "on the thing" (true) or "beside it". */
  setSign(adds) {
    this.adds = adds;
    this.plus.setAttribute("aria-pressed", String(adds));
    this.minus.setAttribute("aria-pressed", String(!adds));
  }

  #forget() {
    this.history = new History({ objects: [blank(0)], active: 0 });
  }

  #active() {
    const { objects, active } = this.history.now;
    return objects.find(({ id }) => id === active);
  }

  #point({ x, y, positive }) {
    if (this.#active().points.length >= MOST_POINTS) {
      this.results.replaceChildren(hint(`An object takes ${MOST_POINTS} points at most. Undo one, or begin a new object.`));
      return;
    }
    const sign = positive && this.adds;
    this.#edit(({ points }) => ({ points: [...points, { x, y, positive: sign }] }));
  }

  /** Changes the active object's prompt and requests its mask. */
  #edit(change) {
    this.editedAt = performance.now();
    const { objects, active } = this.history.now;
    const edited = objects.map((one) => (one.id === active ? { ...one, ...change(one), stale: true } : one));
    this.history.push({ objects: edited, active });
    this.#moved();
  }

  #moved() {
    this.#refresh();
    const object = this.#active();
    if (object.stale && isMeant(object)) this.#ask(object);
    else if (!isBlank(object) && !isMeant(object)) this.results.replaceChildren(hint("Now click on the thing itself."));
    else if (isBlank(object)) this.results.replaceChildren();
  }

  async #ask(object) {
    const { picture } = this.app;
    const parameters = { ...toPrompt(object), ...named(this.verb) };
    const job = (signal) => ask(pathOf("segment"), picture, parameters, signal);
    try {
      const answer = await this.app.busy(this.newest.run(job));
      if (answer && picture === this.app.picture) this.#answered(object, answer);
    } catch (error) {
      if (error.name !== "AbortError") this.results.replaceChildren(problemCard(error, () => this.#ask(object)));
    }
  }

  #answered(object, answer) {
    const { objects, active } = this.history.now;
    const mask = new Mask(answer.result.masks[0]);
    const known = { ...object, mask, score: answer.result.scores[0], stale: false };
    this.history.amend({ objects: objects.map((one) => (one === object ? known : one)), active });
    this.answer = { ...answer, members: this.app.deployment.membersOf(this.verb) };
    this.#refresh();
    requestAnimationFrame(() => performance.measure("click-to-mask", { start: this.editedAt, end: performance.now() }));
    const share = mask.area / (this.app.picture.width * this.app.picture.height);
    say(`Object ${active + 1}: ${percent(share)} of the picture, score ${known.score.toFixed(2)}`);
  }

  #items() {
    return this.history.now.objects.filter(({ mask, points, box }) => mask && (points.length || box)).map((one) => ({
      index: one.id, colour: colourOf(one.id), label: "", score: one.score, box: null, mask: one.mask,
    }));
  }

  #refresh() {
    if (this.app.mode !== this) return;
    const { objects, active } = this.history.now;
    const items = this.#items();
    this.app.unlink();
    this.app.showItems(items, this.#active());
    this.undoButton.disabled = !this.history.canUndo;
    this.redoButton.disabled = !this.history.canRedo;
    const shown = objects.filter((one) => !isBlank(one) || objects.length > 1);
    this.list.replaceChildren(...shown.map((one) => this.#row(one, one.id === active, items)));
    if (items.length && this.answer) this.results.replaceChildren(this.#takeAway(items), timesLine(this.answer));
  }

  #row(object, isActive, items) {
    const item = items.find(({ index }) => index === object.id);
    const name = `Object ${object.id + 1}`;
    const activate = () => {
      this.history.amend({ ...this.history.now, active: object.id });
      this.#refresh();
    };
    const prompts = [object.box && "a box", object.points.length && `${object.points.length} point${object.points.length > 1 ? "s" : ""}`];
    const button = h("button", { class: "object", type: "button", "aria-pressed": String(isActive), onclick: activate },
      item ? thumbnail(this.app.picture, item) : h("span", { class: "thumb blank" }),
      h("span", { class: "object-text" }, h("b", {}, name),
        h("span", { class: "fine" }, prompts.filter(Boolean).join(" and ") || "click in the picture")),
      item && h("span", { class: "ranked-score", title: "The model's own estimate" }, percent(object.score)));
    button.style.setProperty("--tile", css(colourOf(object.id)));
    const remove = h("button", { class: "quiet icon-only", type: "button", "aria-label": `Remove ${name}`, onclick: () => this.remove(object.id) }, icon("trash"));
    return h("div", { class: "object-row" }, button, remove);
  }

  #takeAway(items) {
    const { app } = this;
    const calls = this.history.now.objects.filter(isMeant).map((one) => ({
      kind: "segment", parameters: { ...toPrompt(one), ...named(this.verb) },
    }));
    return takeAwayBar({
      cut: () => saveCutOut(app.picture, items),
      coco: () => saveCoco([{ ...app.picture, items }], app.picture.name),
      code: () => ({ python: pythonOf(calls, app.picture.name), curl: curlOf(calls, app.picture.name), picture: app.picture }),
    });
  }

  #buildToolbar() {
    const tool = (name, glyph, press, more = {}) =>
      h("button", { type: "button", class: "tool", "aria-label": name, title: name, onclick: press, ...more }, icon(glyph));
    this.plus = tool("Clicks add", "add", () => this.setSign(true), { "aria-pressed": "true" });
    this.minus = tool("Clicks take away", "minus", () => this.setSign(false), { "aria-pressed": "false" });
    this.undoButton = tool("Undo (Ctrl Z)", "undo", () => this.undo());
    this.redoButton = tool("Redo (Ctrl Shift Z)", "redo", () => this.redo());
    const next = h("button", { type: "button", class: "tool wide", title: "New object (N)", onclick: () => this.begin() }, icon("layers"), "New object");
    this.tools = [this.plus, this.minus, h("span", { class: "gap" }), this.undoButton, this.redoButton, h("span", { class: "gap" }), next];
  }
}

function keysHelp() {
  const rows = [
    ["Arrows", "move the cross, once the picture has the focus"], ["Enter", "on the thing"], ["−", "beside it"],
    ["B, B", "two corners of a box"], ["N", "new object"], ["Del", "remove it"],
    ["Ctrl Z", "undo"], ["Ctrl Shift Z", "redo"], ["Ctrl wheel", "zoom"], ["0", "fit"],
  ];
  return h("details", { class: "more" }, h("summary", {}, "Keys"),
    h("dl", { class: "keys" }, rows.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])));
}
