/** Search results as a gallery: each object in its picture, or each picture with its objects. */

import { getBlob } from "./api.js";
import { drawSpotlight } from "./drawing.js";
import { h, icon, segmented } from "./dom.js";
import { Frame } from "./frame.js";
import { openLarge } from "./large.js";
import { Mask } from "./masks.js";

const CARD_EDGE = 512;
const CANVAS = [480, 360];
/** Context around an object, as a share of its longer edge. */
const CONTEXT = 0.9;
const SKELETONS = 8;

const fileName = (path) => path.split("/").pop();

/** A find as an item to draw and to take away. */
function toItem(find, index) {
  const mask = find.mask && new Mask(find.mask);
  return { index, label: "", score: find.score, box: find.box, mask, find };
}

export class Gallery {
  /** actions: {mark(find, isGood), signOf(find), openInPoints(picture), more()}. */
  constructor(place, actions) {
    this.place = place;
    this.actions = actions;
    this.grouped = false;
    this.asked = false;
    this.finds = [];
    this.head = h("div", { class: "gallery-head", hidden: true },
      h("h2", { class: "title" }, "Finds"),
      segmented("How to show", [["each", "Each"], ["grouped", "By picture"]], "each", (value) => {
        this.grouped = value === "grouped";
        this.#draw();
      }));
    this.grid = h("div", { class: "cards" });
    this.moreButton = h("button", { class: "plain more-finds", type: "button", hidden: true, onclick: () => actions.more() }, "More finds");
    place.replaceChildren(this.head, this.grid, this.moreButton);
    this.seen = new IntersectionObserver((entries) => this.#load(entries), { rootMargin: "300px" });
  }

  /** The content before the first search. */
  invite({ objects, pictures }) {
    const count = (number, name) => `${number.toLocaleString("en")} ${name}`;
    this.grid.replaceChildren(h("div", { class: "invite" }, icon("search"),
      h("h2", {}, count(objects, "objects")), h("p", {}, `in ${count(pictures, "pictures")} that nobody has labelled.`),
      h("p", { class: "fine" }, "Words, a picture, or a thing in a picture find them.")));
  }

  wait() {
    this.asked = true;
    if (this.finds.length) this.grid.classList.add("waiting");
    else this.grid.replaceChildren(...Array.from({ length: SKELETONS }, () => h("span", { class: "card blank" })));
  }

  stop() {
    this.grid.classList.remove("waiting");
    if (!this.finds.length) this.grid.replaceChildren();
  }

  /** more: whether there may be more than these. */
  show(finds, { more }) {
    this.more = more;
    this.finds = finds.map(toItem);
    this.#draw();
  }

  /** The finds by picture, the one with the best find first: {name, width, height, items}. */
  pictures() {
    const groups = Map.groupBy(this.finds, ({ find }) => find.path);
    return [...groups.entries()].map(([path, items]) => {
      const [height, width] = items[0].find.size_hw;
      return { name: path, width, height, items };
    });
  }

  #draw() {
    this.seen.disconnect();
    this.grid.classList.remove("waiting");
    this.head.hidden = !this.finds.length;
    const groups = this.grouped ? this.pictures().map(({ items }) => items) : this.finds.map((item) => [item]);
    this.grid.replaceChildren(...groups.map((items) => this.#card(items)));
    this.moreButton.hidden = !this.more;
    if (!groups.length) this.grid.replaceChildren(h("p", { class: "hint" }, "Nothing like it is in the index."));
  }

  #card(items) {
    const [best] = items;
    const { find } = best;
    const canvas = h("canvas", { class: "card-picture", width: CANVAS[0], height: CANVAS[1] });
    canvas.items = items;
    this.seen.observe(canvas);
    const name = fileName(find.path);
    const many = items.length > 1 ? `, ${items.length} finds` : "";
    const open = h("button", {
      class: "card-open", type: "button", "aria-label": `${name}, score ${find.score.toFixed(2)}${many}: show it large`,
      onclick: () => openLarge(this.pictures().find((one) => one.name === find.path), best, this.actions),
    }, canvas, items.length > 1 && h("span", { class: "badge" }, `${items.length} here`));
    return h("article", { class: "card" }, open,
      h("div", { class: "card-foot" },
        h("span", { class: "card-score" }, find.score.toFixed(2)), h("span", { class: "card-name", title: find.path }, name),
        markButton(this.actions, find, true), markButton(this.actions, find, false)));
  }

  #load(entries) {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue;
      this.seen.unobserve(target);
      drawCard(target, !this.grouped).catch((error) => {
        console.warn(error);
        target.classList.add("missing");
      });
    }
  }
}

/** A "More like this" or "Not this" button for a find. */
export function markButton({ mark, signOf }, find, isGood, text = "") {
  const pressed = signOf(find) === (isGood ? "good" : "bad");
  const name = isGood ? "More like this" : "Not this";
  return h("button", {
    class: text ? "plain" : "quiet icon-only", type: "button", "aria-pressed": String(pressed), "aria-label": name, title: name,
    "data-mark": isGood ? "good" : "bad", onclick: () => mark(find, isGood),
  }, icon(isGood ? "more" : "less"), text);
}

/** A find's picture: {blob, bitmap}; edge: its longest in pixels. */
export async function fetchPicture(find, edge) {
  const [id] = find.id.split(":");
  const blob = await getBlob(`v1/search/pictures/${id}?edge=${edge}`);
  return { blob, bitmap: await createImageBitmap(blob) };
}

async function drawCard(canvas, closeUp) {
  const [{ find, box }] = canvas.items;
  const { bitmap } = await fetchPicture(find, CARD_EDGE);
  const [height, width] = find.size_hw;
  const frame = closeUp && box ? around(box, [width, height]) : whole([width, height]);
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, frame.left, frame.top, width * frame.scale, height * frame.scale);
  drawSpotlight(context, frame, canvas.items.filter(({ mask }) => mask), { bitmap, width, height });
  canvas.classList.add("drawn");
}

/** The whole picture, scaled to cover the card. */
function whole([width, height]) {
  return placed(Math.max(CANVAS[0] / width, CANVAS[1] / height), [width / 2, height / 2], [width, height]);
}

/** The box with some context, kept within the picture if it is large enough. */
function around([left, top, right, bottom], size) {
  const margin = 1 + CONTEXT;
  const scale = Math.min(CANVAS[0] / ((right - left) * margin), CANVAS[1] / ((bottom - top) * margin));
  const least = Math.max(CANVAS[0] / size[0], CANVAS[1] / size[1]);
  return placed(Math.max(scale, least), [(left + right) / 2, (top + bottom) / 2], size);
}

function placed(scale, centre, size) {
  const frame = new Frame();
  const offset = (place) => {
    const wanted = CANVAS[place] / 2 - centre[place] * scale;
    return Math.min(0, Math.max(CANVAS[place] - size[place] * scale, wanted));
  };
  return Object.assign(frame, { scale, left: offset(0), top: offset(1) });
}
