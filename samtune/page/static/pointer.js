// Mouse, pen and fingers on a pane, told as what a person means.
//
// Mouse: left is inside, right or Alt outside, dragging a box, the middle button or the space bar moves,
// the wheel zooms; while a polygon is made, a click sets a corner and dragging moves. Touch: a tap clicks, one
// finger moves (or draws, by the mode), two zoom.

const FAR = 5;

export function listen(element, viewport, mode, does) {
  const fingers = new Map();
  let start = null, kind = "", last = null, pinch = null;

  const place = (event) => {
    const edges = element.getBoundingClientRect();
    return [event.clientX - edges.left, event.clientY - edges.top];
  };

  function kindOf(event) {
    const chosen = mode();
    if (event.button === 1 || does.isSpaceHeld() || chosen === "move") return "move";
    if (chosen === "brush" || chosen === "erase") return event.button === 2 ? "" : "stroke";
    if (chosen === "polygon") return event.button === 2 ? "" : "corner";
    return "click";
  }

  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    element.focus({ preventScroll: true, focusVisible: false });
    fingers.set(event.pointerId, place(event));
    if (fingers.size === 2) {
      if (kind === "stroke") does.strokeEnd();
      if (kind === "box") does.boxing(null);
      kind = "pinch";
      pinch = spread();
      return;
    }
    event.preventDefault();
    start = last = place(event);
    kind = kindOf(event);
    if (kind === "stroke") does.stroke(start, isErasing(event));
  });

  element.addEventListener("pointermove", (event) => {
    const now = place(event);
    does.hover(now, event.pointerType);
    if (!fingers.has(event.pointerId)) return;
    fingers.set(event.pointerId, now);
    if (kind === "pinch" && fingers.size === 2) {
      const next = spread();
      does.move(next.x - pinch.x, next.y - pinch.y);
      does.zoom(next.length / pinch.length, next.x, next.y);
      pinch = next;
      return;
    }
    if (kind === "click" && Math.hypot(now[0] - start[0], now[1] - start[1]) > FAR) {
      const isTouch = event.pointerType === "touch" && mode() !== "box";
      kind = isTouch || event.buttons === 2 ? "move" : "box";
    }
    if (kind === "corner" && Math.hypot(now[0] - start[0], now[1] - start[1]) > FAR) kind = "move";
    if (kind === "box") does.boxing([start, now]);
    if (kind === "move") does.move(now[0] - last[0], now[1] - last[1]);
    if (kind === "stroke") does.stroke(now, isErasing(event));
    last = now;
  });

  const isErasing = (event) => mode() === "erase" || event.altKey;

  function end(event, isLost) {
    if (!fingers.delete(event.pointerId)) return;
    if (kind === "pinch") {
      if (!fingers.size) kind = "";
      return;
    }
    if (kind === "stroke") does.strokeEnd();
    if (!isLost && kind === "box") does.box([start, place(event)]);
    if (!isLost && kind === "corner") does.corner(start, event.altKey);
    if (!isLost && kind === "click" && mode() !== "box") {
      does.click(start, !(event.button === 2 || event.altKey || mode() === "outside"));
    }
    if (isLost || kind === "box") does.boxing(null);
    kind = "";
  }

  function spread() {
    const [a, b] = [...fingers.values()];
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, length: Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1])) };
  }

  element.addEventListener("pointerup", (event) => end(event, false));
  element.addEventListener("pointercancel", (event) => end(event, true));
  element.addEventListener("pointerleave", () => does.hover(null, ""));
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    does.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0016)), ...place(event));
  }, { passive: false });
}
