/** Words: labels or a sentence, and where in the picture they are. */

import { Newest, ask } from "./api.js";
import { hint } from "./app.js";
import { named, pathOf } from "./deployment.js";
import { h, say, segmented } from "./dom.js";
import { toItems } from "./masks.js";
import { rankedList } from "./results.js";
import { curlOf, pythonOf } from "./snippets.js";
import { saveCoco, saveCutOut, takeAwayBar } from "./take_away.js";

/** The questions, by their verbs; of two verbs that do the same, the first is used. */
const QUESTIONS = [
  { name: "main", text: "Main thing", kinds: ["main_object"] },
  { name: "all", text: "All of them", kinds: ["detect_and_segment", "detect"] },
  { name: "rank", text: "Just rank", kinds: ["classify"] },
];
/** A line without commas and with this many words is a sentence. */
const SENTENCE_WORDS = 4;

/** Reads a line as {labels} or {sentence}. */
export function read(text) {
  const line = text.trim();
  const parts = line.split(/[,;\n]+/).map((part) => part.trim()).filter(Boolean);
  const sentence = parts.length === 1 && (line.split(/\s+/).length >= SENTENCE_WORDS || /[.!?]$/.test(line));
  return sentence ? { sentence: line } : { labels: parts };
}

export class Words {
  static title = "Words";

  static offered = (deployment) => QUESTIONS.some(({ kinds }) => kinds.some((kind) => deployment.offers(kind)));

  constructor(app) {
    this.app = app;
    this.newest = new Newest();
    this.answer = null;
    this.items = [];
    this.questions = QUESTIONS.map((one) => ({ ...one, kind: one.kinds.find((kind) => app.deployment.offers(kind)) }))
      .filter(({ kind }) => kind);
    this.question = this.questions[0];
    this.results = h("div", { class: "results" });
    this.panel = this.#build();
    this.#showReading();
  }

  enter() {
    this.app.showItems(this.items);
    if (this.answer) this.#draw(this.answer);
    if (matchMedia("(pointer: fine)").matches) this.field.focus();
  }

  leave() {
    this.newest.cancel();
  }

  pictureChanged() {
    this.newest.cancel();
    this.answer = null;
    this.items = [];
    this.results.replaceChildren();
    if (this.app.picture.hints?.length) this.#suggest(this.app.picture.hints);
    if (this.field.value.trim()) this.#find();
  }

  selectionChanged() {}

  #build() {
    this.field = h("textarea", {
      id: "words", rows: "2", spellcheck: "false", placeholder: "man, snowboard, dog\nor: The man on his new snowboard",
      oninput: () => this.#showReading(),
      onkeydown: (event) => {
        if (event.key === "Enter" && !event.shiftKey) {
          event.preventDefault();
          this.#find();
        }
      },
    });
    this.reading = h("div", { class: "reading", "aria-live": "polite" });
    this.tries = h("div", { class: "tries" });
    this.choice = segmented("What to find", this.questions.map(({ name, text }) => [name, text]), this.question.name, (name) => {
      this.question = this.questions.find((one) => one.name === name);
      this.#verbs();
      this.#showReading();
      if (this.answer) this.#find();
    });
    this.verbs = h("div", { class: "verbs" });
    this.#verbs();
    const send = (event) => {
      event.preventDefault();
      this.#find();
    };
    return h("div", { class: "stack" },
      h("form", { class: "stack", onsubmit: send },
        h("label", { class: "title", for: "words" }, "What should be found?"),
        h("div", { class: "field" }, this.field, this.reading), this.tries,
        this.questions.length > 1 && this.choice, this.verbs,
        h("button", { class: "primary", type: "submit" }, "Find it")),
      this.results);
  }

  /** The verb of the question; a choice if several do the same. */
  #verbs() {
    const verbs = this.app.deployment.of(this.question.kind);
    this.verb = verbs[0];
    this.verbs.replaceChildren();
    if (verbs.length > 1) {
      const choose = (event) => {
        this.verb = verbs[event.target.selectedIndex];
        this.#showReading();
      };
      const options = verbs.map(({ name }) => h("option", {}, name));
      this.verbs.append(h("label", { class: "inline" }, "With ", h("select", { onchange: choose }, options)));
    }
  }

  /** Shows how the words are understood before they are sent. */
  #showReading() {
    const known = this.app.deployment.classesOf(this.verb);
    this.field.hidden = this.tries.hidden = known.length > 0;
    if (known.length) {
      const some = known.slice(0, 6).join(", ");
      this.reading.replaceChildren(`These models know ${known.length} classes of their own: ${some}${known.length > 6 ? ", …" : ""}`);
      return;
    }
    const { labels, sentence } = read(this.field.value);
    if (sentence) this.reading.replaceChildren("Read as a sentence");
    else this.reading.replaceChildren(...labels.map((label) => h("span", { class: "chip" }, label)));
  }

  /** Words known to fit a sample. */
  #suggest(hints) {
    const take = (text) => {
      this.field.value = text;
      this.#showReading();
      this.#find();
    };
    this.tries.replaceChildren("Try ", ...hints.map((text) =>
      h("button", { class: "link", type: "button", onclick: () => take(text) }, text)));
  }

  /** The parameters of a verb, by the names of the client's methods. */
  #parameters() {
    if (this.app.deployment.classesOf(this.verb).length) return named(this.verb);
    const { labels, sentence } = read(this.field.value);
    if (!sentence && !labels.length) return null;
    const asked = sentence ? [sentence] : labels;
    const words = {
      main_object: sentence ? { description: sentence } : { labels },
      classify: { labels: asked },
    }[this.question.kind] ?? { phrases: asked };
    return { ...words, ...named(this.verb) };
  }

  #find() {
    const parameters = this.#parameters();
    if (!this.app.picture) return this.#remind("Open a picture first: drop one, or take a sample.");
    if (!parameters) return this.#remind("Type what to look for.");
    const { kind } = this.question, verb = this.verb, { picture } = this.app;
    const job = async () => {
      const answer = await this.newest.run((signal) => ask(pathOf(kind), picture, parameters, signal));
      return answer && { ...answer, kind, parameters, members: this.app.deployment.membersOf(verb) };
    };
    return this.app.answer(this.results, job, (answer) => this.#draw(answer));
  }

  #remind(text) {
    this.results.replaceChildren(hint(text));
    say(text);
    if (this.app.picture) this.field.focus();
  }

  #draw(answer) {
    this.answer = answer;
    this.app.unlink();
    const rows = this.#rows(answer);
    this.items = rows.map(({ item }) => item).filter(Boolean);
    this.app.showItems(this.items);
    this.results.replaceChildren(verdict(answer, rows));
    if (rows.length) this.results.append(rankedList(this.app, rows));
    this.results.append(this.#takeAway(answer));
    say(this.results.firstChild.textContent);
  }

  #rows({ kind, result }) {
    if (kind === "classify") {
      return result.labels.map((label, index) => ({ item: null, label, score: result.scores[index] }));
    }
    if (kind !== "main_object") {
      return toItems(result).map((item) => ({ item, label: item.label, score: item.score }));
    }
    const [item] = result.found
      ? toItems({ boxes: [result.box], masks: [result.mask], scores: [result.box_score], phrases: [result.label] })
      : [null];
    return Object.entries(result.label_scores).map(([label, score]) => ({ item: label === result.label ? item : null, label, score }));
  }

  #takeAway({ kind, parameters }) {
    const masked = this.items.filter((item) => item.mask);
    const { app } = this;
    const calls = [{ kind, parameters }];
    return takeAwayBar({
      boxed: !masked.length,
      cut: masked.length > 0 && (() => saveCutOut(app.picture, app.chosen(masked))),
      coco: this.items.length > 0 && (() => saveCoco([{ ...app.picture, items: app.chosen(this.items) }], app.picture.name)),
      code: () => ({ python: pythonOf(calls, app.picture.name), curl: curlOf(calls, app.picture.name), picture: app.picture }),
    });
  }
}

/** The answer as a sentence. */
function verdict({ kind, result }, rows) {
  const sentence = (text, more = "") => h("p", { class: "verdict" }, h("strong", {}, text), more && ` ${more}`);
  if (kind === "main_object") {
    if (result.found) return sentence(result.label, "is what this picture is about.");
    if (result.label) return sentence(`No ${result.label} found.`, "It is the likeliest of your words, but nothing in the picture is one.");
    return sentence("Nothing of this is in the picture.", "Name a thing that can be seen.");
  }
  if (kind === "classify") return sentence(result.labels[0] ?? "Nothing", "fits best.");
  if (!rows.length) return sentence("Nothing found.", "Try other words for it.");
  return sentence(`${rows.length} ${rows.length === 1 ? "thing" : "things"} found.`);
}
