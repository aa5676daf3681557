// The page: its controls, each with what it does, and the beginning.

import { api } from "./api.js";
import { BASE, TUNED, css } from "./colours.js";
import { command, edit, setMode, setView } from "./commands.js";
import { find, press } from "./dom.js";
import { layOut, measureRoom, redraw, redrawMoving } from "./drawing.js";
import { open, refresh, toggleDrawer } from "./going.js";
import { fillKeyList, listenToKeys } from "./keys.js";
import { setCorner, stroke, strokeEnd } from "./mending.js";
import { asking, goodSuggestions, isMakingPolygon, isPainting, isTuned, narrow, note, page, panes, underPointer, viewport } from "./page.js";
import { makePlanes } from "./planes.js";
import { listen } from "./pointer.js";
import { accept, allSuggested, boxOf, carry, clickAt, drop, everywhere, findEverything, goodOnes, take } from "./prompting.js";
import { chooseClass, does, showPlace, showSidePanels, tell } from "./showing.js";
import { Pane } from "./view.js";

const POLL = 2500;
const TITLES = { base: "Base", tuned: "Tuned", difference: "Difference" };
const FIRST = {
  clicked: "Click on an object, or drag a box around it; Enter keeps the mask. Right-click where it should not be. ? lists all keys.",
  touched: "Tap on an object, or choose Box and draw one; Accept keeps the mask.",
};
const BUTTONS = {
  undo: "undo", redo: "redo", clear: "clear", accept: "accept", done: "done", next: "next", previous: "previous",
  "zoom-in": "larger", "zoom-out": "smaller", "zoom-fit": "fit", help: "help", "take-away": "take away",
};

Object.assign(does, {
  open, accept, take, drop, everywhere,
  edit,
});

function wirePanes() {
  for (const name of ["base", "tuned", "difference"]) {
    panes[name] = new Pane(name, name === "base" && !isTuned() ? "Model" : TITLES[name]);
    panes[name].title.style.setProperty("--colour", name === "difference" ? "currentColor" : css(name === "base" ? BASE : TUNED));
    listen(panes[name].overlay, viewport, () => page.mode, {
      isSpaceHeld: () => page.isSpace,
      click: clickAt,
      box: (corners) => { page.dragged = null; note(""); asking.act({ do: "box", corners: boxOf(corners) }); },
      boxing: (corners) => { page.dragged = corners ? boxOf(corners) : null; redraw(); },
      move: (dx, dy) => { viewport.move(dx, dy); redrawMoving(); },
      zoom: (factor, x, y) => { viewport.zoom(factor, x, y); redrawMoving(); },
      stroke, strokeEnd, corner: setCorner,
      hover: (place, kind) => { showPlace(place); page.hover = kind === "touch" ? null : place; if (isPainting() || isMakingPolygon() || isOtherUnderPointer()) redraw(); },
    });
  }
}

// Whether the pointer has come upon another suggestion, which is the one that is meant.
function isOtherUnderPointer() {
  const before = page.chosen;
  page.chosen = -(underPointer(goodSuggestions())?.number ?? 0);
  return page.chosen !== before;
}

function wireButtons() {
  for (const [id, what] of Object.entries(BUTTONS)) find(id).addEventListener("click", (event) => command(what, event));
  for (const button of document.querySelectorAll("[data-mode]")) button.addEventListener("click", () => setMode(button.dataset.mode));
  for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => setView(button.dataset.view));
  for (const button of document.querySelectorAll("[data-theme-choice]")) button.addEventListener("click", () => setTheme(button.dataset.themeChoice));
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.addEventListener("click", () => { page.filter = button.dataset.filter; press(document.querySelectorAll("[data-filter]"), page.filter, "filter"); showSidePanels(); });
  }
  find("show-queue").addEventListener("click", () => toggleDrawer("queue"));
  find("show-tools").addEventListener("click", () => toggleDrawer("tools"));
  find("close-keys").addEventListener("click", () => find("keys").close());
}

function wirePicture() {
  for (const id of ["brightness", "contrast"]) find(id).addEventListener("input", () => redraw(true));
  for (const id of ["opacity", "brush-size"]) find(id).addEventListener("input", () => redraw());
  find("contrast-reset").addEventListener("click", () => { find("brightness").value = 0; find("contrast").value = 0; redraw(true); });
  find("slice").addEventListener("input", (event) => {
    clearTimeout(page.sliding);
    page.sliding = setTimeout(() => open(Number(event.target.value)), 60);
  });
  find("carry").addEventListener("click", carry);
}

function wireObjects() {
  find("class").addEventListener("change", (event) => chooseClass(event.target.value));
  find("held-out").addEventListener("change", (event) => asking.act({ do: "hold", out: event.target.checked }).then((isKept) => { if (!isKept) event.target.checked = !event.target.checked; return refresh(); }));
  find("add-class").addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = find("new-class").value.trim();
    if (!name) return;
    try {
      page.session = await api.addClass(name);
      find("new-class").value = "";
      chooseClass(page.session.classes.at(-1));
    } catch (error) { tell(error); }
  });
  find("find").addEventListener("click", findEverything);
  find("take-all").addEventListener("click", () => take(goodOnes()));
  find("least-score").addEventListener("input", () => { showSidePanels(); redraw(); });
  find("drop-all").addEventListener("click", () => drop(allSuggested()));
}

function wireTuning() {
  find("tune").addEventListener("click", () => tune("start"));
  find("stop-tuning").addEventListener("click", () => tune("stop"));
  let timer = 0;
  find("strength").addEventListener("input", (event) => {
    asking.strength = Number(event.target.value);
    find("strength-value").textContent = asking.strength.toFixed(2);
    clearTimeout(timer);
    timer = setTimeout(() => asking.image && asking.ask(), 120);
  });
}

function wireKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.code === "Space" && !event.target.closest("input, select, button, a, textarea")) { page.isSpace = true; event.preventDefault(); }
  });
  document.addEventListener("keyup", (event) => { if (event.code === "Space") page.isSpace = false; });
  listenToKeys(command);
  fillKeyList();
}

async function tune(what) {
  try {
    page.session = await api.rounds(what);
    showSidePanels();
  } catch (error) { tell(error); }
}

const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function colourPage(theme) {
  const isDark = theme === "auto" ? systemIsDark.matches : theme === "dark";
  document.documentElement.dataset.theme = isDark ? "dark" : "light";
}

function setTheme(theme) {
  colourPage(theme);
  press(document.querySelectorAll("[data-theme-choice]"), theme, "themeChoice");
  try { localStorage.setItem("samtune-theme", theme); } catch { /* a frame may have none */ }
}

function themeBefore() {
  try { return localStorage.getItem("samtune-theme") ?? "auto"; } catch { return "auto"; }
}

async function start() {
  setTheme(themeBefore());
  page.session = await api.session();
  for (const wire of [wirePanes, wireButtons, wirePicture, wireObjects, wireTuning, wireKeys]) wire();
  new ResizeObserver(measureRoom).observe(find("panes"));
  narrow.addEventListener("change", layOut);
  systemIsDark.addEventListener("change", () => colourPage(themeBefore()));
  page.view = narrow.matches ? "tuned" : "both";
  setMode("inside");
  makePlanes(open);
  layOut();
  await open(page.session.current);
  if (page.session.images.every((each) => !each.numObjects)) note(narrow.matches ? FIRST.touched : FIRST.clicked);
  setInterval(() => { if (!document.hidden) refresh(); }, POLL);
}

start().catch(tell);
