// The windows of a scene where they lie: how far each is, how doubtful, and a way to the one beside.

import { counted, find } from "./dom.js";
import { drawSvg } from "./svg.js";

export function showSceneMap(session, current, open) {
  const map = find("scene-map"), { scene } = session;
  map.toggleAttribute("hidden", !scene);
  if (!scene) return;
  map.setAttribute("viewBox", `0 0 ${scene.width} ${scene.height}`);
  const line = Math.max(scene.width, scene.height) / 200;
  // the window on the screen comes last: its frame lies over those beside it
  const images = [...session.images].sort((one, other) => (one.index === current) - (other.index === current));
  map.replaceChildren(...images.map((each) => {
    const [x, y, width, height] = scene.windows[each.index];
    const frame = drawSvg("rect", {
      x: x + line, y: y + line, width: width - 2 * line, height: height - 2 * line, "stroke-width": each.index === current ? 2.5 * line : line,
      class: `window ${each.status.replace(" ", "-")}${each.index === current ? " current" : ""}`,
    });
    const count = each.numObjects ? `, ${counted(each.numObjects, "object")}` : "";
    frame.append(drawSvg("title", {}, `${each.name}: ${each.status}${count}`));
    frame.addEventListener("click", () => open(each.index));
    return frame;
  }));
}
