/** Where a picture lies on a canvas: fitted, or zoomed around a point. Lengths are CSS pixels. */

const MOST_ZOOM = 8;

export class Frame {
  constructor() {
    this.scale = 1;
    this.left = this.top = 0;
    this.reset();
  }

  /** Fits the picture again. */
  reset() {
    this.zoom = 1;
    this.shiftX = this.shiftY = 0;
  }

  /** Lays out a picture within a canvas. */
  fit(picture, width, height) {
    const fitted = Math.min(width / picture.width, height / picture.height);
    this.scale = fitted * this.zoom;
    const roomX = picture.width * this.scale - width, roomY = picture.height * this.scale - height;
    this.shiftX = clamp(this.shiftX, Math.max(0, roomX) / 2);
    this.shiftY = clamp(this.shiftY, Math.max(0, roomY) / 2);
    this.left = -roomX / 2 + this.shiftX;
    this.top = -roomY / 2 + this.shiftY;
  }

  /** Zooms by a factor so that the point of the canvas stays where it is. */
  zoomAt(x, y, factor, width, height) {
    const zoom = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    const real = zoom / this.zoom;
    this.shiftX = (x - width / 2) * (1 - real) + this.shiftX * real;
    this.shiftY = (y - height / 2) * (1 - real) + this.shiftY * real;
    this.zoom = zoom;
  }

  move(dx, dy) {
    this.shiftX += dx;
    this.shiftY += dy;
  }

  /** A point of the canvas in pixels of the picture, clamped to it. */
  toPicture(x, y, picture) {
    const within = (value, most) => Math.min(most, Math.max(0, Math.round(value * 10) / 10));
    return [
      within((x - this.left) / this.scale, picture.width - 1),
      within((y - this.top) / this.scale, picture.height - 1),
    ];
  }

  /** Pixels of the picture as a point of the canvas. */
  toCanvas([x, y]) {
    return [this.left + x * this.scale, this.top + y * this.scale];
  }

  holds(x, y, picture) {
    const right = this.left + picture.width * this.scale, bottom = this.top + picture.height * this.scale;
    return x >= this.left && y >= this.top && x <= right && y <= bottom;
  }
}

const clamp = (value, most) => Math.min(most, Math.max(-most, value));
