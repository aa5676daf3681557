"""More kinds of drawn pictures, for training alone: streets, vessels, rows of roofs, folds.

Validation and test pictures are of the kinds in `kinds.py` alone, as they ever were: figures on them
stay comparable, and these kinds show whether what is learned carries over.
"""

import cv2
import numpy as np

from samtune.data.drawn.canvas import Canvas, Look, gradient
from samtune.data.drawn.kinds import (
    KINDS,
    Palette,
    Scene,
    any_place,
    any_radius,
    cells,
    maybe,
    mean_side,
)
from samtune.data.drawn.shapes import Mask, Point, band, blob, curve, patch, rectangle


def streets(canvas: Canvas, palette: Palette) -> None:
    """A grid of roads as one object, with houses and trees between them."""
    rng, hw = canvas.rng, canvas.hw
    angle, width = _street_angle(rng), float(np.exp(rng.uniform(np.log(3), np.log(0.1 * hw[0]))))
    road = np.zeros(hw, np.uint8)
    for turn in (angle, angle + np.pi / 2):
        for _ in range(int(rng.choice((0, 1, 1, 2, 3)))):
            road |= _street(canvas, turn, width * rng.uniform(0.5, 1.1))
    if rng.random() < 0.4 or not road.any():
        line = curve(rng, any_place(canvas), 2.0 * mean_side(canvas), rng.uniform(0, 2.0))
        road |= band(line, width * rng.uniform(0.5, 1.1), hw)
    canvas.add(road, palette.look(rng, rng.choice((-0.7, 0.7))))
    shade = Look(np.zeros(3, np.float32), softness=0.7, opacity=float(rng.uniform(0.3, 0.8)))
    tree = palette.look(rng, -0.6)
    for _ in range(int(rng.integers(0, 40))):
        place, size = any_place(canvas, 0.03), width * float(np.exp(rng.normal(0.0, 0.4)))
        if rng.random() < 0.4:  # trees hide some of a road without cutting it
            canvas.paint(blob(rng, place, size * 0.5, hw), tree)
            continue
        house = rectangle(place, (size * 2, size * rng.uniform(0.7, 1.6)), angle, hw)
        house &= canvas.free()
        if house.sum() > size**2:
            canvas.paint(np.roll(house, (2, 2), (0, 1)), shade)
            canvas.add(house, palette.look(rng))


def _street_angle(rng: np.random.Generator) -> float:
    """Along the picture's sides as often as not."""
    return 0.0 if rng.random() < 0.5 else float(rng.uniform(0, np.pi))


def _street(canvas: Canvas, angle: float, width: float) -> Mask:
    length = 3.0 * mean_side(canvas)
    return rectangle(any_place(canvas), (length, width), angle, canvas.hw)


def vessels(canvas: Canvas, palette: Palette) -> None:
    """A tree of vessels that taper as they branch, hardly darker than what lies below."""
    rng, hw = canvas.rng, canvas.hw
    if rng.random() < 0.5:
        disc = blob(rng, any_place(canvas, -0.3), mean_side(canvas) * rng.uniform(0.3, 0.6), hw)
        canvas.paint(disc, palette.look(rng, rng.choice((-0.5, 0.5))))
    width = float(np.exp(rng.uniform(np.log(2.5), np.log(0.06 * mean_side(canvas)))))
    tree, root = np.zeros(hw, np.uint8), any_place(canvas)
    for _ in range(int(rng.integers(1, 6))):
        _grow(canvas, tree, root, width, mean_side(canvas) * rng.uniform(0.3, 0.9), 3)
    canvas.add(tree, palette.look(rng, rng.choice((0.4, 0.7, 1.0))))


def _grow(
    canvas: Canvas, tree: Mask, start: Point, width: float, length: float, depth: int
) -> None:
    rng = canvas.rng
    line = curve(rng, start, length, rng.uniform(0.3, 2.5))
    tree |= band(line, max(1.0, width), canvas.hw)
    for _ in range(int(rng.integers(1, 3)) if depth and width > 1.5 else 0):
        x, y = line[int(rng.integers(len(line) // 3, len(line)))]
        _grow(canvas, tree, (float(x), float(y)), 0.65 * width, 0.6 * length, depth - 1)


def rows(canvas: Canvas, palette: Palette) -> None:
    """Roofs, fields or tiles in rows, close to each other, often along the picture's sides."""
    rng, hw = canvas.rng, canvas.hw
    angle, radius = _street_angle(rng), any_radius(canvas, 0.002, 0.06)
    long, short = 2 * radius, 2 * radius * rng.uniform(0.4, 1.0)
    step = np.array([long, short]) * rng.uniform(1.05, 1.6, 2)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    kind, light = palette.look(rng), rng.integers(-2, 3, 2)
    shade = Look(np.zeros(3, np.float32), softness=0.7, opacity=float(rng.uniform(0.2, 0.8)))
    is_alike, count = rng.random() < 0.5, int(np.clip(mean_side(canvas) / step.min(), 2, 7))
    middle = np.array(any_place(canvas, -0.2))
    for row in range(-count, count + 1):
        for column in range(-count, count + 1):
            x, y = np.array([column, row]) * step @ turn + middle
            outside = not (-radius < x < hw[1] + radius and -radius < y < hw[0] + radius)
            if outside or rng.random() < 0.25:
                continue
            sides = (long * rng.uniform(0.7, 1.0), short * rng.uniform(0.7, 1.0))
            mask = rectangle((float(x), float(y)), sides, angle, hw) & canvas.free()
            if mask.sum() < 20:
                continue
            canvas.paint(np.roll(mask, light, (0, 1)), shade)
            shift = float(rng.normal(0, 0.15 * palette.contrast))
            canvas.add(mask, kind.tinted(shift) if is_alike else palette.look(rng))


def folds(canvas: Canvas, palette: Palette) -> None:
    """A lump on folded ground of its own colour: only shading and edge tell it apart."""
    rng, hw = canvas.rng, canvas.hw
    for _ in range(int(rng.integers(1, 5))):
        line = curve(rng, any_place(canvas, 0.2), 1.5 * mean_side(canvas), rng.uniform(1, 4))
        fold = palette.look(rng, rng.choice((-0.5, 0.5)))
        wide = band(line, mean_side(canvas) * rng.uniform(0.02, 0.2), hw)
        canvas.paint(wide, Look(fold.colour, fold.texture, softness=float(rng.uniform(2, 8)),
                                opacity=float(rng.uniform(0.2, 0.7))))  # fmt: skip
    for _ in range(int(rng.choice((1, 1, 2)))):
        place, radius = any_place(canvas, -0.15), any_radius(canvas, 0.01, 0.25)
        mask = (blob if rng.random() < 0.8 else patch)(rng, place, radius, hw)
        soft = float(rng.uniform(1, 3))
        canvas.paint(np.roll(mask, rng.integers(-4, 5, 2), (0, 1)),
                     Look(palette.ground * np.float32(0.4), softness=soft, opacity=0.5))  # fmt: skip
        look = palette.look(rng, rng.choice((0.2, 0.4, 0.7)))
        canvas.add(mask, Look(look.colour, maybe(rng, 0.6, 0.1), 0.15, 0.25, 0.0, soft, 0.85))
    for _ in range(int(rng.choice((0, 3, 8)))):  # wet surfaces glare
        spot = blob(rng, any_place(canvas), rng.uniform(1, 4), hw)
        canvas.paint(spot, Look(np.ones(3, np.float32), softness=0.7, opacity=0.9))
    if rng.random() < 0.3:
        _mask_frame(canvas)


def _mask_frame(canvas: Canvas) -> None:
    """Black corners, as endoscopes have; they hide what lies below."""
    hw = canvas.hw
    seen = np.zeros(hw, np.uint8)
    middle, reach = (
        (hw[1] // 2, hw[0] // 2),
        int(mean_side(canvas) * canvas.rng.uniform(0.48, 0.62)),
    )
    cv2.circle(seen, middle, reach, 1, -1)
    canvas.image *= seen[..., None]
    canvas.labels *= seen[None]


def swarm(canvas: Canvas, palette: Palette) -> None:
    """Cells alike, some of a few pixels, dim to bright, under uneven light: fluorescence."""
    rng = canvas.rng
    dark = np.asarray(rng.uniform(0.01, 0.12) * np.ones(3), np.float32)
    tint = np.asarray(rng.uniform(0.4, 1.0) * np.ones(3), np.float32)
    canvas.image[:] = dark + gradient(canvas.hw, rng)[..., None] * np.float32(rng.uniform(0, 0.04))
    cells(canvas, Palette(dark, tint, float(rng.uniform(0.1, 0.9)), 0.0), 0.0004)


_OWN: tuple[tuple[Scene, float], ...] = (
    (streets, 0.09), (vessels, 0.05), (rows, 0.09), (folds, 0.12), (swarm, 0.08),
)  # fmt: skip
_USUAL_SHARE = 1 - sum(weight for _, weight in _OWN)
TRAINING_KINDS: tuple[tuple[Scene, float], ...] = (
    *((scene, weight * _USUAL_SHARE) for scene, weight in KINDS), *_OWN,
)  # fmt: skip
