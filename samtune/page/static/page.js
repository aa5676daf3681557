// What the page knows: the image, its masks, and how it is looked at. All other modules share it.

import { find } from "./dom.js";
import { Asking } from "./asking.js";
import { Viewport } from "./view.js";

export const narrow = matchMedia("(max-width: 820px)");
export const viewport = new Viewport();
export const panes = {};
export const page = {
  session: null, bitmap: null, mode: "inside", view: "both", filter: "all", className: "", candidate: null,
  isWaiting: false, isSpace: false, cursor: null, hover: null, dragged: null, pending: [], painted: null,
  polygon: { corners: [], undone: [] }, chosen: 0, trail: [], areMasksShown: true, masks: {}, objects: [], suggested: [], beside: [], hand: null,
  voxel: [0, 0, 0], pictureFilter: "",
};
// What is told by it is shown by `showing.js`.
export const asking = new Asking();

export const isTuned = () => page.session.contestants.includes("tuned");
export const isTunedShown = () => page.session && isTuned() && page.view !== "base";
// Suggestions with a score as high as is asked for.
export const goodSuggestions = () => page.suggested.filter((each) => (each.score ?? 1) >= Number(find("least-score").value));
// The smallest of some masks that lies under the pointer.
export function underPointer(things) {
  if (!page.hover) return null;
  const there = things.filter((each) => each.mask.holds(...viewport.corner(...page.hover)));
  return there.sort((one, other) => one.area - other.area)[0] ?? null;
}
export const isPainting = () => page.mode === "brush" || page.mode === "erase";
export const isMakingPolygon = () => page.polygon.corners.length > 0;
export const brushRadius = () => Number(find("brush-size").value) / 2 + 0.01;

export function shownPanes() {
  if (!isTuned()) return ["base"];
  if (page.view === "both") return narrow.matches ? ["tuned", "base"] : ["base", "tuned"];
  return [page.view];
}

export function note(text) {
  find("message").textContent = text;
  find("message").classList.remove("error");
}
