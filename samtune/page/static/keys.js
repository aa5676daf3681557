// All keys, and the list of them that is shown.

import { find, make } from "./dom.js";

export const KEYS = [
  ["Enter", "accept the mask"],
  ["Shift+Enter", "accept the base's mask"],
  ["1 2 3", "choose a candidate"],
  ["Shift+1 … 9", "choose a class"],
  ["G", "find everything"],
  ["K, X", "accept, reject the suggestion under the pointer, or the first"],
  ["T, Del", "mend, delete the object under the pointer"],
  ["Z, Shift+Z", "undo, redo (of a polygon: its last corner)"],
  ["Esc", "drop the prompt"],
  ["N, P", "next, previous image"],
  ["D", "done, go on to the next"],
  ["C O B", "click inside, outside, drag a box"],
  ["R E", "brush, erase"],
  ["L", "polygon: each click sets a corner"],
  ["Enter, Alt+Enter", "add the polygon to the mask, take it away"],
  ["[ ]", "smaller, larger brush"],
  ["H, space", "move the image"],
  ["+ − F", "larger, smaller, whole image"],
  ["V", "both, base, tuned, difference"],
  ["M", "hide and show the masks"],
  ["Arrows", "move a cross (Shift: further)"],
  [". ,", "click inside, outside at the cross; or a corner there"],
  ["?", "this list"],
];

const PLAIN = {
  enter: "accept", escape: "clear", n: "next", p: "previous", d: "done", c: "inside", o: "outside",
  b: "box", r: "brush", e: "erase", l: "polygon", h: "move", f: "fit", v: "view", z: "undo", y: "redo", m: "masks", g: "find", k: "take", x: "drop",
  t: "edit", delete: "delete", backspace: "delete",
  "+": "larger", "=": "larger", "-": "smaller", "[": "thinner", "]": "thicker", ".": "here", ",": "not here",
  "?": "help", arrowleft: "left", arrowright: "right", arrowup: "up", arrowdown: "down",
};

const OF_SLIDERS = /^(Arrow|Page|Home$|End$)/;

// Calls `does(what, event)` for each key that means something; whether it was used.
export function listenToKeys(does) {
  document.addEventListener("keydown", (event) => {
    if (event.target.closest("input:not([type=range]):not([type=checkbox]), textarea, dialog[open]")) return;
    if (event.target.closest("select") && event.key !== "Escape") return;
    if (event.target.closest("input[type=range]") && OF_SLIDERS.test(event.key)) return;
    if (event.key === "Enter" && event.target.closest("button, a")) return;
    const what = meaning(event);
    if (what && does(what, event)) event.preventDefault();
  });
}

function meaning(event) {
  const key = event.key.toLowerCase();
  if (event.ctrlKey || event.metaKey) {
    if (key === "z") return event.shiftKey ? "redo" : "undo";
    return key === "y" ? "redo" : "";
  }
  if (event.altKey) return key === "enter" ? "take away" : "";
  const digit = /^Digit([1-9])$/.exec(event.code);
  if (digit && event.shiftKey) return `class ${digit[1]}`;
  if (/^[1-3]$/.test(event.key)) return `candidate ${event.key}`;
  if (key === "z" && event.shiftKey) return "redo";
  if (key === "enter" && event.shiftKey) return "accept base";
  return PLAIN[key] ?? "";
}

export function fillKeyList() {
  find("key-list").replaceChildren(...KEYS.flatMap(([keys, text]) => [
    make("dt", {}, make("kbd", { text: keys })), make("dd", { text }),
  ]));
}
