// What the session tells, put on the page: image, masks, facts, panels.

import { api } from "./api.js";
import { find, make, share } from "./dom.js";
import { redraw } from "./drawing.js";
import { Mask } from "./masks.js";
import { showPlanes } from "./planes.js";
import { asking, goodSuggestions, isMakingPolygon, isTuned, isTunedShown, page, panes, viewport } from "./page.js";
import { showCandidates, showClasses, showObjects, showQueue, showSuggested } from "./panels.js";
import { showRounds } from "./rounds.js";
import { showSceneMap } from "./scene_map.js";

// What an image is for, where that is not to be trained on.
const ROLES = {
  "held out": ["held out", "for testing: no round learns from it"],
  between: ["not used", "neither trained on nor tested: what it shows is on both sides of it"],
};

// What a person does on the panels; `main.js` says how.
export const does = {};

export function tell(error) {
  page.pending = [];
  const text = error?.message ?? String(error ?? "");
  find("message").textContent = text;
  find("message").classList.toggle("error", Boolean(text));
  redraw();
}

// Where the pointer is: on the map where the image lies on one, else in its pixels.
export function showPlace(place) {
  const [x, y] = place ? viewport.corner(...place) : [-1, -1], [width, height] = viewport.size;
  const isInside = x >= 0 && y >= 0 && x < width && y < height, map = asking.image?.onMap;
  if (!isInside) find("place").textContent = "";
  else if (map) find("place").textContent = `${(map[0] * x + map[1] * y + map[2]).toFixed(2)}, ${(map[3] * x + map[4] * y + map[5]).toFixed(2)}`;
  else find("place").textContent = `${Math.floor(x)}, ${Math.floor(y)}`;
}

function showImage(told) {
  page.pending = [];
  page.objects = told.objects.map((each) => ({ ...each, mask: objectMask(told, each) }));
  page.suggested = told.suggested.map((each) => ({ ...each, mask: objectMask(told, each) }));
  page.beside = told.beside.map((each) => ({ ...each, mask: objectMask(told, each) }));
  page.hand = told.hand ? Mask.of(told.hand) : null;
  page.painted = null;
  // of parts of a file a narrow screen shows which part it is
  const begin = page.session.volume || page.session.scene ? told.name.search(/[^/@]*$/) : 0;
  find("image-name").replaceChildren(make("span", { className: "only-wide", text: told.name.slice(0, begin) }), told.name.slice(begin));
  find("image-status").textContent = told.status;
  find("image-status").dataset.status = told.status;
  const [role, why] = ROLES[told.role] ?? [];
  find("image-role").hidden = !role;
  find("image-role").textContent = role ?? "";
  find("image-role").title = why ?? "";
  find("held-out").checked = told.isHeldOut;
  find("held-out-what").textContent = told.numTied > 1 ? `Hold all ${told.numTied} images of ${told.group} out for testing` : "Hold this image out for testing";
  document.title = `${told.name} – samtune`;
  showSidePanels();
  showActions();
  showPlanes();
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

export function chooseMasks() {
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
      if (isTuned()) parts.push(make("button", { className: "small", text: "Accept", title: `accept the mask of the ${name} model`, on: { click: () => does.accept(name) } }));
    } else if (page.session && !asking.image?.hand) {
      parts.push(make("span", { className: "note", text: page.isWaiting ? "looking …" : "click on an object" }));
    }
    facts.replaceChildren(...parts);
  }
}

const fact = (word, value, title) => make("span", { className: "fact", title }, `${word} `, make("b", { text: share(value) }));

export function showSidePanels() {
  const { session } = page, image = asking.image;
  if (!session || !image) return;
  if (!session.classes.includes(page.className)) page.className = image.objects.at(-1)?.name ?? session.classes[0];
  showObjects(image, session.classes, page.chosen, {
    choose: (number) => { page.chosen = number; redraw(); },
    name: (object, name) => asking.act({ do: "name", object, name }),
    edit: does.edit,
    delete: (object) => asking.act({ do: "delete", object }),
    cutout: (number) => saveCutout(image, number),
    everywhere: does.everywhere,
  });
  showSuggested(image.suggested, goodSuggestions(), session.classes, { choose: (number) => { page.chosen = number; redraw(); }, take: does.take, drop: does.drop, everywhere: does.everywhere });
  showClasses(session.classes, page.className, chooseClass);
  showQueue(session, page.filter, image.index, does.open);
  showSceneMap(session, image.index, does.open);
  showRounds(session);
  find("folder").textContent = session.folder;
  find("base-name").textContent = session.base;
  find("model-notes").textContent = find("model-chip").textContent = session.notes.join("; ");
  find("model-chip").hidden = !session.notes.length;
  find("queue-order").textContent = session.volume ? "" : "most doubtful first";
  find("doubt-legend").hidden = !session.images.some((each) => each.doubt !== null);
  const more = find("show-tools");  // a narrow window shows the notes behind this button
  more.classList.toggle("has-notes", session.notes.length > 0);
  more.title = session.notes.length ? "tools, and what to know of this model and these images" : "tools";
  find("slices").hidden = !session.volume;
  find("slice").max = session.images.length - 1;
  find("slice").value = image.index;
  find("slice-number").textContent = `${image.index + 1} of ${session.images.length}`;
  find("strength-section").hidden = !session.canBeScaled;
}

export function showActions() {
  const image = asking.image, offer = asking.answers?.offers[isTunedShown() ? "tuned" : "base"];
  const hasHand = Boolean(page.hand || page.painted);
  const isPolygon = isMakingPolygon(), canAccept = isPolygon || hasHand || Boolean(asking.answers);
  find("undo").disabled = !(isPolygon || image?.canUndo);
  find("redo").disabled = !(page.polygon.undone.length || image?.canRedo);
  find("clear").disabled = !image || !(isPolygon || image.clicks.length || image.box || hasHand);
  find("take-away").hidden = !isPolygon;
  find("carry").disabled = !image || !(image.clicks.length || image.box);
  find("accept").disabled = !canAccept;
  find("accept").textContent = isPolygon ? "Add area" : image?.replaces ? "Replace" : "Accept";
  showCandidates(hasHand ? null : offer, page.candidate, (place) => { page.candidate = place; chooseMasks(); });
}

async function saveCutout({ index, name }, number) {
  try {
    const link = make("a", { href: URL.createObjectURL(await api.cutout(index, number)), download: `${name.replaceAll("/", "_")}_${number}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  } catch (error) { tell(error); }
}

export function chooseClass(name) {
  page.className = name;
  showSidePanels();
}

asking.does = {
  image: showImage,
  answers: showAnswers,
  waiting: (is) => { page.isWaiting = is; document.body.classList.toggle("waiting", is); showFacts(); showActions(); },
  failed: tell,
};
