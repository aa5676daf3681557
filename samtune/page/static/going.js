// From image to image: the one that is opened, the next, and how the session stands.

import { api } from "./api.js";
import { find } from "./dom.js";
import { redraw, layOut } from "./drawing.js";
import { dropPolygon } from "./mending.js";
import { asking, isTuned, note, page, panes, viewport } from "./page.js";
import { showSidePanels, tell } from "./showing.js";

export async function open(index) {
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
    if (before !== index) dropPolygon();
    viewport.size = [bitmap.width, bitmap.height];
    // slices of a volume lie over each other: one goes on looking at the same place
    if (before === undefined || (before !== index && !page.session.volume)) {
      viewport.fit();
      layOut();
    }
    showSidePanels();
    redraw(true);
    // what was labelled before may bring classes
    if (asking.image.suggested.some((each) => !page.session.classes.includes(each.name))) await refresh();
    find("images").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  } catch (error) {
    tell(error);
  }
}

// The queue changes its order while it is looked at, so that one goes back to where one was, and forward
// to what is most doubtful among what was not seen yet.
export function step(by) {
  if (page.session.volume) {
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

export async function finish() {
  const index = asking.image.index;
  if (!(await asking.act({ do: "mark", status: "done" }))) return;
  await refresh();
  const left = page.session.images.find((each) => each.status !== "done" && each.index !== index);
  if (left) open(left.index);
  else note("All images are done.");
}

let toldBefore = "";
export async function refresh() {
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
  panes.base.title.textContent = isTuned() ? "Base" : "Model";
  layOut();
  if (asking.image) asking.ask();
}

function closeDrawers() {
  for (const id of ["queue", "tools"]) {
    find(id).classList.remove("open");
    find(`show-${id}`).setAttribute("aria-expanded", "false");
  }
}

export function toggleDrawer(id) {
  const isOpen = !find(id).classList.contains("open");
  closeDrawers();
  find(id).classList.toggle("open", isOpen);
  find(`show-${id}`).setAttribute("aria-expanded", String(isOpen));
}
