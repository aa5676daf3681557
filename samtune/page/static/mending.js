// A mask mended by hand: brush and eraser.

import { redraw } from "./drawing.js";
import { Mask, dab } from "./masks.js";
import { asking, brushRadius, isTunedShown, page, viewport } from "./page.js";

export function stroke([sx, sy], isErasing) {
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

export function strokeEnd() {
  const mask = page.painted?.told();
  page.strokeAt = null;
  if (!page.painted) return;
  if (mask) asking.act({ do: "mend", mask });
  else { page.painted = null; asking.act({ do: "clear" }); }
}
