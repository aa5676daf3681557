// Rounds of tuning: the button, how far one is, and what each has brought on the held-out images.

import { counted, find, share } from "./dom.js";
import { drawSvg as draw } from "./svg.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [240, 96, 30, 16];

export function showRounds(session) {
  const { tuning, rounds, withObjects } = session;
  find("rounds-section").hidden = !tuning;
  if (!tuning) return;
  const canTune = withObjects.train > 0 && withObjects.val > 0;
  find("tune").hidden = tuning.isRunning;
  find("tune").disabled = !canTune;
  find("tune").textContent = `Tune (${tuning.ofSeconds} s)`;
  find("stop-tuning").hidden = find("tune-track").hidden = !tuning.isRunning;
  find("tune-bar").style.width = `${Math.min(100, (100 * tuning.seconds) / tuning.ofSeconds)}%`;
  const areAllGiven = session.images.every((each) => each.role);
  find("tune-note").textContent = session.canLearn ? noteOf(tuning, withObjects, canTune, areAllGiven) : "all these images are held out for testing: open others to learn from";
  find("hold-out-rule").textContent = session.holdOutRule;
  const newest = rounds.at(-1);
  const word = newest?.is_used ? "used now" : "not used, the model stays";
  find("round-said").textContent = tuning.failed || (newest ? `Round ${newest.number} is ${word}: ${newest.sentence}.` : "");
  find("round-said").classList.toggle("failed", Boolean(tuning.failed));
  drawCurve(rounds);
}

function noteOf(tuning, { train, val }, canTune, areAllGiven) {
  if (tuning.isRunning) {
    const seconds = Math.round(tuning.seconds);
    return seconds <= tuning.ofSeconds ? `${seconds} of ${tuning.ofSeconds} s; go on clicking` : `${seconds} s, for this machine is busy; go on clicking`;
  }
  if (canTune) return `${counted(train, "image")} to learn from, ${val} held out`;
  if (areAllGiven) return "a round needs images to learn from and others that are held out: open more";
  if (!train && !val) return "accept objects in two images first";
  return train ? "accept objects in one more image, to be held out" : "accept objects in one more image, to learn from";
}

function drawCurve(rounds) {
  const svg = find("curve");
  svg.toggleAttribute("hidden", !rounds.length);
  find("curve-note").hidden = !rounds.length;
  if (!rounds.length) return;
  const points = [{ ...rounds[0].present, isUsed: true, name: "before" }];
  for (const each of rounds) points.push({ ...each.new, isUsed: each.is_used, name: `round ${each.number}` });
  const ends = points.flatMap((each) => [each.miou, ...(each.ci95 ?? [])]);
  const low = Math.max(0, Math.min(...ends) - 0.02), high = Math.min(1, Math.max(...ends) + 0.02);
  const x = (place) => LEFT + ((place + 0.5) * (WIDTH - LEFT)) / points.length;
  const y = (value) => 6 + ((high - value) / (high - low)) * (HEIGHT - BOTTOM - 6);
  const parts = [low + (high - low) * 0.1, high - (high - low) * 0.1].flatMap((value) => [
    draw("line", { x1: LEFT, x2: WIDTH, y1: y(value), y2: y(value), class: "grid" }),
    draw("text", { x: LEFT - 4, y: y(value) + 3, class: "end" }, share(value)),
  ]);
  const line = points.map((each, place) => `${x(place)},${y(each.miou)}`).join(" ");
  parts.push(draw("polyline", { points: line, class: "line" }));
  points.forEach((each, place) => {
    if (each.ci95) parts.push(draw("line", { x1: x(place), x2: x(place), y1: y(each.ci95[0]), y2: y(each.ci95[1]), class: "interval" }));
    const dot = draw("circle", { cx: x(place), cy: y(each.miou), r: 3.5, class: each.isUsed ? "used" : "unused" });
    const range = each.ci95 ? ` (95%: ${share(each.ci95[0])} to ${share(each.ci95[1])})` : "";
    dot.append(draw("title", {}, `${each.name}: ${share(each.miou)}${range}${each.isUsed ? "" : ", not used"}`));
    parts.push(dot, draw("text", { x: x(place), y: HEIGHT - 3, class: "middle" }, String(place)));
  });
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.replaceChildren(...parts);
}
