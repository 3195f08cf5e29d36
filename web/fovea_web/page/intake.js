/** How a picture comes in: dropped, pasted, chosen or a sample; and which part of it is sent. */

import { byId } from "./dom.js";

/** Types that the server decodes. */
const SENT_AS_IS = ["image/jpeg", "image/png", "image/webp"];
/** Larger files are scaled down, since each request sends them. */
const MOST_BYTES = 6 * 1024 * 1024;
const MOST_EDGE = 4096;
const SCALED_EDGE = 2048;
const JPEG_QUALITY = 0.92;

/** A file that the browser cannot show. */
export class Unreadable extends Error {}

/**
 * The picture that is shown and sent: {name, blob, bitmap, width, height, scaledFrom}. Frames of all
 * answers are pixels of this one; scaledFrom: [width, height] of the file, if it was scaled down.
 */
export async function toPicture(file, name = file.name || "picture.png") {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Unreadable(name);
  }
  const edge = Math.max(bitmap.width, bitmap.height);
  const large = file.size > MOST_BYTES || edge > MOST_EDGE;
  if (!large && SENT_AS_IS.includes(file.type)) return describe(name, file, bitmap, null);
  const scale = large ? Math.min(1, SCALED_EDGE / edge) : 1;
  const scaled = await redraw(bitmap, scale);
  const from = scale < 1 ? [bitmap.width, bitmap.height] : null;
  return describe(name.replace(/\.\w+$/, "") + ".jpg", scaled, await createImageBitmap(scaled), from);
}

const describe = (name, blob, bitmap, scaledFrom) =>
  ({ name, blob, bitmap, width: bitmap.width, height: bitmap.height, scaledFrom });

async function redraw(bitmap, scale) {
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas.convertToBlob({ type: "image/jpeg", quality: JPEG_QUALITY });
}

/** Takes files from the drop zone, the clipboard and the file dialog, and passes them to `take`. */
export function takePictures(take) {
  const input = byId("file");
  byId("choose").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = "";
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((one) => one.type.startsWith("image/"));
    if (file) take(file);
  });
  takeDrops(take);
}

function takeDrops(take) {
  const veil = byId("dropping");
  let depth = 0;
  const carriesFile = (event) => [...event.dataTransfer.types].includes("Files");
  const show = (change) => {
    depth = Math.max(0, depth + change);
    veil.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => carriesFile(event) && show(1));
  addEventListener("dragleave", (event) => carriesFile(event) && show(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    veil.hidden = true;
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
