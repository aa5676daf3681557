// The panes on the screen: their places, and what is drawn on them.

import { BASE, HAND, SHARED, TUNED, ofClass } from "./colours.js";
import { find, press } from "./dom.js";
import { without } from "./masks.js";
import { cutLines, drawPlanes } from "./planes.js";
import { asking, brushRadius, goodSuggestions, isPainting, isTuned, page, panes, shownPanes, viewport } from "./page.js";

export function layOut() {
  const wanted = shownPanes();
  find("panes").replaceChildren(...wanted.map((name) => panes[name].element));
  find("panes").dataset.count = wanted.length;
  find("panes").classList.toggle("stacked", areLargerStacked(wanted.length));
  press(document.querySelectorAll("[data-view]"), page.view, "view");
  document.querySelector(".views").hidden = !isTuned();
  measureRoom();
}

// Whether two panes show a wide image clearly larger above each other than side by side.
function areLargerStacked(count) {
  const { width, height } = find("panes").getBoundingClientRect(), [across, down] = viewport.extent;
  const scale = (columns, rows) => Math.min(width / columns / across, height / rows / down);
  return count === 2 && scale(1, 2) > 1.2 * scale(2, 1);
}

export function measureRoom() {
  const room = panes[shownPanes()[0]].room.getBoundingClientRect();
  if (!room.width || !room.height) return;
  const [dx, dy] = [(room.width - viewport.room[0]) / 2, (room.height - viewport.room[1]) / 2];
  viewport.room = [room.width, room.height];
  if (viewport.isFitted) viewport.fit();
  else { viewport.x += dx; viewport.y += dy; }
  redraw(true);
}

// How long the image rests before it is drawn as finely as it can be, milliseconds.
const REST = 120;
let isPictureOld = false, isDrawing = false, isMoving = false, resting = 0;

// While the image is moved each picture of it is drawn quickly; the last one finely.
export function redrawMoving() {
  isMoving = true;
  clearTimeout(resting);
  resting = setTimeout(() => { isMoving = false; redraw(true); }, REST);
  redraw(true);
}

export function redraw(withPicture = false) {
  isPictureOld ||= withPicture;
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    page.pictureFilter = pictureFilter();
    for (const name of shownPanes()) {
      if (isPictureOld) panes[name].drawPicture(page.bitmap, viewport, page.pictureFilter, isMoving);
      panes[name].drawOverlay(viewport, layersOf(name), marks());
    }
    if (isPictureOld && !isMoving) drawPlanes();
    isPictureOld = false;
  });
}

// None where nothing is changed: even one that changes nothing takes time at every frame.
function pictureFilter() {
  const [brightness, contrast] = ["brightness", "contrast"].map((id) => Number(find(id).value));
  return brightness || contrast ? `brightness(${2 ** brightness}) contrast(${2 ** contrast})` : "none";
}

function layersOf(name) {
  if (!page.areMasksShown || !page.session) return [];
  const opacity = Number(find("opacity").value), layers = [];
  for (const { mask, name: className } of page.beside) {
    layers.push({ mask, colour: ofClass(page.session.classes, className), opacity: 0, weight: 1, dash: [2, 4] });
  }
  for (const each of page.objects) {
    if (each.number === asking.image.replaces) continue;
    const colour = ofClass(page.session.classes, each.name), isChosen = each.number === page.chosen;
    layers.push({ mask: each.mask, colour, opacity: isChosen ? opacity + 0.2 : opacity * 0.6, weight: isChosen ? 3 : 1.5 });
  }
  goodSuggestions().forEach((each, place) => {
    const colour = ofClass(page.session.classes, each.name), isChosen = page.chosen ? -each.number === page.chosen : !place;
    layers.push({ mask: each.mask, colour, opacity: isChosen ? opacity : 0, weight: isChosen ? 2.5 : 1.5, dash: [5, 4] });
  });
  const painted = page.painted ?? page.hand;
  if (painted) return [...layers, { mask: painted, colour: HAND, opacity }];
  if (name === "difference") return [...layers, ...differenceLayers(opacity)];
  const mask = page.masks[name];
  if (mask) layers.push({ mask, colour: name === "tuned" ? TUNED : BASE, opacity });
  return layers;
}

function differenceLayers(opacity) {
  const { base, tuned } = page.masks;
  if (!base || !tuned) return [];
  page.difference ??= [without(base, tuned), without(tuned, base)];
  return [
    { mask: tuned, colour: SHARED, opacity: opacity * 0.4, weight: 1 },
    { mask: page.difference[0], colour: BASE, opacity: Math.min(0.8, opacity + 0.3), weight: 1 },
    { mask: page.difference[1], colour: TUNED, opacity: Math.min(0.8, opacity + 0.3), weight: 1 },
  ];
}

function marks() {
  const image = asking.image ?? { clicks: [], box: null };
  const isBrush = isPainting() && page.hover;
  return {
    clicks: [...image.clicks, ...page.pending], box: page.dragged ?? image.box, cursor: page.cursor, polygon: polygonMarks(),
    lines: cutLines(),
    brush: isBrush ? { x: page.hover[0], y: page.hover[1], radius: brushRadius() } : null,
  };
}

// With the place where the pointer would set the next corner.
function polygonMarks() {
  const { corners } = page.polygon, next = page.mode === "polygon" && page.hover ? [viewport.corner(...page.hover)] : [];
  return { corners, next: corners.length ? next : [] };
}
