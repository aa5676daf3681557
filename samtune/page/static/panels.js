// Lists beside the image: the queue, objects, classes, candidates.

import { css, ofClass } from "./colours.js";
import { find, make, share } from "./dom.js";

const MOST_LISTED = 400;
// A beginning of names that is longer than this is left out of the list
const LONG = 8;
const MARKS = { untouched: "○", "in work": "◐", done: "●" };

// Parts of one file are told apart by what comes after its name; so are others by what is not in all names.
function shortName(told, name, shared) {
  if (told.volume) return name.split("/").at(-1);
  if (told.scene) return name.split("@").at(-1).replace(",", ", ");
  return shared > LONG ? `…${name.slice(shared)}` : name;
}

// Letters at the beginning of all names, up to a sign between words.
function sharedBeginning(names) {
  const [first, ...others] = names;
  let length = others.length ? first.length : 0;
  for (const name of others) {
    while (!name.startsWith(first.slice(0, length))) length--;
  }
  return first.slice(0, length).search(/[^_@/.\s-]*$/);
}

export function showQueue(told, filter, current, open) {
  const wanted = told.images.filter((each) => filter === "all" || (each.status === "done") === (filter === "done"));
  const shared = sharedBeginning(told.images.map((each) => each.name));
  const list = find("images"), place = list.scrollTop;
  list.replaceChildren(...wanted.slice(0, MOST_LISTED).map((each) => {
    const mark = make("span", { className: `mark ${each.status.replace(" ", "-")}`, text: MARKS[each.status], "aria-hidden": "true" });
    const name = make("span", { className: "name", text: shortName(told, each.name, shared) });
    const facts = [];
    if (each.numObjects) facts.push(String(each.numObjects));
    if (each.role === "held out") facts.push("test");
    if (each.role === "between") facts.push("not used");
    const count = make("span", { className: "note", text: facts.join(" · ") });
    const button = make("button", {
      title: `${each.name}: ${each.status}`, "aria-current": each.index === current ? "true" : null,
      on: { click: () => open(each.index) },
    }, mark, name, count, doubtBar(each.doubt === null ? null : 1 - each.doubt));
    return make("li", {}, button);
  }));
  if (wanted.length > MOST_LISTED) {
    list.append(make("li", { className: "note", text: `and ${wanted.length - MOST_LISTED} more` }));
  }
  if (!wanted.length) list.append(make("li", { className: "note empty", text: "none" }));
  list.scrollTop = place;
  const count = told.images.length, done = told.progress.done;
  find("progress-bar").style.width = `${(100 * done) / Math.max(1, count)}%`;
  find("progress-text").textContent = `${done} of ${count} done`;
}

// How doubtful an image or an object is: what its score lacks.
function doubtBar(score) {
  const doubt = score === null || score === undefined ? null : Math.min(1, Math.max(0, 1 - score));
  const bar = make("span", { className: "doubt", title: doubt === null ? "doubt not known" : `doubt ${share(doubt)}` }), fill = make("span");
  fill.style.width = `${Math.round(100 * (doubt ?? 0))}%`;
  bar.append(fill);
  return bar;
}

export function showObjects(image, classes, chosen, does) {
  find("objects-count").textContent = image.objects.length || "";
  find("objects").replaceChildren(...image.objects.map((each) => {
    const swatch = make("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = css(ofClass(classes, each.name));
    const name = make("select", { "aria-label": `class of object ${each.number}`, on: { change: (event) => does.name(each.number, event.target.value) } });
    for (const option of classes) name.append(make("option", { text: option, value: option, selected: option === each.name }));
    const who = each.by === "hand" ? "by hand" : `${each.by}, score ${share(each.score)}`;
    return make("li", { className: each.number === image.replaces ? "editing" : each.number === chosen ? "chosen" : "", on: { pointerenter: () => does.choose(each.number), pointerleave: () => does.choose(0) } },
      swatch, make("span", { className: "number", text: String(each.number) }), name,
      make("span", { className: "note", text: who }),
      make("button", { className: "quiet small", text: "Edit", title: "mend it, or prompt it anew", on: { click: () => does.edit(each.number) } }),
      make("button", { className: "quiet small", text: "⤓", title: "the object alone, as PNG", "aria-label": `cut out object ${each.number}`, on: { click: () => does.cutout(each.number) } }),
      make("button", { className: "quiet small", text: "✕", title: "delete it", "aria-label": `delete object ${each.number}`, on: { click: () => does.delete(each.number) } }),
      ...(each.slices > 1 ? deletedEverywhere(each, does) : []), each.score === null ? "" : doubtBar(each.score));
  }));
  if (!image.objects.length) {
    find("objects").append(make("li", { className: "note empty", text: "none yet: click on one in the image" }));
  }
}

// Of suggestions the most doubtful comes first: it is the one that the keys are for. Those below the score
// that is asked for are not listed.
export function showSuggested(all, good, classes, does) {
  const many = all.length, few = good.length;
  find("suggested-count").textContent = many === few ? many || "" : `${few} of ${many}`;
  find("least-row").hidden = find("all-suggested").hidden = many < 2;
  find("least-value").textContent = Number(find("least-score").value).toFixed(2);
  find("take-all").textContent = many === few ? "Accept all" : `Accept these ${few}`;
  find("take-all").disabled = !few;
  find("drop-all").textContent = `Reject all ${many}`;
  find("suggested").replaceChildren(...good.slice(0, MOST_LISTED).map((each, place) => {
    const swatch = make("span", { className: "swatch dashed", "aria-hidden": "true" });
    swatch.style.borderColor = css(ofClass(classes, each.name));
    return make("li", { className: place ? "" : "first", on: { pointerenter: () => does.choose(-each.number), pointerleave: () => does.choose(0) } },
      swatch, make("span", { className: "name", text: each.name }), make("span", { className: "note", title: "score: the IoU that the model expects", text: share(each.score) }),
      make("button", { className: "quiet small", text: "✓", title: place ? "accept" : "accept (K)", "aria-label": `accept suggestion ${each.number}`, on: { click: () => does.take([each.number]) } }),
      make("button", { className: "quiet small", text: "✕", title: place ? "reject" : "reject (X)", "aria-label": `reject suggestion ${each.number}`, on: { click: () => does.drop([each.number]) } }),
      ...(each.slices > 1 ? everywhere(each, does) : []), doubtBar(each.score));
  }));
}

// Of an object that goes through several slices of a volume.
const everywhere = ({ number, slices }, does) => [make("span", { className: "round-row everywhere" },
  make("button", { className: "small", text: `Accept on ${slices} slices`, on: { click: () => does.everywhere("takeeverywhere", { number }, "Kept on all its slices.") } }),
  make("button", { className: "small", text: "Reject on all", on: { click: () => does.everywhere("dropeverywhere", { number }, "Rejected on all slices.") } }))];
const deletedEverywhere = ({ number, slices }, does) => [make("span", { className: "round-row everywhere" },
  make("button", { className: "small", text: `Delete on all ${slices} slices`, on: { click: () => does.everywhere("deleteeverywhere", { object: number }, "Deleted on all slices.") } }))];

export function showClasses(classes, chosen, choose) {
  find("classes").replaceChildren(...classes.map((name, place) => {
    const swatch = make("span", { className: "swatch", "aria-hidden": "true" });
    swatch.style.background = css(ofClass(classes, name));
    const key = place < 9 ? make("kbd", { text: `⇧${place + 1}` }) : "";
    return make("li", {}, make("button", { className: "row", "aria-pressed": String(name === chosen), on: { click: () => choose(name) } },
      swatch, make("span", { className: "name", text: name }), key));
  }));
  const select = find("class");
  select.replaceChildren(...classes.map((name) => make("option", { text: name, value: name, selected: name === chosen })));
}

export function showCandidates(offer, chosen, choose) {
  const row = find("candidates");
  row.hidden = !offer || offer.candidates.length < 2;
  if (row.hidden) return;
  row.replaceChildren(...offer.candidates.map((each, place) => make("button", {
    title: `candidate ${place + 1} (${place + 1})`, "aria-pressed": String(place === (chosen ?? offer.best)),
    on: { click: () => choose(place) },
  }, make("b", { text: String(place + 1) }), ` ${share(each.score)}`)));
}
