/** Masks as COCO's compressed run lengths, decoded to the smallest window around them. */

import { colourOf } from "./palette.js";

/** Run lengths, zeros first, from COCO's string: five bits a character, each after the second a difference. */
export function decodeRuns(counts) {
  const runs = [];
  for (let place = 0; place < counts.length;) {
    let value = 0, shift = 0, bits;
    do {
      bits = counts.charCodeAt(place++) - 48;
      value |= (bits & 0x1f) << shift;
      shift += 5;
    } while (bits & 0x20);
    if (bits & 0x10 && shift < 32) value |= -1 << shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
  }
  return runs;
}

/** Calls `visit(column, top, bottom)` for each piece of a column that is within the mask, ends exclusive. */
function eachPiece(runs, height, visit) {
  let from = 0;
  runs.forEach((length, index) => {
    const end = from + length;
    if (index % 2) {
      for (let at = from; at < end;) {
        const column = Math.floor(at / height);
        const stop = Math.min(end, (column + 1) * height);
        visit(column, at - column * height, stop - column * height);
        at = stop;
      }
    }
    from = end;
  });
}

/** A mask of a picture: its window, its pixels, and canvases for drawing it. */
export class Mask {
  /** rle: {size: [h, w], counts}, as the gateway returns it. */
  constructor(rle) {
    this.rle = rle;
    const [height] = rle.size;
    const runs = decodeRuns(rle.counts);
    let left = Infinity, top = Infinity, right = 0, bottom = 0;
    this.area = 0;
    eachPiece(runs, height, (column, from, to) => {
      left = Math.min(left, column);
      right = Math.max(right, column + 1);
      top = Math.min(top, from);
      bottom = Math.max(bottom, to);
      this.area += to - from;
    });
    this.box = this.area ? [left, top, right, bottom] : [0, 0, 0, 0];
    this.width = this.box[2] - this.box[0];
    this.height = this.box[3] - this.box[1];
    this.pixels = new Uint8Array(this.width * this.height);
    eachPiece(runs, height, (column, from, to) => {
      for (let row = from - top; row < to - top; row++) this.pixels[row * this.width + column - left] = 1;
    });
    this.drawings = new Map();
  }

  /** Whether a pixel of the picture is within the mask. */
  has(x, y) {
    const column = Math.floor(x) - this.box[0], row = Math.floor(y) - this.box[1];
    const inside = column >= 0 && row >= 0 && column < this.width && row < this.height;
    return inside && this.pixels[row * this.width + column] === 1;
  }

  /** The window with the mask in a colour, as a canvas to draw from; null for an empty mask. */
  painted(colour) {
    if (!this.area) return null;
    const key = colour.join();
    if (!this.drawings.has(key)) this.drawings.set(key, paint(this, colour));
    return this.drawings.get(key);
  }

  /** The mask's edge in a colour, `line` wide, at the display's scale. */
  outline(colour, scale, line) {
    if (!this.area) return null;
    if (this.outlineKey !== `${colour}|${scale}|${line}`) {
      this.outlineKey = `${colour}|${scale}|${line}`;
      this.edge = stroke(this, colour, scale, line);
    }
    return this.edge;
  }
}

function paint(mask, [red, green, blue]) {
  const canvas = new OffscreenCanvas(mask.width, mask.height);
  const image = new ImageData(mask.width, mask.height);
  const words = new Uint32Array(image.data.buffer);
  const word = (255 << 24) | (blue << 16) | (green << 8) | red;
  for (let index = 0; index < words.length; index++) if (mask.pixels[index]) words[index] = word;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

/** The painted mask shifted in all directions, minus itself: an edge as smooth as the display. */
function stroke(mask, colour, scale, line) {
  const width = Math.ceil(mask.width * scale) + 2 * line, height = Math.ceil(mask.height * scale) + 2 * line;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  const source = mask.painted(colour);
  const at = (dx, dy) => context.drawImage(source, line + dx, line + dy, mask.width * scale, mask.height * scale);
  for (let turn = 0; turn < 12; turn++) {
    at(line * Math.cos((turn * Math.PI) / 6), line * Math.sin((turn * Math.PI) / 6));
  }
  context.globalCompositeOperation = "destination-out";
  at(0, 0);
  return canvas;
}

/** Things to draw: {color, label, score, box, mask} from parallel lists; any may be missing. */
export function toItems({ boxes, masks, scores, phrases, labels }) {
  const count = (masks ?? boxes ?? []).length;
  return Array.from({ length: count }, (_, index) => {
    const mask = masks?.[index] ? new Mask(masks[index]) : null;
    return {
      index,
      colour: colourOf(index),
      label: phrases?.[index] ?? labels?.[index] ?? "",
      score: scores?.[index] ?? null,
      box: boxes?.[index] ?? null,
      mask,
    };
  });
}
