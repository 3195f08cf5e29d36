/** Draws things over a picture: tinted masks with a crisp edge, boxes, tags, prompts. */

import { css, inkOn } from "./palette.js";

const OPACITY = 0.42, FAINT = 0.12;
const DIMMED = 0.5;
const LINE = 2;
const FONT = "600 13px system-ui, sans-serif";
const TAG_HEIGHT = 22, TAG_PAD = 7;
const POSITIVE = "#00a870", NEGATIVE = "#e5383b";

/** The picture, and each item's mask, box and tag. focus: the set of highlighted items, if any. */
export function drawItems(context, frame, items, focus) {
  const faint = (item) => focus.size > 0 && !focus.has(item);
  for (const item of [...items].sort((a, b) => (b.mask?.area ?? 0) - (a.mask?.area ?? 0))) {
    if (item.mask) drawMask(context, frame, item, faint(item));
  }
  for (const item of items) if (item.box) drawBox(context, frame, item, faint(item));
  const taken = [];
  for (const item of items) if (item.label && !faint(item)) drawTag(context, frame, item, taken);
}

function drawMask(context, frame, { mask, colour }, faint) {
  const painted = mask.painted(colour);
  if (!painted) return;
  const [x, y] = frame.toCanvas(mask.box);
  context.globalAlpha = faint ? FAINT : OPACITY;
  context.drawImage(painted, x, y, mask.width * frame.scale, mask.height * frame.scale);
  context.globalAlpha = faint ? 0.35 : 1;
  const ratio = context.getTransform().a;
  const edge = mask.outline(colour, frame.scale * ratio, LINE * ratio);
  context.drawImage(edge, x - LINE, y - LINE, edge.width / ratio, edge.height / ratio);
  context.globalAlpha = 1;
}

function drawBox(context, frame, { box, colour }, faint) {
  const [left, top] = frame.toCanvas(box), [right, bottom] = frame.toCanvas(box.slice(2));
  context.globalAlpha = faint ? 0.3 : 1;
  context.lineWidth = LINE;
  context.strokeStyle = css(colour);
  context.beginPath();
  context.roundRect(left, top, right - left, bottom - top, 3);
  context.stroke();
  context.globalAlpha = 1;
}

/** Above the box, below it, or within: the first place without another tag. */
function drawTag(context, frame, item, taken) {
  const [left, top, right, bottom] = item.box ?? item.mask.box;
  const [x, y] = frame.toCanvas([left, top]), [, below] = frame.toCanvas([right, bottom]);
  context.font = FONT;
  const text = item.score == null ? item.label : `${item.label} ${item.score.toFixed(2)}`;
  const width = context.measureText(text).width + 2 * TAG_PAD;
  const most = context.canvas.width / context.getTransform().a - width;
  const at = Math.max(0, Math.min(x - 1, most));
  const free = (one) => one >= 0 && !taken.some((other) =>
    at < other.at + other.width && other.at < at + width && Math.abs(one - other.top) < TAG_HEIGHT);
  const places = [y - TAG_HEIGHT - 2, below + 2, y + 2];
  const tagTop = places.find(free) ?? Math.max(0, y + 2);
  taken.push({ at, width, top: tagTop });
  context.fillStyle = css(item.colour);
  context.beginPath();
  context.roundRect(at, tagTop, width, TAG_HEIGHT, 6);
  context.fill();
  context.fillStyle = inkOn(item.colour);
  context.textBaseline = "middle";
  context.fillText(text, at + TAG_PAD, tagTop + TAG_HEIGHT / 2 + 0.5);
}

/** The things unchanged, the rest of the picture dimmed. picture: {bitmap, width, height}. */
export function drawSpotlight(context, frame, items, { bitmap, width, height }) {
  if (!items.length) return;
  context.fillStyle = `rgb(0 0 0 / ${DIMMED})`;
  context.fillRect(0, 0, context.canvas.width, context.canvas.height);
  for (const { mask } of items) {
    const edge = mask.outline([255, 255, 255], frame.scale, LINE);
    const [x, y] = frame.toCanvas(mask.box);
    if (edge) context.drawImage(edge, x - LINE, y - LINE);
  }
  const lit = new OffscreenCanvas(context.canvas.width, context.canvas.height);
  const light = lit.getContext("2d");
  for (const { mask } of items) {
    const painted = mask.painted([0, 0, 0]), [x, y] = frame.toCanvas(mask.box);
    if (painted) light.drawImage(painted, x, y, mask.width * frame.scale, mask.height * frame.scale);
  }
  light.globalCompositeOperation = "source-in";
  light.drawImage(bitmap, frame.left, frame.top, width * frame.scale, height * frame.scale);
  context.drawImage(lit, 0, 0);
}

/** Points with their sign, and the box of an object's prompt. */
export function drawPrompts(context, frame, { points, box }) {
  if (box) dashedBox(context, frame, box);
  for (const { x, y, positive } of points) {
    const [cx, cy] = frame.toCanvas([x, y]);
    context.beginPath();
    context.arc(cx, cy, 8, 0, 2 * Math.PI);
    context.fillStyle = positive ? POSITIVE : NEGATIVE;
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(cx - 3.5, cy);
    context.lineTo(cx + 3.5, cy);
    if (positive) {
      context.moveTo(cx, cy - 3.5);
      context.lineTo(cx, cy + 3.5);
    }
    context.stroke();
  }
}

/** A box that is being drawn or used as a prompt, in white and black so that it shows on anything. */
export function dashedBox(context, frame, box) {
  const [left, top] = frame.toCanvas(box), [right, bottom] = frame.toCanvas(box.slice(2));
  context.lineWidth = 2;
  for (const [colour, dash] of [["rgb(0 0 0 / 70%)", []], ["#fff", [6, 5]]]) {
    context.strokeStyle = colour;
    context.setLineDash(dash);
    context.strokeRect(left, top, right - left, bottom - top);
  }
  context.setLineDash([]);
}

/** Where the keyboard points. */
export function drawCrosshair(context, frame, point) {
  const [x, y] = frame.toCanvas(point);
  for (const [colour, width] of [["rgb(0 0 0 / 75%)", 4], ["#fff", 2]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * dx, y + 5 * dy);
      context.lineTo(x + 14 * dx, y + 14 * dy);
    }
    context.stroke();
  }
}
