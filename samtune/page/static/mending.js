// A mask mended by hand: brush and eraser, and polygons that add to it or take away from it.
//
// A polygon is made corner by corner; it becomes part of the mask when it is closed. Until then its corners
// are undone and redone here, one by one.

import { redraw } from "./drawing.js";
import { Mask, dab, fillPolygon } from "./masks.js";
import { asking, brushRadius, isTunedShown, note, page, viewport } from "./page.js";
import { showActions } from "./showing.js";

const NEAR = 8;

// The mask that is mended, in the whole image: that by hand, or that of the model.
function painted() {
  const [width, height] = viewport.size, begun = page.hand ?? page.masks[isTunedShown() ? "tuned" : "base"];
  page.painted ??= begun ? begun.whole(height, width) : new Mask(0, 0, height, width, new Uint8Array(height * width));
  return page.painted;
}

export function stroke([sx, sy], isErasing) {
  const [x, y] = viewport.corner(sx, sy);
  if (!page.painted) page.strokeAt = null;
  const mask = painted(), radius = brushRadius();
  const from = page.strokeAt ?? [x, y], steps = Math.max(1, Math.ceil(Math.hypot(x - from[0], y - from[1]) / Math.max(0.5, radius / 2)));
  for (let n = 1; n <= steps; n++) {
    dab(mask, from[0] + ((x - from[0]) * n) / steps, from[1] + ((y - from[1]) * n) / steps, radius, isErasing ? 0 : 1);
  }
  page.strokeAt = [x, y];
  mask.changed();
  redraw();
}

export function strokeEnd() {
  const mask = page.painted?.told();
  page.strokeAt = null;
  if (!page.painted) return;
  if (mask) asking.act({ do: "mend", mask });
  else { page.painted = null; asking.act({ do: "clear" }); }
}

// Set a corner of the polygon where the screen was clicked; once more at the first or the last one closes it.
export function setCorner(place, isTaking) {
  const { corners } = page.polygon, [width, height] = viewport.size, [x, y] = viewport.corner(...place);
  const isAt = (corner) => corner && Math.hypot(...viewport.toScreen(corner[0] - 0.5, corner[1] - 0.5).map((v, axis) => v - place[axis])) < NEAR;
  if (corners.length > 2 && (isAt(corners[0]) || isAt(corners.at(-1)))) return closePolygon(isTaking);
  if (isAt(corners.at(-1))) return null;
  return addCorner([Math.min(width, Math.max(0, x)), Math.min(height, Math.max(0, y))]);
}

export function addCorner(corner) {
  page.polygon = { corners: [...page.polygon.corners, corner], undone: [] };
  note("Set corners, then add the area or take it away.");
  showPolygon();
}

export function closePolygon(isTaking) {
  const { corners } = page.polygon;
  if (corners.length < 3) return note("An area needs three corners.");
  dropPolygon();
  const mask = painted();
  fillPolygon(mask, corners, isTaking ? 0 : 1);
  mask.changed();
  note("");
  return strokeEnd();
}

export function dropPolygon() {
  page.polygon = { corners: [], undone: [] };
  showPolygon();
}

// Take back the last corner, or the last one that was taken back; whether there was one.
export function undoCorner() {
  const { corners, undone } = page.polygon;
  if (!corners.length) return false;
  page.polygon = { corners: corners.slice(0, -1), undone: [...undone, corners.at(-1)] };
  return showPolygon();
}

export function redoCorner() {
  const { corners, undone } = page.polygon;
  if (!undone.length) return false;
  page.polygon = { corners: [...corners, undone.at(-1)], undone: undone.slice(0, -1) };
  return showPolygon();
}

function showPolygon() {
  showActions();
  redraw();
  return true;
}
