/** Search: objects of an index by words, by a picture, by a thing in one, and by marks. */

import { Newest, ask, askJson } from "./api.js";
import { hint } from "./app.js";
import { byId, fill, h, icon, say, segmented } from "./dom.js";
import { Gallery } from "./gallery.js";
import { Stage } from "./picture.js";
import { problemCard } from "./problems.js";
import { curlOfSearch, pythonOfSearch } from "./snippets.js";
import { saveCoco, takeAwayBar } from "./take_away.js";
import { timesLine } from "./times.js";

const FINDS = 24;
/** Most finds that the gateway returns at once. */
const MOST_FINDS = 200;
const HALF = 0.5;
const FILTERS = ["area > 0.05", "width > height"];

export class Search {
  static title = "Search";

  static offered = (deployment) => deployment.search !== null;

  constructor(app) {
    this.app = app;
    this.newest = new Newest();
    this.kind = "objects";
    this.count = FINDS;
    this.box = null;
    this.alpha = HALF;
    this.good = new Set();
    this.bad = new Set();
    this.gallery = new Gallery(byId("gallery"), {
      mark: (find, isGood) => this.#mark(find, isGood),
      signOf: (find) => (this.good.has(find.id) ? "good" : this.bad.has(find.id) ? "bad" : null),
      openInPoints: (picture) => app.openIn(picture, "points"),
      more: () => {
        this.count = Math.min(MOST_FINDS, 2 * this.count);
        return this.#find();
      },
    });
    this.results = h("div", { class: "results" });
    this.panel = this.#build();
    const verbs = ["embed_text", "embed_objects"].flatMap((kind) => app.deployment.of(kind).slice(0, 1));
    const members = verbs.flatMap((verb) => app.deployment.membersOf(verb));
    this.members = [...new Map(members.map((member) => [member.name, member])).values()];
  }

  enter() {
    byId("gallery").hidden = false;
    this.#showExample();
    if (!this.gallery.asked) this.gallery.invite(this.app.deployment.search);
    if (matchMedia("(pointer: fine)").matches) this.text.focus();
  }

  leave() {
    this.newest.cancel();
    byId("gallery").hidden = true;
  }

  /** A picture that comes while this mode is open becomes the example. */
  pictureChanged() {
    this.box = null;
    if (this.app.mode !== this) return;
    this.uses.checked = true;
    this.#showExample();
    this.#find();
  }

  #build() {
    const send = (event) => {
      event.preventDefault();
      this.#forget();
      this.count = FINDS;
      this.#find();
    };
    this.text = field("search-text", "a red car", "search");
    this.chips = h("div", { class: "marks", hidden: true });
    return h("div", { class: "stack" },
      h("form", { class: "stack", onsubmit: send },
        h("label", { class: "title", for: "search-text" }, "What are you looking for?"),
        this.text, this.#example(), this.#more(),
        h("button", { class: "primary", type: "submit" }, icon("search"), "Search")),
      this.chips, this.results);
  }

  /** The open picture as an example, with a box around the thing to find. */
  #example() {
    this.uses = h("input", { type: "checkbox", onchange: () => this.#showExample() });
    const canvas = h("canvas", { class: "example-stage", "aria-label": "Example: drag a box around the thing that is meant", role: "img" });
    this.stage = new Stage(canvas);
    this.stage.prompting = true;
    this.stage.addEventListener("box", ({ detail }) => this.#setBox(detail));
    this.stage.addEventListener("point", () => this.#setBox(null));
    this.exampleHint = h("p", { class: "fine" });
    const weigh = (event) => { this.alpha = Number(event.target.value); };
    this.weight = h("label", { class: "slider" }, h("span", {}, "words"),
      h("input", { type: "range", min: "0", max: "1", step: "0.1", value: String(HALF), "aria-label": "How much the picture counts", oninput: weigh, onchange: () => this.#find() }),
      h("span", {}, "picture"));
    this.example = h("div", { class: "example", hidden: true }, canvas, this.exampleHint, this.weight);
    const choose = () => byId("file").click();
    this.choose = h("button", { class: "plain small", type: "button", onclick: choose }, icon("image"), "Choose");
    return h("fieldset", { class: "group" },
      h("div", { class: "row between" }, h("label", { class: "check" }, this.uses, "By example"), this.choose),
      this.example);
  }

  #more() {
    this.negative = field("search-not", "van");
    this.scene = field("search-scene", "at night");
    this.where = field("search-where", FILTERS[0]);
    const kinds = segmented("What to show", [["objects", "Objects"], ["pictures", "Pictures"]], this.kind, (kind) => {
      this.kind = kind;
      if (this.gallery.asked) this.#find();
    });
    const take = (text) => { this.where.value = text; };
    return h("details", { class: "more" }, h("summary", {}, "Narrow it down"),
      h("div", { class: "stack" },
        labelled("But not", this.negative), labelled("In pictures of", this.scene), labelled("Filter", this.where),
        h("p", { class: "fine" }, "A condition of SQL, such as ", ...FILTERS.flatMap((text) => [
          h("button", { class: "link mono", type: "button", onclick: () => take(text) }, text), " "])),
        kinds));
  }

  #setBox(box) {
    this.box = box;
    this.#showExample();
    this.#find();
  }

  #showExample() {
    const { picture } = this.app;
    if (this.uses.checked && !picture) {
      this.uses.checked = false;
      byId("file").click();
    }
    const on = this.uses.checked && picture !== null;
    this.example.hidden = !on;
    this.weight.hidden = !this.text.value.trim();
    if (!on) return;
    if (this.stage.picture !== picture) this.stage.setPicture(picture);
    this.stage.show({ prompts: { points: [], box: this.box } });
    this.exampleHint.textContent = this.box ? "What is in the box counts. Click to take the whole picture." : "Drag a box around a thing, or take it whole.";
  }

  /** The parameters of /v1/search; null if nothing is entered. */
  #parameters() {
    const given = { text: this.text, not: this.negative, scene: this.scene, where: this.where };
    const words = Object.fromEntries(Object.entries(given).map(([name, { value }]) => [name, value.trim()]).filter(([, value]) => value));
    const exampled = this.uses.checked && this.app.picture !== null;
    if (!words.text && !words.not && !words.scene && !exampled && !this.good.size) return null;
    return {
      ...words,
      ...(exampled && this.box && { box: this.box }),
      ...(exampled && words.text && { alpha: this.alpha }),
      ...(this.kind === "pictures" && { pictures: true }),
      ...(this.good.size && { good: [...this.good] }),
      ...(this.bad.size && { bad: [...this.bad] }),
      k: this.count,
    };
  }

  async #find() {
    this.#showExample();
    const parameters = this.#parameters();
    if (!parameters) {
      this.results.replaceChildren(hint("Type a word or two, or take a picture as an example."));
      return;
    }
    const picture = this.uses.checked ? this.app.picture : null;
    const job = (signal) => (picture ? ask("v1/search", picture, parameters, signal) : askJson("v1/search", parameters, signal));
    this.gallery.wait();
    try {
      const answer = await this.newest.run(job);
      if (answer) this.#draw(answer, parameters, picture);
    } catch (error) {
      if (error.name === "AbortError") return;
      console.warn(error);
      this.gallery.stop();
      this.results.replaceChildren(problemCard(error, () => this.#find()));
    }
  }

  #draw(answer, parameters, picture) {
    const { finds, folded } = answer.result;
    this.gallery.show(finds, { more: finds.length === parameters.k && parameters.k < MOST_FINDS });
    const name = picture?.name ?? null;
    const count = finds.length === 1 ? "1 find" : `${finds.length} finds`;
    const best = finds.length ? ` The best has ${finds[0].score.toFixed(2)}.` : " Try other words, or a wider filter.";
    fill(this.results,
      h("p", { class: "verdict" }, h("strong", {}, `${count}.`), best),
      folded > 0 && h("p", { class: "fine" }, `${folded} near-duplicates are not shown.`),
      takeAwayBar({
        coco: finds.some(({ mask }) => mask) && (() => saveCoco(this.gallery.pictures(), "finds")),
        code: () => ({ python: pythonOfSearch(parameters, name), curl: curlOfSearch(parameters, name), picture }),
      }),
      timesLine({ ...answer, members: this.members }));
    this.#showMarks();
    say(`${count}`);
  }

  /** Marks a find, or removes the mark, and searches again. */
  #mark(find, isGood) {
    const [set, other] = isGood ? [this.good, this.bad] : [this.bad, this.good];
    other.delete(find.id);
    if (!set.delete(find.id)) set.add(find.id);
    this.#showMarks();
    return this.#find();
  }

  #forget() {
    this.good.clear();
    this.bad.clear();
    this.#showMarks();
  }

  #showMarks() {
    const { good, bad } = this;
    this.chips.hidden = good.size + bad.size === 0;
    const clear = () => {
      this.#forget();
      this.#find();
    };
    this.chips.replaceChildren(
      h("span", {}, "Refined: ", h("b", {}, `${good.size} like this`), ", ", h("b", {}, `${bad.size} not`)),
      h("button", { class: "link", type: "button", onclick: clear }, "clear"));
  }
}

const field = (id, placeholder, type = "text") => h("input", { id, type, placeholder, autocomplete: "off", spellcheck: "false" });

const labelled = (text, input) => h("label", { class: "labelled", for: input.id }, h("span", {}, text), input);
