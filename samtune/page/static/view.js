// Panes that show one image at the same zoom and place, each with its own masks.
//
// Pixels of the screen are image pixels times `scale` and the sides of an image pixel, plus an offset.
// Coordinates of prompts are those of pixel centres: (0, 0) is the middle of the top-left pixel, half a pixel
// inside the image's corner.

import { HAND, css } from "./colours.js";

const MOST = 64;

export class Viewport {
  constructor() {
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    this.size = [1, 1];
    this.pixel = [1, 1];
    this.room = [1, 1];
    this.isFitted = true;
  }

  // Width and height of the image at the scale 1, and of one of its pixels as it is shown.
  get extent() {
    return [this.size[0] * this.pixel[0], this.size[1] * this.pixel[1]];
  }

  get steps() {
    return [this.scale * this.pixel[0], this.scale * this.pixel[1]];
  }

  get least() {
    return Math.min(1, this.room[0] / this.extent[0], this.room[1] / this.extent[1]) / 2;
  }

  fit() {
    const [width, height] = this.room;
    this.scale = Math.min(width / this.extent[0], height / this.extent[1]);
    this.x = (width - this.extent[0] * this.scale) / 2;
    this.y = (height - this.extent[1] * this.scale) / 2;
    this.isFitted = true;
  }

  zoom(factor, x = this.room[0] / 2, y = this.room[1] / 2) {
    const scale = Math.max(this.least, Math.min(MOST, this.scale * factor));
    this.x = x - (x - this.x) * (scale / this.scale);
    this.y = y - (y - this.y) * (scale / this.scale);
    this.scale = scale;
    this.isFitted = false;
    this._keep();
  }

  move(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.isFitted = false;
    this._keep();
  }

  // Some of the image stays in sight.
  _keep() {
    const clamp = (place, length, room) => Math.max(40 - length, Math.min(room - 40, place));
    this.x = clamp(this.x, this.extent[0] * this.scale, this.room[0]);
    this.y = clamp(this.y, this.extent[1] * this.scale, this.room[1]);
  }

  // From the screen to the image's corners.
  corner(x, y) {
    return [(x - this.x) / this.steps[0], (y - this.y) / this.steps[1]];
  }

  toScreen(x, y) {
    return [(x + 0.5) * this.steps[0] + this.x, (y + 0.5) * this.steps[1] + this.y];
  }
}

export class Pane {
  constructor(name, title) {
    this.name = name;
    this.element = document.createElement("figure");
    this.element.className = `pane ${name}`;
    this.picture = document.createElement("canvas");
    this.picture.className = "picture";
    this.overlay = document.createElement("canvas");
    this.overlay.className = "overlay";
    this.overlay.tabIndex = 0;
    this.overlay.setAttribute("role", "application");
    this.overlay.setAttribute("aria-label", `${title}: arrow keys move a cross, "." clicks inside, "," outside`);
    this.caption = document.createElement("figcaption");
    this.title = document.createElement("b");
    this.title.textContent = title;
    this.facts = document.createElement("span");
    this.facts.className = "facts";
    this.caption.append(this.title, this.facts);
    this.room = document.createElement("div");
    this.room.className = "room";
    this.room.append(this.picture, this.overlay);
    this.element.append(this.caption, this.room);
  }

  // Draw the image where the viewport says; only after it was moved.
  drawPicture(bitmap, viewport, filter, isQuick = false) {
    const context = this._ready(this.picture, viewport);
    this.picture.style.filter = filter;
    if (!bitmap) return;
    this._place(context, viewport);
    context.imageSmoothingEnabled = viewport.scale * devicePixelRatio < 2;
    context.imageSmoothingQuality = isQuick ? "low" : "high";
    context.drawImage(bitmap, 0, 0);
  }

  drawOverlay(viewport, layers, marks) {
    const context = this._ready(this.overlay, viewport);
    this._place(context, viewport);
    context.imageSmoothingEnabled = false;
    for (const { mask, colour, opacity, weight = 2, dash = [] } of layers) {
      context.globalAlpha = opacity;
      context.drawImage(mask.tint(colour), mask.left, mask.top);
      context.globalAlpha = 1;
      // lines are drawn on the screen: as wide across as down, whatever the sides of a pixel
      const outline = new Path2D(), onScreen = context.getTransform();
      outline.addPath(mask.outline(), new DOMMatrix([onScreen.a, 0, 0, onScreen.d, onScreen.e, onScreen.f]).scaleSelf(1 / devicePixelRatio, 1 / devicePixelRatio));
      context.save();
      context.lineCap = "square";
      context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
      context.strokeStyle = "rgba(0, 0, 0, 0.55)";
      context.lineWidth = weight + 1.5;
      context.stroke(outline);
      context.setLineDash(dash);
      context.strokeStyle = css(colour);
      context.lineWidth = weight;
      context.stroke(outline);
      context.restore();
    }
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    this._drawMarks(context, viewport, marks);
  }

  _drawMarks(context, viewport, { clicks = [], box, cursor, brush, polygon, lines }) {
    if (lines) this._drawLines(context, viewport, lines);
    if (box) {
      const [x0, y0] = viewport.toScreen(box[0] - 0.5, box[1] - 0.5);
      const [x1, y1] = viewport.toScreen(box[2] + 0.5, box[3] + 0.5);
      for (const [colour, width] of [["rgba(0, 0, 0, 0.6)", 4], ["#ffe119", 2]]) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.strokeRect(x0, y0, x1 - x0, y1 - y0);
      }
    }
    for (const [x, y, isInside] of clicks) this._drawClick(context, ...viewport.toScreen(x, y), isInside);
    if (polygon?.corners.length) this._drawPolygon(context, viewport, polygon);
    if (cursor) this._drawCross(context, ...viewport.toScreen(...cursor));
    if (brush) {
      context.strokeStyle = "rgba(255, 255, 255, 0.9)";
      context.lineWidth = 1.5;
      context.beginPath();
      context.ellipse(brush.x, brush.y, ...viewport.steps.map((step) => step * brush.radius), 0, 0, 2 * Math.PI);
      context.stroke();
      context.strokeStyle = "rgba(0, 0, 0, 0.8)";
      context.lineWidth = 0.75;
      context.stroke();
    }
  }

  // Where other planes cut this one: all along, or at the edges alone.
  _drawLines(context, viewport, { x, y, areShort }) {
    const [across, down] = viewport.toScreen(x, y), [width, height] = viewport.room, length = areShort ? 12 : Infinity;
    context.beginPath();
    for (const [from, to] of [[0, Math.min(width, length)], [Math.max(0, width - length), width]]) {
      context.moveTo(from, down);
      context.lineTo(to, down);
    }
    for (const [from, to] of [[0, Math.min(height, length)], [Math.max(0, height - length), height]]) {
      context.moveTo(across, from);
      context.lineTo(across, to);
    }
    for (const [colour, weight] of [["rgba(0, 0, 0, 0.5)", 3], ["#ffe119", 1]]) {
      context.strokeStyle = colour;
      context.lineWidth = weight;
      context.stroke();
    }
  }

  // A disc with plus or minus: told apart without colours too.
  _drawClick(context, x, y, isInside) {
    context.beginPath();
    context.arc(x, y, 7, 0, 2 * Math.PI);
    context.fillStyle = isInside ? "#00a854" : "#d4262c";
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = "#fff";
    context.stroke();
    context.beginPath();
    context.moveTo(x - 3.5, y);
    context.lineTo(x + 3.5, y);
    if (isInside) {
      context.moveTo(x, y - 3.5);
      context.lineTo(x, y + 3.5);
    }
    context.stroke();
  }

  _drawPolygon(context, viewport, { corners, next }) {
    const places = [...corners, ...next].map(([x, y]) => viewport.toScreen(x - 0.5, y - 0.5));
    context.beginPath();
    for (const place of places) context.lineTo(...place);
    context.fillStyle = `rgba(${HAND.join()}, 0.25)`;
    context.fill("evenodd");
    for (const [colour, width] of [["rgba(0, 0, 0, 0.6)", 4], [css(HAND), 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.stroke();
    }
    places.slice(0, corners.length).forEach(([x, y], place) => {
      context.beginPath();
      context.arc(x, y, place ? 3.5 : 5.5, 0, 2 * Math.PI);
      context.fillStyle = "#fff";
      context.fill();
      context.lineWidth = 2;
      context.strokeStyle = css(HAND);
      context.stroke();
    });
  }

  _drawCross(context, x, y) {
    for (const [colour, width] of [["rgba(0, 0, 0, 0.7)", 4], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(x - 14, y); context.lineTo(x - 4, y);
      context.moveTo(x + 4, y); context.lineTo(x + 14, y);
      context.moveTo(x, y - 14); context.lineTo(x, y - 4);
      context.moveTo(x, y + 4); context.lineTo(x, y + 14);
      context.stroke();
    }
  }

  _ready(canvas, viewport) {
    const width = Math.round(viewport.room[0] * devicePixelRatio);
    const height = Math.round(viewport.room[1] * devicePixelRatio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    return context;
  }

  _place(context, viewport) {
    const [across, down] = viewport.steps.map((step) => step * devicePixelRatio);
    context.setTransform(across, 0, 0, down, viewport.x * devicePixelRatio, viewport.y * devicePixelRatio);
  }
}
