// What can be done by a key or a button, by name.

import { find, press } from "./dom.js";
import { layOut, redraw } from "./drawing.js";
import { finish, refresh, step } from "./going.js";
import { closePolygon, dropPolygon, redoCorner, undoCorner } from "./mending.js";
import { asking, isMakingPolygon, isTuned, isTunedShown, note, page, underPointer, viewport } from "./page.js";
import { accept, clickAtCursor, drop, deleteHere, findEverything, moveCursor, nextSuggested, take } from "./prompting.js";
import { chooseClass, chooseMasks, showActions } from "./showing.js";

export function setMode(mode) {
  page.mode = mode;
  document.body.dataset.mode = mode;
  press(document.querySelectorAll("[data-mode]"), mode, "mode");
  redraw();
}

export function setView(view) {
  page.view = view;
  layOut();
  showActions();
}

export const edit = (object) => asking.act({ do: "edit", object }).then(() => setMode("brush"));

function editHere() {
  const found = underPointer(page.objects);
  return found ? edit(found.number) : note("There is no object under the pointer to mend.");
}

const COMMANDS = {
  accept: () => (isMakingPolygon() ? closePolygon(false) : !find("accept").disabled && accept()),
  "take away": () => isMakingPolygon() && closePolygon(true),
  "accept base": () => asking.answers && accept("base"),
  clear: () => (isMakingPolygon() ? dropPolygon() : find("clear").disabled ? setMode("inside") : asking.act({ do: "clear" })),
  undo: () => undoCorner() || asking.act({ do: "undo" }).then(refresh),
  redo: () => redoCorner() || asking.act({ do: "redo" }).then(refresh),
  next: () => step(1), previous: () => step(-1), done: finish,
  inside: () => setMode("inside"), outside: () => setMode("outside"), box: () => setMode("box"),
  brush: () => setMode("brush"), erase: () => setMode("erase"), polygon: () => setMode("polygon"), move: () => setMode("move"),
  fit: () => { viewport.fit(); redraw(true); },
  larger: () => { viewport.zoom(1.3); redraw(true); },
  smaller: () => { viewport.zoom(1 / 1.3); redraw(true); },
  thinner: () => { find("brush-size").stepDown(3); redraw(); },
  thicker: () => { find("brush-size").stepUp(3); redraw(); },
  view: () => { const views = ["both", "base", "tuned", "difference"]; if (isTuned()) setView(views[(views.indexOf(page.view) + 1) % 4]); },
  find: findEverything, take: () => nextSuggested().length && take(nextSuggested()), drop: () => nextSuggested().length && drop(nextSuggested()),
  delete: deleteHere, edit: editHere,
  masks: () => { page.areMasksShown = !page.areMasksShown; redraw(); },
  help: () => find("keys").showModal(),
  left: (event) => moveCursor(-1, 0, event.shiftKey), right: (event) => moveCursor(1, 0, event.shiftKey),
  up: (event) => moveCursor(0, -1, event.shiftKey), down: (event) => moveCursor(0, 1, event.shiftKey),
  here: () => clickAtCursor(true), "not here": () => clickAtCursor(false),
};

export function command(what, event) {
  if (!page.session || !asking.image) return false;
  const [word, number] = what.split(" ");
  if (word === "candidate") {
    const offer = asking.answers?.offers[isTunedShown() ? "tuned" : "base"];
    if (!offer || number > offer.candidates.length) return false;
    page.candidate = number - 1;
    chooseMasks();
  } else if (word === "class") {
    const name = page.session.classes[number - 1];
    if (name) chooseClass(name);
  } else {
    COMMANDS[what](event);
  }
  return true;
}
