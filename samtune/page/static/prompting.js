// The prompt, and what becomes of its masks: clicks, boxes, a cross that keys move; accept, find, carry.

import { find } from "./dom.js";
import { redraw } from "./drawing.js";
import { refresh } from "./going.js";
import { addCorner } from "./mending.js";
import { lookThrough } from "./planes.js";
import { asking, goodSuggestions, isTunedShown, note, page, underPointer, viewport } from "./page.js";

function click(x, y, inside) {
  note("");
  lookThrough([x + 0.5, y + 0.5]);
  page.pending = [...page.pending, [x, y, inside]];
  redraw();
  asking.act({ do: "click", x, y, inside });
}

export function clickAt([sx, sy], inside) {
  const [x, y] = viewport.corner(sx, sy), [width, height] = viewport.size;
  if (x < 0 || y < 0 || x > width || y > height) return;
  const round = (value, most) => Math.round(100 * Math.min(most - 1, Math.max(0, value - 0.5))) / 100;
  click(round(x, width), round(y, height), inside);
}

export function boxOf([from, to]) {
  const [a, b] = [viewport.corner(...from), viewport.corner(...to)], [width, height] = viewport.size;
  const low = (one, other, most) => Math.min(most - 1, Math.max(0, Math.floor(Math.min(one, other))));
  const high = (one, other, most) => Math.min(most - 1, Math.max(0, Math.ceil(Math.max(one, other)) - 1));
  return [low(a[0], b[0], width), low(a[1], b[1], height), high(a[0], b[0], width), high(a[1], b[1], height)];
}

export async function accept(by = null) {
  const candidate = page.candidate, strength = asking.strength;
  const who = by ?? (page.hand ? null : isTunedShown() ? "tuned" : "base");
  const wanted = (image) => ({ do: "accept", number: image.number, name: page.className, by: who, candidate: candidateOf(who, candidate), strength });
  if (await asking.act(wanted)) {
    if (!asking.image.clicks.length && !asking.image.box) note("Kept.");
    refresh();
  }
}

export const take = (numbers) => asking.act({ do: "take", numbers }).then(refresh);
export const drop = (numbers) => asking.act({ do: "drop", numbers });
// What is done to an object of a volume on all its slices; each has an undo of its own.
export async function everywhere(what, which, said) {
  note("Going through the slices …");
  if (await asking.act({ do: what, ...which })) note(said);
  refresh();
}
export const allSuggested = () => page.suggested.map((each) => each.number);
export const goodOnes = () => goodSuggestions().map((each) => each.number);
// The suggestion under the pointer, or else the first.
export const nextSuggested = () => [underPointer(goodSuggestions())?.number ?? goodOnes()[0]].filter((each) => each !== undefined);
export function deleteHere() {
  const found = underPointer(page.objects);
  return found ? asking.act({ do: "delete", object: found.number }).then(refresh) : note("There is no object under the pointer to delete.");
}

export async function findEverything() {
  const began = Date.now(), tell = () => note(`Looking everywhere … ${Math.round((Date.now() - began) / 1000)} s`);
  tell();
  const timer = setInterval(tell, 1000);
  find("find").disabled = true;
  const isDone = await asking.act({ do: "find", name: page.className });
  clearInterval(timer);
  find("find").disabled = false;
  if (isDone) note(page.suggested.length ? "" : "Nothing was found besides what is there.");
}

// Of a prompt that is answered once there is nothing to choose.
function candidateOf(who, candidate) {
  const offer = asking.answers?.offers[who ?? "tuned"];
  return who && candidate !== null && offer && candidate < offer.candidates.length ? candidate : null;
}

export function moveCursor(dx, dy, isFar) {
  const [width, height] = viewport.size, by = (isFar ? 40 : 6) / viewport.scale;
  const [x, y] = page.cursor ?? viewport.corner(viewport.room[0] / 2, viewport.room[1] / 2);
  const clamp = (value, most) => Math.min(most - 1, Math.max(0, value));
  page.cursor = [clamp(x + dx * by, width), clamp(y + dy * by, height)];
  redraw();
}

export function clickAtCursor(inside) {
  if (!page.cursor) return moveCursor(0, 0, false);
  if (page.mode === "polygon") return addCorner(page.cursor.map((value) => value + 0.5));
  return click(Math.round(100 * page.cursor[0]) / 100, Math.round(100 * page.cursor[1]) / 100, inside);
}

export async function carry() {
  note("Carrying the object through the slices …");
  if (await asking.act({ do: "carry", name: page.className })) note("Suggested on the slices around: accept or reject it there.");
  refresh();
}
