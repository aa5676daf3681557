// Masks: the part of an image that an object covers, one byte a pixel, row by row.

export class Mask {
  constructor(top, left, height, width, data) {
    Object.assign(this, { top, left, height, width, data });
    this._tints = new Map();
    this._outline = null;
  }

  // What the server tells: run lengths, column by column, beginning with the background.
  static of({ top, left, height, width, runs }) {
    const data = new Uint8Array(height * width);
    let place = 0, value = 0;
    for (const run of runs) {
      if (value) {
        for (let end = place + run, n = place; n < end; n++) data[(n % height) * width + ((n / height) | 0)] = 1;
      }
      place += run;
      value ^= 1;
    }
    return new Mask(top, left, height, width, data);
  }

  // What the server takes; the mask is cut to its object first. Null of an empty mask.
  told() {
    const cut = this.cut();
    if (!cut) return null;
    const { top, left, height, width, data } = cut;
    const runs = [];
    let value = 0, run = 0;
    for (let x = 0; x < width; x++) {
      for (let y = 0; y < height; y++) {
        if (data[y * width + x] === value) run++;
        else { runs.push(run); run = 1; value ^= 1; }
      }
    }
    runs.push(run);
    return { top, left, height, width, runs };
  }

  cut() {
    let [y0, y1, x0, x1] = [this.height, -1, this.width, -1];
    for (let y = 0; y < this.height; y++) {
      for (let x = 0; x < this.width; x++) {
        if (!this.data[y * this.width + x]) continue;
        if (y < y0) y0 = y;
        if (y > y1) y1 = y;
        if (x < x0) x0 = x;
        if (x > x1) x1 = x;
      }
    }
    if (y1 < 0) return null;
    const height = y1 - y0 + 1, width = x1 - x0 + 1, data = new Uint8Array(height * width);
    for (let y = 0; y < height; y++) {
      const start = (y + y0) * this.width + x0;
      data.set(this.data.subarray(start, start + width), y * width);
    }
    return new Mask(this.top + y0, this.left + x0, height, width, data);
  }

  holds(x, y) {
    const row = Math.floor(y) - this.top, column = Math.floor(x) - this.left;
    return row >= 0 && column >= 0 && row < this.height && column < this.width
      && this.data[row * this.width + column] === 1;
  }

  // The mask in the whole image, to be painted on.
  whole(height, width) {
    const data = new Uint8Array(height * width);
    for (let y = 0; y < this.height; y++) {
      const start = y * this.width;
      data.set(this.data.subarray(start, start + this.width), (y + this.top) * width + this.left);
    }
    return new Mask(0, 0, height, width, data);
  }

  // A picture of the mask in one colour, [red, green, blue].
  tint(colour) {
    const key = colour.join();
    if (!this._tints.has(key)) this._tints.set(key, this._drawn(colour));
    return this._tints.get(key);
  }

  _drawn([red, green, blue]) {
    const canvas = document.createElement("canvas");
    canvas.width = this.width;
    canvas.height = this.height;
    const pixels = new ImageData(this.width, this.height);
    const values = new Uint32Array(pixels.data.buffer);
    const value = (255 << 24) | (blue << 16) | (green << 8) | red;
    for (let n = 0; n < values.length; n++) if (this.data[n]) values[n] = value;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
    return canvas;
  }

  // Along the edges of pixels, in the image's frame of corners: sharp however close one looks.
  outline() {
    this._outline ??= this._traced();
    return this._outline;
  }

  _traced() {
    const { top, left, height, width, data } = this, path = new Path2D();
    const at = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? 0 : data[y * width + x]);
    for (let y = 0; y <= height; y++) {
      for (let x = 0, start = -1; x <= width; x++) {
        const isEdge = x < width && at(y, x) !== at(y - 1, x);
        if (isEdge && start < 0) start = x;
        if (!isEdge && start >= 0) {
          path.moveTo(left + start, top + y);
          path.lineTo(left + x, top + y);
          start = -1;
        }
      }
    }
    for (let x = 0; x <= width; x++) {
      for (let y = 0, start = -1; y <= height; y++) {
        const isEdge = y < height && at(y, x) !== at(y, x - 1);
        if (isEdge && start < 0) start = y;
        if (!isEdge && start >= 0) {
          path.moveTo(left + x, top + start);
          path.lineTo(left + x, top + y);
          start = -1;
        }
      }
    }
    return path;
  }

  changed() {
    this._tints.clear();
    this._outline = null;
  }
}

// What one mask has and another has not.
export function without(one, other) {
  const data = new Uint8Array(one.data.length);
  for (let y = 0; y < one.height; y++) {
    for (let x = 0; x < one.width; x++) {
      const n = y * one.width + x;
      data[n] = one.data[n] && !other.holds(x + one.left, y + one.top) ? 1 : 0;
    }
  }
  return new Mask(one.top, one.left, one.height, one.width, data);
}

// Set or clear what a polygon, [[x, y], ...] in the frame of corners, goes around: pixels whose middle it
// holds; where it crosses itself, those that lie in an odd number of its rounds.
export function fillPolygon(mask, corners, value) {
  const { height, width, data } = mask, rows = corners.map(([, y]) => y);
  const y0 = Math.max(0, Math.floor(Math.min(...rows))), y1 = Math.min(height - 1, Math.ceil(Math.max(...rows)));
  for (let row = y0; row <= y1; row++) {
    const middle = row + 0.5, crossings = [];
    corners.forEach(([x, y], place) => {
      const [nextX, nextY] = corners[(place + 1) % corners.length];
      if ((y <= middle) !== (nextY <= middle)) crossings.push(x + ((middle - y) / (nextY - y)) * (nextX - x));
    });
    crossings.sort((one, other) => one - other);
    for (let n = 0; n + 1 < crossings.length; n += 2) {
      const start = Math.max(0, Math.ceil(crossings[n] - 0.5)), end = Math.min(width, Math.ceil(crossings[n + 1] - 0.5));
      if (start < end) data.fill(value, row * width + start, row * width + end);
    }
  }
}

// Set or clear a round spot of a mask of the whole image.
export function dab(mask, x, y, radius, value) {
  const { height, width, data } = mask;
  const y0 = Math.max(0, Math.floor(y - radius)), y1 = Math.min(height - 1, Math.ceil(y + radius));
  const x0 = Math.max(0, Math.floor(x - radius)), x1 = Math.min(width - 1, Math.ceil(x + radius));
  for (let row = y0; row <= y1; row++) {
    for (let column = x0; column <= x1; column++) {
      if ((column + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius * radius) data[row * width + column] = value;
    }
  }
}
