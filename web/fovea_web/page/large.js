/** One picture of the results, large, with the actions for each find in it. */

import { fill, h, icon } from "./dom.js";
import { fetchPicture, markButton } from "./gallery.js";
import { colourOf, css } from "./palette.js";
import { Stage } from "./picture.js";
import { problemCard } from "./problems.js";
import { openDialog, saveCutOut } from "./take_away.js";

/** The largest size that the gateway returns. */
const EDGE = 2048;

/** group: {name, width, height, items} of one picture; best: the item that was clicked. */
export async function openLarge(group, best, actions) {
  const canvas = h("canvas", { class: "large-stage", role: "img", "aria-label": `${group.name} with its finds` });
  const side = h("div", { class: "large-side stack" });
  openDialog(group.name.split("/").pop(), h("div", { class: "large" }, canvas, side), { wide: true });
  const stage = new Stage(canvas);
  try {
    const { blob, bitmap } = await fetchPicture(best.find, EDGE);
    const { width, height } = group;
    const picture = { name: group.name.split("/").pop(), blob, bitmap, width, height };
    stage.setPicture(picture);
    showFinds(stage, side, group.items, best, picture, actions);
  } catch (error) {
    side.replaceChildren(problemCard(error, () => openLarge(group, best, actions)));
  }
}

function showFinds(stage, side, finds, best, picture, actions) {
  const items = finds.map((item, index) => ({ ...item, colour: colourOf(index), box: item.mask ? null : item.box }));
  const rows = new Map();
  let chosen = items.find(({ find }) => find.id === best.find.id);
  const detail = h("div", { class: "stack" });
  const choose = (item) => {
    if (!item) return;
    chosen = item;
    stage.show({ focus: [chosen] });
    for (const [other, row] of rows) row.setAttribute("aria-pressed", String(other === chosen));
    fill(detail, about(chosen, picture, actions));
  };
  for (const item of items) {
    const row = h("button", { class: "object", type: "button", "aria-pressed": "false", onclick: () => choose(item) },
      h("span", { class: "object-text" }, item.mask ? `Find ${item.index + 1}` : "The picture"),
      h("span", { class: "ranked-score" }, item.score.toFixed(2)));
    row.style.setProperty("--tile", css(item.colour));
    rows.set(item, row);
  }
  stage.addEventListener("pick", ({ detail: item }) => choose(item));
  stage.addEventListener("hover", ({ detail: item }) => stage.show({ focus: [item ?? chosen] }));
  stage.show({ items });
  side.replaceChildren(h("div", { class: "objects" }, [...rows.values()]), detail);
  choose(chosen);
}

function about({ find, mask, score }, picture, actions) {
  const facts = [
    ["score", score.toFixed(3)], ["picture", `${picture.width} × ${picture.height}`], ["folder", find.folder],
    ["taken", find.taken?.replace("T", " ")], ["file", find.path],
  ].filter(([, value]) => value);
  const after = (action) => (...given) => {
    document.getElementById("dialog").close();
    action(...given);
  };
  const marks = { ...actions, mark: after(actions.mark) };
  return [
    h("div", { class: "row wrap" }, markButton(marks, find, true, "More like this"), markButton(marks, find, false, "Not this")),
    h("div", { class: "row wrap" },
      mask && h("button", { class: "plain", type: "button", onclick: () => saveCutOut(picture, [{ mask }]) }, icon("download"), "Cut-out"),
      h("button", { class: "plain", type: "button", onclick: after(() => actions.openInPoints(picture)) }, icon("image"), "Point at things in it")),
    h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
  ];
}
