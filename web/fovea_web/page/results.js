/** Lists of results, linked with the picture: pointing at one highlights it in the other. */

import { bar, h, percent } from "./dom.js";
import { css } from "./palette.js";

const THUMB_PX = 88;

/** A row for each label or thing: {item, label, score}; item is null if it is not in the picture. */
export function rankedList(app, rows) {
  const list = h("ol", { class: "ranked" });
  for (const row of rows) list.append(rankedRow(app, row));
  return list;
}

function rankedRow(app, { item, label, score }) {
  const swatch = h("span", { class: "swatch" });
  if (item) swatch.style.background = css(item.colour);
  const inside = [
    item ? swatch : h("span", { class: "swatch none" }),
    h("span", { class: "ranked-label" }, label),
    h("span", { class: "ranked-score" }, percent(score)),
    bar(score, item ? css(item.colour) : null),
  ];
  if (!item) return h("li", { class: "ranked-row" }, inside);
  const button = h("button", { type: "button", class: "ranked-row", "aria-pressed": "false" }, inside);
  app.link(button, item);
  return h("li", {}, button);
}

/** A tile for each thing, showing the thing itself. */
export function tileGrid(app, items) {
  const grid = h("div", { class: "tiles" });
  for (const item of items) grid.append(tile(app, item));
  return grid;
}

function tile(app, item) {
  const { width, height } = app.picture;
  const share = item.mask.area / (width * height);
  const name = item.label || `Object ${item.index + 1}`;
  const score = item.score == null ? "" : `, score ${item.score.toFixed(2)}`;
  const text = `${name}, ${percent(share)} of the picture${score}`;
  const button = h("button",
    { type: "button", class: "tile", "aria-pressed": "false", "aria-label": text, title: text },
    thumbnail(app.picture, item), item.label && h("span", { class: "tile-name" }, item.label));
  button.style.setProperty("--tile", css(item.colour));
  app.link(button, item);
  return button;
}

/** The thing alone, on a small canvas. */
export function thumbnail(picture, item) {
  const canvas = h("canvas", { class: "thumb", width: THUMB_PX * 2, height: THUMB_PX * 2 });
  const { mask } = item;
  if (!mask?.area) return canvas;
  const cut = cutOut(picture, [mask]);
  const scale = (2 * THUMB_PX * 0.88) / Math.max(cut.width, cut.height);
  const width = cut.width * scale, height = cut.height * scale;
  const context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(cut, THUMB_PX - width / 2, THUMB_PX - height / 2, width, height);
  return canvas;
}

/** The pixels of a picture within any of the masks, trimmed, as a canvas with transparency. */
export function cutOut(picture, masks) {
  const shown = masks.filter((mask) => mask.area);
  if (!shown.length) return new OffscreenCanvas(1, 1);
  const left = Math.min(...shown.map(({ box }) => box[0])), top = Math.min(...shown.map(({ box }) => box[1]));
  const right = Math.max(...shown.map(({ box }) => box[2])), bottom = Math.max(...shown.map(({ box }) => box[3]));
  const canvas = new OffscreenCanvas(right - left, bottom - top);
  const context = canvas.getContext("2d");
  for (const mask of shown) {
    context.drawImage(mask.painted([0, 0, 0]), mask.box[0] - left, mask.box[1] - top);
  }
  context.globalCompositeOperation = "source-in";
  context.drawImage(picture.bitmap, -left, -top, picture.width, picture.height);
  return canvas;
}
