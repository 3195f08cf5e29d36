/** The stage: a picture on a canvas, the things found in it, and the pointer. */

import { dashedBox, drawCrosshair, drawItems, drawPrompts } from "./drawing.js";
import { Frame } from "./frame.js";

/** A press that moves less is a click. */
const CLICK_PX = 5;
const ZOOM_STEP = 1.25;

/**
 * Events: "hover" (detail: the item or null), "pick" (detail: item), "point" (detail: {x, y, positive}),
 * "box" (detail: [x1, y1, x2, y2]). Frames are pixels of the picture.
 */
export class Stage extends EventTarget {
  constructor(canvas) {
    super();
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.frame = new Frame();
    this.picture = null;
    this.prompting = false;
    this.clear();
    new ResizeObserver(() => this.refresh()).observe(canvas);
    canvas.addEventListener("pointerdown", (event) => this.#press(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#release(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("pointerleave", () => this.#hover(null));
    canvas.addEventListener("contextmenu", (event) => this.prompting && event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** A new picture, without anything on it. */
  setPicture(picture) {
    this.picture = picture;
    this.frame.reset();
    this.clear();
  }

  clear() {
    this.items = [];
    this.focus = new Set();
    this.prompts = null;
    this.cursor = this.rubber = this.start = null;
    this.refresh();
  }

  /** Sets what is drawn. prompts: {points, box} or null; focus: highlighted items. */
  show({ items = this.items, prompts = this.prompts, focus = this.focus }) {
    Object.assign(this, { items, prompts, focus: new Set(focus) });
    this.refresh();
  }

  /** Draws in the next frame. */
  refresh() {
    this.due ??= requestAnimationFrame(() => {
      this.due = null;
      this.#draw();
    });
  }

  /** The smallest thing under a point of the picture. */
  itemAt(x, y) {
    const inBox = ({ box }) => box && x >= box[0] && y >= box[1] && x < box[2] && y < box[3];
    const area = ({ mask, box }) => mask?.area ?? (box[2] - box[0]) * (box[3] - box[1]);
    const under = this.items.filter((item) => (item.mask ? item.mask.has(x, y) : inBox(item)));
    return under.sort((a, b) => area(a) - area(b))[0] ?? null;
  }

  /** Ends a box that is being drawn. */
  cancel() {
    this.start = this.rubber = null;
    this.refresh();
  }

  zoom(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    this.frame.zoomAt(x, y, factor, this.canvas.clientWidth, this.canvas.clientHeight);
    this.refresh();
  }

  #draw() {
    const { canvas, context, frame, picture } = this;
    const ratio = devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (!picture || !width || !height) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    frame.fit(picture, width, height);
    context.imageSmoothingQuality = "high";
    const shown = [picture.width * frame.scale, picture.height * frame.scale];
    context.drawImage(picture.bitmap, frame.left, frame.top, ...shown);
    drawItems(context, frame, this.items, this.focus);
    if (this.prompts) drawPrompts(context, frame, this.prompts);
    if (this.rubber) dashedBox(context, frame, this.rubber);
    if (this.cursor) drawCrosshair(context, frame, this.cursor);
  }

  #at(event) {
    const bounds = this.canvas.getBoundingClientRect();
    return [event.clientX - bounds.left, event.clientY - bounds.top];
  }

  #press(event) {
    if (!this.picture || ![0, 1, 2].includes(event.button)) return;
    const [x, y] = this.#at(event);
    if (!this.frame.holds(x, y, this.picture)) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.start = { x, y, pans: event.button === 1, negative: event.button === 2 || event.altKey };
    if (event.button === 1) event.preventDefault();
  }

  #move(event) {
    if (!this.picture) return;
    const [x, y] = this.#at(event);
    if (!this.start) {
      this.#hover(this.frame.holds(x, y, this.picture) ? this.#itemUnder(x, y) : null);
      return;
    }
    if (this.start.pans || (!this.prompting && this.frame.zoom > 1)) {
      this.frame.move(event.movementX, event.movementY);
    } else if (this.prompting && this.#far(x, y)) {
      this.rubber = this.#boxTo(x, y);
    }
    this.refresh();
  }

  #release(event) {
    if (!this.start) return;
    const [x, y] = this.#at(event);
    const { pans, negative } = this.start;
    const moved = this.#far(x, y), box = this.#boxTo(x, y);
    this.cancel();
    if (pans) return;
    if (moved) {
      if (this.prompting && box[2] - box[0] >= 2 && box[3] - box[1] >= 2) this.#emit("box", box);
      return;
    }
    const [px, py] = this.frame.toPicture(x, y, this.picture);
    if (this.prompting) this.#emit("point", { x: px, y: py, positive: !negative });
    else this.#emit("pick", this.itemAt(px, py));
  }

  #wheel(event) {
    if (!this.picture || !event.ctrlKey) return;
    event.preventDefault();
    this.zoom(event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP, ...this.#at(event));
  }

  #far(x, y) {
    return Math.hypot(x - this.start.x, y - this.start.y) > CLICK_PX;
  }

  #boxTo(x, y) {
    const [ax, ay] = this.frame.toPicture(this.start.x, this.start.y, this.picture);
    const [bx, by] = this.frame.toPicture(x, y, this.picture);
    return [Math.min(ax, bx), Math.min(ay, by), Math.max(ax, bx), Math.max(ay, by)];
  }

  #itemUnder(x, y) {
    return this.itemAt(...this.frame.toPicture(x, y, this.picture));
  }

  #hover(item) {
    if (item === this.hovered) return;
    this.hovered = item;
    this.#emit("hover", item);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
