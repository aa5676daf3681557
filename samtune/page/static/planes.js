// The planes of a volume that prompts are not given in: to look at, each cut where a place was clicked.
//
// Axes are those of the body: 0 runs to the right, 1 to the front, 2 to the head. In a picture of a plane the
// first of its two axes runs to the left and the second one up, each pixel as wide and high as its voxel.

import { api } from "./api.js";
import { ofClass } from "./colours.js";
import { find, make } from "./dom.js";
import { Mask } from "./masks.js";
import { asking, page, viewport } from "./page.js";
import { Pane, Viewport } from "./view.js";

const others = (axis) => [0, 1, 2].filter((each) => each !== axis);
const nameOf = (axis) => page.session.volume.planes[axis];
export const titleOf = (axis) => nameOf(axis)[0].toUpperCase() + nameOf(axis).slice(1);

// Width and height of a pixel of a plane, the smaller of them as one.
export function pixelOf(axis) {
  const [across, up] = others(axis).map((each) => page.session.volume.spacing[each]), least = Math.min(across, up);
  return [across / least, up / least];
}

// Column and row of a voxel in a plane, and back again for the plane's own two axes.
const pixelAt = (axis, voxel) => others(axis).map((each) => page.session.volume.shape[each] - 1 - voxel[each]);
function voxelAt(axis, [column, row], voxel) {
  const { shape } = page.session.volume, [across, up] = others(axis), found = [...voxel];
  const inside = (value, each) => Math.min(shape[each] - 1, Math.max(0, shape[each] - 1 - Math.floor(value)));
  found[across] = inside(column, across);
  found[up] = inside(row, up);
  return found;
}

class Plane {
  constructor(axis, go) {
    const { shape } = page.session.volume, [across, up] = others(axis);
    this.axis = axis;
    this.viewport = new Viewport();
    this.viewport.size = [shape[across], shape[up]];
    this.viewport.pixel = pixelOf(axis);
    this.pane = new Pane("plane", titleOf(axis));
    this.pane.overlay.setAttribute("aria-label", `${titleOf(axis)} plane, to look at: a click shows that place in all planes`);
    this.slider = make("input", { type: "range", min: 0, max: shape[axis] - 1, step: 1, "aria-label": `${nameOf(axis)} slice` });
    this.count = make("span", { className: "fact" });
    this.pane.facts.append(this.slider, this.count);
    this.bitmap = null;
    this.layers = [];
    this.shown = "";
    this._listen(go);
  }

  _listen(go) {
    const { overlay } = this.pane;
    const jump = (event) => {
      const edges = overlay.getBoundingClientRect();
      go(voxelAt(this.axis, this.viewport.corner(event.clientX - edges.left, event.clientY - edges.top), page.voxel));
    };
    const move = (number) => {
      const voxel = [...page.voxel];
      voxel[this.axis] = Math.min(page.session.volume.shape[this.axis] - 1, Math.max(0, number));
      go(voxel);
    };
    overlay.addEventListener("pointerdown", (event) => { overlay.setPointerCapture(event.pointerId); jump(event); });
    overlay.addEventListener("pointermove", (event) => { if (event.buttons & 1) jump(event); });
    overlay.addEventListener("wheel", (event) => { event.preventDefault(); move(page.voxel[this.axis] - Math.sign(event.deltaY)); }, { passive: false });
    this.slider.addEventListener("input", () => move(Number(this.slider.value)));
  }

  // Load what is not shown yet: another slice, or other objects of the image on the screen.
  async show() {
    const number = page.voxel[this.axis], wanted = `${number} ${asking.image?.index} ${asking.image?.objectsNumber}`;
    this.slider.value = number;
    this.count.textContent = `${number + 1} of ${page.session.volume.shape[this.axis]}`;
    this.draw();
    if (wanted === this.shown) return;
    const isOther = !this.bitmap || this.number !== number;
    this.shown = wanted;
    const [bitmap, told] = await Promise.all([isOther ? api.planePicture(this.axis, number) : this.bitmap, api.plane(this.axis, number)]);
    if (wanted !== this.shown) return;
    Object.assign(this, { bitmap, number });
    this.layers = told.objects.map((each) => ({ mask: Mask.of(each.mask), colour: ofClass(page.session.classes, each.name), opacity: 0.3, weight: 1.5 }));
    this.draw();
  }

  draw() {
    const room = this.pane.room.getBoundingClientRect(), [x, y] = pixelAt(this.axis, page.voxel);
    if (!room.width || !room.height) return;
    this.viewport.room = [room.width, room.height];
    this.viewport.fit();
    this.pane.drawPicture(this.bitmap, this.viewport, page.pictureFilter);
    this.pane.drawOverlay(this.viewport, page.areMasksShown ? this.layers : [], { lines: { x, y } });
  }
}

let planes = [];

// Make the planes of a volume; `jump(number)` opens another slice of those that prompts are given in.
export function makePlanes(jump) {
  const { volume } = page.session;
  find("planes").hidden = !volume;
  if (!volume) return;
  page.voxel = volume.shape.map((length) => Math.floor(length / 2));
  const go = (voxel) => {
    const isOther = voxel[volume.axis] !== asking.image?.index;
    page.voxel = voxel;
    if (isOther) jump(voxel[volume.axis]);
    showPlanes();
  };
  planes = others(volume.axis).map((axis) => new Plane(axis, go));
  find("planes").replaceChildren(...planes.map((each) => each.pane.element));
  find("slice-title").textContent = titleOf(volume.axis);
  viewport.pixel = pixelOf(volume.axis);
}

// A place in the slice on the screen was clicked on: the others are cut there.
export function lookThrough(pixel) {
  if (!page.session.volume) return;
  page.voxel = voxelAt(page.session.volume.axis, pixel, page.voxel);
  showPlanes();
}

export function showPlanes() {
  if (!page.session.volume) return;
  if (asking.image) page.voxel[page.session.volume.axis] = asking.image.index;
  for (const each of planes) each.show().catch(() => { each.shown = ""; });
}

export const drawPlanes = () => { for (const each of planes) each.draw(); };

// Where the other planes cut the slice on the screen.
export function cutLines() {
  if (!page.session?.volume) return null;
  const [x, y] = pixelAt(page.session.volume.axis, page.voxel);
  return { x, y, areShort: true };
}
