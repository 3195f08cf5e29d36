/** The keyboard: a cross that points in the picture, and shortcuts. */

import { say } from "./dom.js";

const STEP = 0.02, FINE_STEP = 0.004;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const FIELDS = "input, textarea, select";

/** Binds the keys of the stage and of the points mode. */
export function bindKeys(app, points) {
  const { stage } = app;
  stage.canvas.addEventListener("keydown", (event) => onStage(event, app, points));
  stage.canvas.addEventListener("focus", () => {
    if (stage.picture && stage.canvas.matches(":focus-visible")) showCursor(stage);
  });
  stage.canvas.addEventListener("blur", () => hideCursor(stage));
  stage.canvas.addEventListener("pointerdown", () => hideCursor(stage));
  document.addEventListener("keydown", (event) => {
    if (app.mode !== points || !points || event.target.matches(FIELDS)) return;
    const control = event.ctrlKey || event.metaKey;
    const key = event.key.toLowerCase();
    if (control && key === "z") act(event, () => (event.shiftKey ? points.redo() : points.undo()));
    else if (control && key === "y") act(event, () => points.redo());
    else if (!control && key === "n") act(event, () => points.begin());
    else if (event.key === "Delete") act(event, () => points.remove());
  });
}

function act(event, action) {
  event.preventDefault();
  action();
}

function showCursor(stage) {
  stage.cursor ??= [stage.picture.width / 2, stage.picture.height / 2];
  stage.refresh();
}

function hideCursor(stage) {
  stage.cursor = null;
  stage.refresh();
}

function onStage(event, { stage, mode, select }, points) {
  if (!stage.picture || event.ctrlKey || event.metaKey) return;
  if (event.key in ARROWS) act(event, () => moveCursor(stage, ARROWS[event.key], event.shiftKey ? FINE_STEP : STEP));
  else if (event.key === "+" && mode !== points) act(event, () => stage.zoom(1.25));
  else if (event.key === "0") act(event, () => { stage.frame.reset(); stage.refresh(); });
  else if (event.key === "Escape") { corner = null; stage.cancel(); }
  else if (stage.cursor) onCursor(event, stage, mode === points && points);
}

/** The first corner of a box drawn with the keyboard. */
let corner = null;

function onCursor(event, stage, points) {
  const [x, y] = stage.cursor;
  const emit = (name, detail) => stage.dispatchEvent(new CustomEvent(name, { detail }));
  if (!points) {
    if (["Enter", " "].includes(event.key)) act(event, () => emit("pick", stage.itemAt(x, y)));
  } else if (["Enter", " ", "+"].includes(event.key)) {
    act(event, () => emit("point", { x, y, positive: !event.shiftKey }));
  } else if (event.key === "-") {
    act(event, () => emit("point", { x, y, positive: false }));
  } else if (event.key.toLowerCase() === "b") {
    act(event, () => setCorner(stage, emit));
  }
}

function setCorner(stage, emit) {
  const [x, y] = stage.cursor;
  if (!corner) {
    corner = [x, y];
    say("First corner");
    return;
  }
  const box = [Math.min(corner[0], x), Math.min(corner[1], y), Math.max(corner[0], x), Math.max(corner[1], y)];
  corner = null;
  stage.cancel();
  if (box[2] > box[0] && box[3] > box[1]) emit("box", box);
}

function moveCursor(stage, [dx, dy], share) {
  showCursor(stage);
  const { width, height } = stage.picture;
  const step = share * Math.max(width, height);
  const within = (value, most) => Math.min(most, Math.max(0, Math.round(value * 10) / 10));
  stage.cursor = [within(stage.cursor[0] + dx * step, width - 1), within(stage.cursor[1] + dy * step, height - 1)];
  const [x, y] = stage.cursor;
  if (corner) stage.rubber = [Math.min(corner[0], x), Math.min(corner[1], y), Math.max(corner[0], x), Math.max(corner[1], y)];
  stage.refresh();
}
