/** Everything: all masks of a picture, each clickable. */

import { Newest, ask } from "./api.js";
import { hint } from "./app.js";
import { named, pathOf } from "./deployment.js";
import { h, say, segmented } from "./dom.js";
import { toItems } from "./masks.js";
import { tileGrid } from "./results.js";
import { curlOf, pythonOf } from "./snippets.js";
import { saveCoco, saveCutOut, takeAwayBar } from "./take_away.js";

const KINDS = [["segment_everything", "Objects"], ["segment_scene", "Scene"]];

export class Everything {
  static title = "Everything";

  static offered = (deployment) => KINDS.some(([kind]) => deployment.offers(kind));

  constructor(app) {
    this.app = app;
    this.newest = new Newest();
    this.answer = null;
    this.items = [];
    this.kinds = KINDS.filter(([kind]) => app.deployment.offers(kind));
    [[this.kind]] = this.kinds;
    this.results = h("div", { class: "results" });
    this.take = h("div", {});
    const choice = segmented("What to outline", this.kinds, this.kind, (kind) => {
      this.kind = kind;
      this.#find();
    });
    this.panel = h("div", { class: "stack" },
      h("h2", { class: "title" }, "Everything in the picture"),
      this.kinds.length > 1 && choice, this.results);
  }

  enter() {
    this.app.showItems(this.items);
    if (this.answer) this.#redraw();
    else this.#find();
  }

  leave() {
    this.newest.cancel();
  }

  pictureChanged() {
    this.newest.cancel();
    this.answer = null;
    this.items = [];
    if (this.app.mode === this) this.#find();
  }

  selectionChanged() {
    const count = this.app.selected.size;
    if (this.picked) this.picked.textContent = count ? `${count} selected` : "Click the things to take with you.";
  }

  #find() {
    const { picture, deployment } = this.app;
    if (!picture) {
      this.results.replaceChildren(hint("Open a picture, and all that has an outline appears here."));
      return undefined;
    }
    const [verb] = deployment.of(this.kind);
    const parameters = named(verb), { kind } = this;
    this.results.replaceChildren(skeleton());
    const job = async () => {
      const answer = await this.newest.run((signal) => ask(pathOf(kind), picture, parameters, signal));
      return answer && { ...answer, kind, parameters, members: deployment.membersOf(verb) };
    };
    return this.app.answer(this.results, job, (answer) => {
      this.answer = answer;
      const { masks, scores, labels } = answer.result;
      this.items = toItems({ masks, scores, labels });
      this.#draw();
    });
  }

  #redraw() {
    const times = this.results.querySelector(".times");
    this.#draw();
    if (times) this.results.append(times);
  }

  #draw() {
    const { app, items } = this;
    app.unlink();
    app.showItems(items);
    const count = items.length === 1 ? "1 thing" : `${items.length} things`;
    this.results.replaceChildren(h("p", { class: "verdict" }, h("strong", {}, items.length ? `${count} found.` : "Nothing has an outline here.")));
    say(this.results.textContent);
    if (!items.length) return;
    this.picked = h("p", { class: "fine", "aria-live": "polite" });
    this.selectionChanged();
    const calls = [{ kind: this.answer.kind, parameters: this.answer.parameters }];
    this.results.append(this.picked, tileGrid(app, items), takeAwayBar({
      cut: () => saveCutOut(app.picture, app.chosen(items)),
      coco: () => saveCoco([{ ...app.picture, items: app.chosen(items) }], app.picture.name),
      code: () => ({ python: pythonOf(calls, app.picture.name), curl: curlOf(calls, app.picture.name), picture: app.picture }),
    }));
  }
}

/** Empty tiles. */
function skeleton() {
  return h("div", { class: "stack" }, h("p", { class: "fine" }, "Looking at everything …"),
    h("div", { class: "tiles" }, Array.from({ length: 6 }, () => h("span", { class: "tile blank" }))));
}
