// The page: what is on the screen, and what happens when a person does something.

import { api } from "./api.js";
import { Asking } from "./asking.js";
import { BASE, HAND, SHARED, TUNED, css, ofClass } from "./colours.js";
import { find, make, press, share } from "./dom.js";
import { fillKeyList, listenToKeys } from "./keys.js";
import { Mask, dab, without } from "./masks.js";
import { showCandidates, showClasses, showObjects, showQueue, showSuggested } from "./panels.js";
import { listen } from "./pointer.js";
import { showRounds } from "./rounds.js";
import { Pane, Viewport } from "./view.js";

const POLL = 2500;
const TITLES = { base: "Base", tuned: "Tuned", difference: "Difference" };
const narrow = matchMedia("(max-width: 820px)");

const viewport = new Viewport();
const panes = {};
const page = {
  session: null, bitmap: null, mode: "inside", view: "both", filter: "all", className: "", candidate: null,
  isWaiting: false, isSpace: false, cursor: null, hover: null, dragged: null, pending: [], painted: null,
  chosen: 0, trail: [], areMasksShown: true, masks: {}, objects: [], suggested: [], hand: null,
};

const asking = new Asking({
  image: showImage,
  answers: showAnswers,
  waiting: (is) => { page.isWaiting = is; document.body.classList.toggle("waiting", is); showActions(); },
  failed: tell,
});

// -- what is shown ------------------------------------------------------------------------------

// Where the pointer is: on the map where the image lies on one, else in its pixels.
function showPlace(place) {
  const [x, y] = place ? viewport.corner(...place) : [-1, -1], [width, height] = viewport.size;
  const isInside = x >= 0 && y >= 0 && x < width && y < height, map = asking.image?.onMap;
  if (!isInside) find("place").textContent = "";
  else if (map) find("place").textContent = `${(map[0] * x + map[1] * y + map[2]).toFixed(2)}, ${(map[3] * x + map[4] * y + map[5]).toFixed(2)}`;
  else find("place").textContent = `${Math.floor(x)}, ${Math.floor(y)}`;
}

function tell(error) {
  page.pending = [];
  const text = error?.message ?? String(error ?? "");
  find("message").textContent = text;
  find("message").classList.toggle("error", Boolean(text));
  redraw();
}

function note(text) {
  find("message").textContent = text;
  find("message").classList.remove("error");
}

const isTuned = () => page.session.contestants.includes("tuned");

function shownPanes() {
  if (!isTuned()) return ["base"];
  if (page.view === "both") return narrow.matches ? ["tuned", "base"] : ["base", "tuned"];
  return [page.view];
}

function layOut() {
  const wanted = shownPanes();
  find("panes").replaceChildren(...wanted.map((name) => panes[name].element));
  find("panes").dataset.count = wanted.length;
  press(document.querySelectorAll("[data-view]"), page.view, "view");
  document.querySelector(".views").hidden = !isTuned();
  measureRoom();
}

function measureRoom() {
  const room = panes[shownPanes()[0]].room.getBoundingClientRect();
  if (!room.width || !room.height) return;
  const [dx, dy] = [(room.width - viewport.room[0]) / 2, (room.height - viewport.room[1]) / 2];
  viewport.room = [room.width, room.height];
  if (viewport.isFitted) viewport.fit();
  else { viewport.x += dx; viewport.y += dy; }
  redraw(true);
}

let isPictureOld = false, isDrawing = false;
function redraw(withPicture = false) {
  isPictureOld ||= withPicture;
  if (isDrawing) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    for (const name of shownPanes()) {
      if (isPictureOld) panes[name].drawPicture(page.bitmap, viewport, pictureFilter());
      panes[name].drawOverlay(viewport, layersOf(name), marksOf(name));
    }
    isPictureOld = false;
  });
}

const pictureFilter = () => `brightness(${2 ** find("brightness").value}) contrast(${2 ** find("contrast").value})`;

function layersOf(name) {
  if (!page.areMasksShown || !page.session) return [];
  const opacity = Number(find("opacity").value), layers = [];
  for (const each of page.objects) {
    if (each.number === asking.image.replaces) continue;
    const colour = ofClass(page.session.classes, each.name), isChosen = each.number === page.chosen;
    layers.push({ mask: each.mask, colour, opacity: isChosen ? opacity + 0.2 : opacity * 0.6, weight: isChosen ? 3 : 1.5 });
  }
  page.suggested.forEach((each, place) => {
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

function marksOf(name) {
  const image = asking.image ?? { clicks: [], box: null };
  const isBrush = (page.mode === "brush" || page.mode === "erase") && page.hover;
  return {
    clicks: [...image.clicks, ...page.pending], box: page.dragged ?? image.box, cursor: page.cursor,
    brush: isBrush ? { x: page.hover[0], y: page.hover[1], radius: brushRadius() } : null,
  };
}

const brushRadius = () => Number(find("brush-size").value) / 2 + 0.01;

function showImage(told) {
  page.pending = [];
  page.objects = told.objects.map((each) => ({ ...each, mask: objectMask(told, each) }));
  page.suggested = told.suggested.map((each) => ({ ...each, mask: objectMask(told, each) }));
  page.hand = told.hand ? Mask.of(told.hand) : null;
  page.painted = null;
  find("image-name").textContent = told.name;
  find("image-status").textContent = told.status;
  find("image-status").dataset.status = told.status;
  find("image-role").hidden = !told.isHeldOut;
  find("held-out").checked = told.isHeldOut;
  document.title = `${told.name} – samtune`;
  showSidePanels();
  showActions();
  redraw();
}

// Masks of objects are read once.
const known = new Map();
function objectMask(told, each) {
  const key = `${told.index} ${each.number} ${JSON.stringify(each.mask)}`;
  if (!known.has(key)) known.set(key, Mask.of(each.mask));
  if (known.size > 4000) known.delete(known.keys().next().value);
  return known.get(key);
}

function showAnswers(told) {
  const isNew = !told || told.number !== page.answered;
  page.answered = told?.number;
  if (isNew) page.candidate = null;
  chooseMasks();
}

function chooseMasks() {
  const told = asking.answers;
  page.masks = {};
  page.difference = null;
  for (const [name, offer] of Object.entries(told?.offers ?? {})) {
    const chosen = offer.candidates[Math.min(page.candidate ?? offer.best, offer.candidates.length - 1)];
    chosen.made ??= Mask.of(chosen.mask);
    page.masks[name] = chosen.made;
    panes[name].chosen = chosen;
  }
  showFacts();
  showActions();
  redraw();
}

function showFacts() {
  const told = asking.answers;
  for (const name of Object.keys(panes)) {
    const { facts, chosen } = panes[name], parts = [];
    if (name === "difference") {
      if (told) parts.push(fact("agreement", told.agreement, "IoU of base and tuned"));
    } else if (told?.offers[name]) {
      const { hasTruth } = page.session;
      parts.push(fact(hasTruth ? "expected" : "expected IoU", chosen.score, "the IoU that the model expects of its mask"));
      if (hasTruth) parts.push(fact("measured", chosen.iou, chosen.iou === null ? "there is no true object at this prompt" : "IoU with the truth"));
      if (isTuned()) parts.push(make("button", { className: "small", text: "Accept", title: `accept the mask of the ${name} model`, on: { click: () => accept(name) } }));
    } else if (page.session && !asking.image?.hand) {
      parts.push(make("span", { className: "note", text: page.isWaiting ? "looking …" : "click on an object" }));
    }
    facts.replaceChildren(...parts);
  }
}

const fact = (word, value, title) => make("span", { className: "fact", title }, `${word} `, make("b", { text: share(value) }));

function showSidePanels() {
  const { session } = page, image = asking.image;
  if (!session || !image) return;
  if (!session.classes.includes(page.className)) page.className = session.classes[0];
  showObjects(image, session.classes, page.chosen, {
    choose: (number) => { page.chosen = number; redraw(); },
    name: (object, name) => asking.act({ do: "name", object, name }),
    edit: (object) => asking.act({ do: "edit", object }).then(() => { setMode("brush"); }),
    delete: (object) => asking.act({ do: "delete", object }),
    cutout: (number) => saveCutout(image, number),
  });
  showSuggested(image, session.classes, { choose: (number) => { page.chosen = number; redraw(); }, take, drop });
  showClasses(session.classes, page.className, chooseClass);
  showQueue(session, page.filter, image.index, open);
  showRounds(session);
  find("folder").textContent = session.folder;
  find("queue-order").textContent = session.isStack ? "" : "most doubtful first";
  find("slices").hidden = !session.isStack;
  find("slice").max = session.images.length - 1;
  find("slice").value = image.index;
  find("slice-number").textContent = `${image.index + 1} of ${session.images.length}`;
  find("strength-section").hidden = !session.canBeScaled;
}

function showActions() {
  const image = asking.image, offer = asking.answers?.offers[isTunedShown() ? "tuned" : "base"];
  const hasHand = Boolean(page.hand || page.painted);
  const canAccept = hasHand || Boolean(asking.answers);
  find("undo").disabled = !image?.canUndo;
  find("redo").disabled = !image?.canRedo;
  find("clear").disabled = !image || !(image.clicks.length || image.box || hasHand);
  find("carry").disabled = !image || !(image.clicks.length || image.box);
  find("accept").disabled = !canAccept;
  find("accept").textContent = image?.replaces ? "Replace" : "Accept";
  showCandidates(hasHand ? null : offer, page.candidate, (place) => { page.candidate = place; chooseMasks(); });
}

const isTunedShown = () => page.session && isTuned() && page.view !== "base";

// -- what a person does -------------------------------------------------------------------------

async function open(index) {
  if (index === null || index === undefined) return;
  closeDrawers();
  note("");
  try {
    const before = asking.image?.index;
    if (!page.trail.includes(index)) page.trail.push(index);
    const [bitmap] = await Promise.all([api.picture(index), asking.open(index)]);
    page.bitmap?.close?.();
    page.bitmap = bitmap;
    page.cursor = null;
    viewport.size = [bitmap.width, bitmap.height];
    if (before !== index) viewport.fit();
    showSidePanels();
    redraw(true);
    find("images").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  } catch (error) {
    tell(error);
  }
}

// The queue changes its order while it is looked at, so that one goes back to where one was, and forward
// to what is most doubtful among what was not seen yet.
function step(by) {
  if (page.session.isStack) {
    const next = asking.image.index + by;
    return next >= 0 && next < page.session.images.length ? open(next) : null;
  }
  const { trail } = page, place = trail.indexOf(asking.image.index) + by;
  if (trail[place] !== undefined) return open(trail[place]);
  if (by < 0) return note("This is where you began.");
  const left = page.session.images.filter((each) => !trail.includes(each.index));
  const fresh = left.find((each) => each.status !== "done") ?? left[0];
  if (fresh) return open(fresh.index);
  const again = page.session.images.find((each) => each.status !== "done" && each.index !== asking.image.index);
  return again ? open(again.index) : note("There is no other image left to do.");
}

async function finish() {
  const index = asking.image.index;
  if (!(await asking.act({ do: "mark", status: "done" }))) return;
  await refresh();
  const left = page.session.images.find((each) => each.status !== "done" && each.index !== index);
  if (left) open(left.index);
  else note("All images are done.");
}

function click(x, y, inside) {
  note("");
  page.pending = [...page.pending, [x, y, inside]];
  redraw();
  asking.act({ do: "click", x, y, inside });
}

function clickAt([sx, sy], inside) {
  const [x, y] = viewport.corner(sx, sy), [width, height] = viewport.size;
  if (x < 0 || y < 0 || x > width || y > height) return;
  const round = (value, most) => Math.round(100 * Math.min(most - 1, Math.max(0, value - 0.5))) / 100;
  click(round(x, width), round(y, height), inside);
}

function boxOf([from, to]) {
  const [a, b] = [viewport.corner(...from), viewport.corner(...to)], [width, height] = viewport.size;
  const low = (one, other, most) => Math.min(most - 1, Math.max(0, Math.floor(Math.min(one, other))));
  const high = (one, other, most) => Math.min(most - 1, Math.max(0, Math.ceil(Math.max(one, other)) - 1));
  return [low(a[0], b[0], width), low(a[1], b[1], height), high(a[0], b[0], width), high(a[1], b[1], height)];
}

async function accept(by = null) {
  const candidate = page.candidate, strength = asking.strength;
  const who = by ?? (page.hand ? null : isTunedShown() ? "tuned" : "base");
  const wanted = (image) => ({ do: "accept", number: image.number, name: page.className, by: who, candidate: candidateOf(who, candidate), strength });
  if (await asking.act(wanted)) {
    if (!asking.image.clicks.length && !asking.image.box) note("Kept.");
    refresh();
  }
}

const take = (numbers) => asking.act({ do: "take", numbers }).then(refresh);
const drop = (numbers) => asking.act({ do: "drop", numbers });
const allSuggested = () => page.suggested.map((each) => each.number);
const firstSuggested = () => allSuggested().slice(0, 1);

async function findEverything() {
  note("Looking everywhere …");
  find("find").disabled = true;
  const isDone = await asking.act({ do: "find", name: page.className });
  find("find").disabled = false;
  if (isDone) note(page.suggested.length ? "" : "Nothing was found besides what is there.");
}

async function saveCutout({ index, name }, number) {
  try {
    const link = make("a", { href: URL.createObjectURL(await api.cutout(index, number)), download: `${name.replaceAll("/", "_")}_${number}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) { tell(error); }
}

// Of a prompt that is answered once there is nothing to choose.
function candidateOf(who, candidate) {
  const offer = asking.answers?.offers[who ?? "tuned"];
  return who && candidate !== null && offer && candidate < offer.candidates.length ? candidate : null;
}

function stroke([sx, sy], isErasing) {
  const [x, y] = viewport.corner(sx, sy), [width, height] = viewport.size;
  if (!page.painted) {
    const begun = page.hand ?? page.masks[isTunedShown() ? "tuned" : "base"];
    page.painted = begun ? begun.whole(height, width) : new Mask(0, 0, height, width, new Uint8Array(height * width));
    page.strokeAt = null;
  }
  const from = page.strokeAt ?? [x, y], steps = Math.max(1, Math.ceil(Math.hypot(x - from[0], y - from[1]) / Math.max(0.5, brushRadius() / 2)));
  for (let n = 1; n <= steps; n++) {
    dab(page.painted, from[0] + ((x - from[0]) * n) / steps, from[1] + ((y - from[1]) * n) / steps, brushRadius(), isErasing ? 0 : 1);
  }
  page.strokeAt = [x, y];
  page.painted.changed();
  redraw();
}

function strokeEnd() {
  const mask = page.painted?.told();
  page.strokeAt = null;
  if (!page.painted) return;
  if (mask) asking.act({ do: "mend", mask });
  else { page.painted = null; asking.act({ do: "clear" }); }
}

function chooseClass(name) {
  page.className = name;
  showSidePanels();
}

function setMode(mode) {
  page.mode = mode;
  document.body.dataset.mode = mode;
  press(document.querySelectorAll("[data-mode]"), mode, "mode");
  redraw();
}

function setView(view) {
  page.view = view;
  layOut();
  showActions();
}

function moveCursor(dx, dy, isFar) {
  const [width, height] = viewport.size, by = (isFar ? 40 : 6) / viewport.scale;
  const [x, y] = page.cursor ?? viewport.corner(viewport.room[0] / 2, viewport.room[1] / 2);
  const clamp = (value, most) => Math.min(most - 1, Math.max(0, value));
  page.cursor = [clamp(x + dx * by, width), clamp(y + dy * by, height)];
  redraw();
}

function clickAtCursor(inside) {
  if (!page.cursor) return moveCursor(0, 0, false);
  return click(Math.round(100 * page.cursor[0]) / 100, Math.round(100 * page.cursor[1]) / 100, inside);
}

const COMMANDS = {
  accept: () => !find("accept").disabled && accept(),
  "accept base": () => asking.answers && accept("base"),
  clear: () => (find("clear").disabled ? setMode("inside") : asking.act({ do: "clear" })),
  undo: () => asking.act({ do: "undo" }).then(refresh),
  redo: () => asking.act({ do: "redo" }).then(refresh),
  next: () => step(1), previous: () => step(-1), done: finish,
  inside: () => setMode("inside"), outside: () => setMode("outside"), box: () => setMode("box"),
  brush: () => setMode("brush"), erase: () => setMode("erase"), move: () => setMode("move"),
  fit: () => { viewport.fit(); redraw(true); },
  larger: () => { viewport.zoom(1.3); redraw(true); },
  smaller: () => { viewport.zoom(1 / 1.3); redraw(true); },
  thinner: () => { find("brush-size").stepDown(3); redraw(); },
  thicker: () => { find("brush-size").stepUp(3); redraw(); },
  view: () => { const views = ["both", "base", "tuned", "difference"]; if (isTuned()) setView(views[(views.indexOf(page.view) + 1) % 4]); },
  find: findEverything, take: () => page.suggested.length && take(firstSuggested()), drop: () => page.suggested.length && drop(firstSuggested()),
  masks: () => { page.areMasksShown = !page.areMasksShown; redraw(); },
  help: () => find("keys").showModal(),
  left: (event) => moveCursor(-1, 0, event.shiftKey), right: (event) => moveCursor(1, 0, event.shiftKey),
  up: (event) => moveCursor(0, -1, event.shiftKey), down: (event) => moveCursor(0, 1, event.shiftKey),
  here: () => clickAtCursor(true), "not here": () => clickAtCursor(false),
};

function command(what, event) {
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

// -- the session --------------------------------------------------------------------------------

let toldBefore = "";
async function refresh() {
  try {
    const told = await api.session(), text = JSON.stringify(told);
    if (find("message").dataset.lost) { note(""); delete find("message").dataset.lost; }
    const numUsed = (each) => each?.rounds.filter((round) => round.is_used).length;
    const isOther = page.session && (numUsed(told) !== numUsed(page.session) || told.contestants.join() !== page.session.contestants.join());
    page.session = told;
    if (isOther) meetOtherModel();
    if (text !== toldBefore) showSidePanels();
    toldBefore = text;
  } catch (error) {
    find("message").dataset.lost = "yes";
    tell(error);
  }
}

// A round has brought another model: what is on the screen is asked anew.
function meetOtherModel() {
  panes.base.title.textContent = isTuned() ? TITLES.base : "Model";
  layOut();
  if (asking.image) asking.ask();
}

async function tune(what) {
  try {
    page.session = await api.rounds(what);
    showSidePanels();
  } catch (error) { tell(error); }
}

function closeDrawers() {
  for (const id of ["queue", "tools"]) {
    find(id).classList.remove("open");
    find(`show-${id}`).setAttribute("aria-expanded", "false");
  }
}

function toggleDrawer(id) {
  const isOpen = !find(id).classList.contains("open");
  closeDrawers();
  find(id).classList.toggle("open", isOpen);
  find(`show-${id}`).setAttribute("aria-expanded", String(isOpen));
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  press(document.querySelectorAll("[data-theme-choice]"), theme, "themeChoice");
  try { localStorage.setItem("samtune-theme", theme); } catch { /* a frame may have none */ }
}

function themeBefore() {
  try { return localStorage.getItem("samtune-theme") ?? "auto"; } catch { return "auto"; }
}

function wire() {
  for (const name of ["base", "tuned", "difference"]) {
    panes[name] = new Pane(name, name === "base" && !isTuned() ? "Model" : TITLES[name]);
    panes[name].title.style.setProperty("--colour", name === "difference" ? "currentColor" : css(name === "base" ? BASE : TUNED));
    listen(panes[name].overlay, viewport, () => page.mode, {
      isSpaceHeld: () => page.isSpace,
      click: clickAt,
      box: (corners) => { page.dragged = null; note(""); asking.act({ do: "box", corners: boxOf(corners) }); },
      boxing: (corners) => { page.dragged = corners ? boxOf(corners) : null; redraw(); },
      move: (dx, dy) => { viewport.move(dx, dy); redraw(true); },
      zoom: (factor, x, y) => { viewport.zoom(factor, x, y); redraw(true); },
      stroke, strokeEnd,
      hover: (place, kind) => { showPlace(place); page.hover = kind === "touch" ? null : place; if (page.mode === "brush" || page.mode === "erase") redraw(); },
    });
  }
  const press_ = { undo: "undo", redo: "redo", clear: "clear", accept: "accept", done: "done", next: "next", previous: "previous", "zoom-in": "larger", "zoom-out": "smaller", "zoom-fit": "fit", help: "help" };
  for (const [id, what] of Object.entries(press_)) find(id).addEventListener("click", (event) => command(what, event));
  for (const button of document.querySelectorAll("[data-mode]")) button.addEventListener("click", () => setMode(button.dataset.mode));
  for (const button of document.querySelectorAll("[data-view]")) button.addEventListener("click", () => setView(button.dataset.view));
  for (const button of document.querySelectorAll("[data-theme-choice]")) button.addEventListener("click", () => setTheme(button.dataset.themeChoice));
  for (const button of document.querySelectorAll("[data-filter]")) {
    button.addEventListener("click", () => { page.filter = button.dataset.filter; press(document.querySelectorAll("[data-filter]"), page.filter, "filter"); showSidePanels(); });
  }
  for (const id of ["brightness", "contrast"]) find(id).addEventListener("input", () => redraw(true));
  for (const id of ["opacity", "brush-size"]) find(id).addEventListener("input", () => redraw());
  find("contrast-reset").addEventListener("click", () => { find("brightness").value = 0; find("contrast").value = 0; redraw(true); });
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
  find("take-all").addEventListener("click", () => take(allSuggested()));
  find("drop-all").addEventListener("click", () => drop(allSuggested()));
  find("slice").addEventListener("input", (event) => {
    clearTimeout(page.sliding);
    page.sliding = setTimeout(() => open(Number(event.target.value)), 60);
  });
  find("carry").addEventListener("click", async () => {
    note("Carrying the object through the slices …");
    if (await asking.act({ do: "carry", name: page.className })) note("Suggested on the slices around: accept or reject it there.");
    refresh();
  });
  find("tune").addEventListener("click", () => tune("start"));
  find("stop-tuning").addEventListener("click", () => tune("stop"));
  let timer = 0;
  find("strength").addEventListener("input", (event) => {
    asking.strength = Number(event.target.value);
    find("strength-value").textContent = asking.strength.toFixed(2);
    clearTimeout(timer);
    timer = setTimeout(() => asking.image && asking.ask(), 120);
  });
  find("show-queue").addEventListener("click", () => toggleDrawer("queue"));
  find("show-tools").addEventListener("click", () => toggleDrawer("tools"));
  find("close-keys").addEventListener("click", () => find("keys").close());
  document.addEventListener("keydown", (event) => {
    if (event.code === "Space" && !event.target.closest("input, select, button, a, textarea")) { page.isSpace = true; event.preventDefault(); }
  });
  document.addEventListener("keyup", (event) => { if (event.code === "Space") page.isSpace = false; });
  new ResizeObserver(measureRoom).observe(find("panes"));
  narrow.addEventListener("change", layOut);
  listenToKeys(command);
  fillKeyList();
}

async function start() {
  page.session = await api.session();
  wire();
  setTheme(themeBefore());
  page.view = narrow.matches ? "tuned" : "both";
  setMode("inside");
  layOut();
  await open(page.session.current);
  setInterval(() => { if (!document.hidden) refresh(); }, POLL);
}

start().catch(tell);
