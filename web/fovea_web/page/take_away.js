/** Downloads: cut-outs, masks as COCO JSON, the same calls as code. */

import { byId, h, icon, say, segmented } from "./dom.js";
import { cutOut } from "./results.js";

const LINK_LIFE_MS = 10_000;

/** Saves bytes under a name. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), LINK_LIFE_MS);
  say(`${name} saved`);
}

const stem = (name) => name.replace(/\.\w+$/, "");

/** The things without their background, trimmed, as a PNG. */
export async function saveCutOut(picture, items, label = "cut-out") {
  const canvas = cutOut(picture, items.map((item) => item.mask));
  save(await canvas.convertToBlob({ type: "image/png" }), `${stem(picture.name)}-${label}.png`);
}

const xywh = ([left, top, right, bottom]) => [left, top, right - left, bottom - top];

/** A COCO dataset of pictures with their items: [{name, width, height, items}]. */
export function toCoco(pictures) {
  const names = [...new Set(pictures.flatMap(({ items }) => items.map((item) => item.label || "object")))];
  const annotations = [];
  const images = pictures.map(({ name, width, height, items }, place) => {
    for (const { mask, box, score, label } of items) {
      annotations.push({
        id: annotations.length + 1, image_id: place + 1,
        category_id: names.indexOf(label || "object") + 1, iscrowd: 0,
        bbox: xywh(box ?? mask.box), score,
        ...(mask ? { segmentation: mask.rle, area: mask.area } : { area: xywh(box)[2] * xywh(box)[3] }),
      });
    }
    return { id: place + 1, file_name: name, width, height };
  });
  return { images, annotations, categories: names.map((name, place) => ({ id: place + 1, name })) };
}

export function saveCoco(pictures, name) {
  const text = JSON.stringify(toCoco(pictures), null, 1);
  save(new Blob([text], { type: "application/json" }), `${stem(name)}-coco.json`);
}

/** The buttons for {cut, coco, code}: functions, or nothing; code returns {python, curl, picture}. boxed: there are no masks. */
export function takeAwayBar({ cut, coco, code, boxed = false }) {
  return h("section", { class: "take", "aria-label": "Take away" },
    h("h3", {}, "Take away"),
    h("div", { class: "row wrap" },
      cut && h("button", { class: "plain small", type: "button", "data-take": "png", title: "PNG with a transparent background", onclick: cut }, icon("download"), "Cut-out"),
      coco && h("button", { class: "plain small", type: "button", "data-take": "coco", title: boxed ? "Boxes as COCO JSON" : "Masks and boxes as COCO JSON", onclick: coco }, icon("download"), boxed ? "Boxes" : "Masks"),
      code && h("button", { class: "plain small", type: "button", "data-take": "code", title: "The same in Python and for curl", onclick: () => showCode(code()) }, icon("code"), "Code")));
}

/** Python and curl in a dialog, to copy; picture: the one that they use, or nothing. */
function showCode({ python, curl, picture }) {
  const texts = { python, curl };
  const block = h("pre", { class: "code", tabindex: "0", "aria-label": "Code" }, python);
  const choice = segmented("Language", [["python", "Python"], ["curl", "curl"]], "python", (value) => {
    block.textContent = texts[value];
  });
  const copy = h("button", { class: "plain small", type: "button", onclick: () => copyText(block.textContent, copy) }, icon("copy"), "Copy");
  openDialog("The same from a program", h("div", { class: "stack" },
    h("div", { class: "row between" }, choice, copy), block, aboutFile(picture)));
}

/** Which file the calls use: for a scaled picture, the one that was sent. */
function aboutFile(picture) {
  if (!picture) return null;
  if (!picture.scaledFrom) return h("p", { class: "fine" }, "The file must lie where this runs.");
  const keep = h("button", { class: "link", type: "button", onclick: () => save(picture.blob, picture.name) }, "save it");
  return h("p", { class: "fine" }, `This is about the picture as it was sent, ${picture.width} × ${picture.height}: `, keep, " to where this runs.");
}

async function copyText(text, button) {
  await navigator.clipboard.writeText(text);
  button.lastChild.textContent = "Copied";
  say("Copied");
  setTimeout(() => { button.lastChild.textContent = "Copy"; }, 1500);
}

/** The page's dialog with a title, content, and a button that closes it. */
export function openDialog(title, content, { wide = false } = {}) {
  const dialog = byId("dialog");
  dialog.classList.toggle("wide", wide);
  dialog.setAttribute("aria-label", title);
  dialog.replaceChildren(
    h("div", { class: "dialog-head" }, h("h2", {}, title),
      h("button", { class: "quiet icon-only", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"))),
    content);
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  if (!dialog.open) dialog.showModal();
  return dialog;
}
