"""Drawn pictures: what is in them and how it lies. Each function fills an empty canvas."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from samtune.data.drawn.canvas import GROUP, PART, Canvas, Look, gradient
from samtune.data.drawn.shapes import (
    ANY,
    SOLID,
    Mask,
    Point,
    Shape,
    band,
    blob,
    curve,
    filament,
    patch,
    rectangle,
    roof,
    stripe,
)
from samtune.types import FloatArray

# Shares of the picture that objects cover, from the smallest to the largest
SMALLEST, LARGEST = 0.003, 0.6


@dataclass(frozen=True)
class Palette:
    """Colours of one scene.

    Attributes:
        ground: (3,) colour of the background.
        tint: (3,) direction in which objects differ from it.
        contrast: typical difference, 0..1.
        variety: how much each object's tint is its own.
    """

    ground: FloatArray
    tint: FloatArray
    contrast: float
    variety: float

    def look(self, rng: np.random.Generator, strength: float = 1.0) -> Look:
        """An object that stands out by about the scene's contrast times `strength`."""
        own = self.tint + self.variety * rng.normal(0, 1, 3)
        own /= max(float(np.abs(own).max()), 0.3)
        amount = self.contrast * strength * rng.uniform(0.7, 1.3)
        contrast = abs(amount)
        return Look(
            np.asarray(self.ground + own * amount, np.float32),
            texture=maybe(rng, 0.7, 0.3 * contrast),
            shading=maybe(rng, 0.4, 0.3 * contrast),
            dome=maybe(rng, 0.4, rng.choice((-0.5, 0.8, 0.8)) * contrast),
            rim=maybe(rng, 0.3, rng.choice((-0.6, 0.6)) * contrast),
            softness=float(rng.choice((0.0, 0.5, 1.0, 1.6))),
            opacity=float(rng.choice((1.0, 1.0, 1.0, 0.8))),
        )


def maybe(rng: np.random.Generator, chance: float, most: float) -> float:
    """A fifth to all of `most`, or, but for the given chance, nothing."""
    return float(rng.uniform(0.2, 1.0) * most) if rng.random() < chance else 0.0


def draw_palette(rng: np.random.Generator) -> Palette:
    """Dark with bright objects, bright with dark ones, or anything; grey or in colour."""
    kind = rng.choice(("dark", "bright", "any"), p=(0.25, 0.3, 0.45))
    low, high = {"dark": (0.02, 0.2), "bright": (0.65, 0.95), "any": (0.2, 0.75)}[kind]
    chroma = rng.choice((0.0, 0.05, 0.15))
    ground = rng.uniform(low, high) + chroma * rng.normal(0, 1, 3)
    sign = {"dark": 1.0, "bright": -1.0, "any": float(rng.choice((-1, 1)))}[kind]
    tint = sign * (1 - rng.uniform(0, 1) * rng.uniform(0, 1, 3))
    contrast = float(np.exp(rng.uniform(np.log(0.15), np.log(0.9))))
    variety = float(rng.choice((0.0, 0.1, 0.3, 1.0)))
    return Palette(
        np.clip(ground, 0.01, 0.98).astype(np.float32), tint.astype(np.float32), contrast, variety
    )


def draw_ground(canvas: Canvas, palette: Palette) -> None:
    """Background: colour, texture, a gradient, sometimes patches of other ground."""
    rng, hw = canvas.rng, canvas.hw
    grey = canvas.bank.crop(hw, rng) * np.float32(maybe(rng, 0.8, 0.3 * palette.contrast))
    grey = grey + gradient(hw, rng) * np.float32(maybe(rng, 0.4, 0.15))
    canvas.image[:] = palette.ground + grey[..., None]
    for _ in range(int(rng.choice((0, 0, 0, 1, 2)))):
        look = palette.look(rng, rng.choice((-0.4, 0.4)))
        canvas.paint(patch(rng, any_place(canvas), mean_side(canvas) * 0.3, hw), look)


def mean_side(canvas: Canvas) -> float:
    """Side of a square as large as the picture."""
    return float(np.sqrt(canvas.hw[0] * canvas.hw[1]))


def any_place(canvas: Canvas, margin: float = 0.0) -> Point:
    """A point of the picture, or up to `margin` sides beyond it."""
    y, x = (canvas.rng.uniform(-margin, 1 + margin) * side for side in canvas.hw)
    return float(x), float(y)


def any_radius(canvas: Canvas, smallest: float, largest: float) -> float:
    """The radius of a circle that covers a share of the picture, drawn log-uniformly."""
    share = np.exp(canvas.rng.uniform(np.log(smallest), np.log(largest)))
    return float(np.sqrt(share / np.pi)) * mean_side(canvas)


def _nearby(rng: np.random.Generator, place: Point, distance: float) -> Point:
    angle = rng.uniform(0, 2 * np.pi)
    return place[0] + distance * float(np.cos(angle)), place[1] + distance * float(np.sin(angle))


def _any_shape(rng: np.random.Generator, shapes: tuple[Shape, ...]) -> Shape:
    return shapes[int(rng.integers(len(shapes)))]


def cells(canvas: Canvas, palette: Palette, smallest: float = 0.0015) -> None:
    """Many of a kind, alone and in clumps that touch, some with a nucleus.

    Args:
        canvas: to draw on.
        palette: its colours.
        smallest: share of the picture that one covers at least.
    """
    rng, hw = canvas.rng, canvas.hw
    radius = any_radius(canvas, smallest, 0.03)
    room = 0.8 * hw[0] * hw[1] / (np.pi * radius**2)
    count = min(int(rng.integers(5, 60)), int(room))
    kind = palette.look(rng)
    clumping, spread = rng.uniform(0, 0.8), rng.uniform(0.0, 0.35)
    if clumping > 0.3 and not kind.rim:  # what touches must be told apart by something
        kind = replace(kind, rim=float(rng.choice((-0.4, 0.3)) * palette.contrast))
    kinds = (blob, blob, blob, blob, blob, blob, polygon_like, polygon_like, filament)
    shape = _any_shape(rng, kinds)
    with_nuclei = rng.random() < 0.3 and radius > 9
    nucleus = palette.look(rng, 1.6)
    place = any_place(canvas, 0.03)
    for _ in range(count):
        size = radius * float(np.exp(rng.normal(0, spread)))
        touching = rng.random() < clumping
        place = _nearby(rng, place, 2.0 * size) if touching else any_place(canvas, 0.03)
        mask = shape(rng, place, size, hw) & canvas.free()
        if mask.sum() < 0.5 * size**2:
            continue
        canvas.add(mask, kind.tinted(float(rng.normal(0, 0.15 * palette.contrast))))
        if with_nuclei:
            inner = blob(rng, _nearby(rng, place, 0.2 * size), size * 0.45, hw)
            canvas.add(inner & mask, nucleus, PART)


def polygon_like(
    rng: np.random.Generator, centre: Point, radius: float, hw: tuple[int, int]
) -> Mask:
    """Any solid shape."""
    return _any_shape(rng, SOLID)(rng, centre, radius, hw)


def lumps(canvas: Canvas, palette: Palette) -> None:
    """A few large rounded things, often hardly different from their surroundings."""
    rng, hw = canvas.rng, canvas.hw
    for _ in range(int(rng.integers(1, 5))):
        place, radius = any_place(canvas, -0.1), any_radius(canvas, 0.02, LARGEST)
        mask = _any_shape(rng, (blob, blob, blob, patch))(rng, place, radius, hw)
        look = palette.look(rng, rng.choice((0.4, 0.7, 1.0)))
        halo = Look(look.colour - 0.5 * palette.contrast, softness=1.5, opacity=0.4)
        if rng.random() < 0.4:
            canvas.paint(np.roll(mask, int(rng.integers(2, 6)), int(rng.integers(2))), halo)
        canvas.add(mask, look)
        if rng.random() < 0.35:
            inner = blob(rng, _nearby(rng, place, 0.4 * radius), radius * rng.uniform(0.2, 0.5), hw)
            canvas.add(inner & mask, palette.look(rng, 0.8), PART)
        for _ in range(int(rng.choice((0, 0, 2, 6)))):  # highlights belong to the lump
            spot = blob(rng, _nearby(rng, place, radius * rng.random()), rng.uniform(1, 4), hw)
            canvas.paint(spot, Look(np.ones(3, np.float32), softness=0.7, opacity=0.9))


def town(canvas: Canvas, palette: Palette) -> None:
    """Roofs in two shades with shadows, roads and trees, all along one direction."""
    rng, hw = canvas.rng, canvas.hw
    angle, radius = rng.uniform(0, np.pi), any_radius(canvas, SMALLEST, 0.08)
    for _ in range(int(rng.integers(0, 3))):
        canvas.add(stripe(rng, any_place(canvas), radius * rng.uniform(0.5, 1.5), hw),
                   palette.look(rng, rng.choice((-0.7, 0.7))))  # fmt: skip
    light = rng.integers(-1, 2, 2) * max(1, round(radius * rng.uniform(0.1, 0.4)))
    shade = Look(np.zeros(3, np.float32), softness=0.7, opacity=float(rng.uniform(0.3, 0.8)))
    tree = palette.look(rng, -0.6)
    for _ in range(int(rng.integers(2, 30))):
        place, size = any_place(canvas, 0.03), radius * float(np.exp(rng.normal(0, 0.3)))
        if rng.random() < 0.2:
            canvas.add(blob(rng, place, size * 0.6, hw), tree)
            continue
        turned = angle + (rng.random() < 0.2) * rng.uniform(0, np.pi)
        _add_house(canvas, palette, place, size, turned, shade, light)


def _add_house(
    canvas: Canvas, palette: Palette, place: Point, radius: float, angle: float, shade: Look,
    light: np.ndarray,
) -> None:  # fmt: skip
    rng, hw = canvas.rng, canvas.hw
    mask = roof(rng, place, radius, angle, hw) & canvas.free()
    if mask.sum() < radius**2:
        return
    canvas.paint(np.roll(mask, light, (0, 1)), shade)
    look = palette.look(rng)
    canvas.add(mask, look)
    if rng.random() < 0.5:  # a gable: one half lies in the light, the other not
        turn = angle + np.pi / 2
        middle = (place[0] + radius * 2 * float(np.cos(turn)),
                  place[1] + radius * 2 * float(np.sin(turn)))  # fmt: skip
        half = rectangle(middle, (6 * radius, 4 * radius), angle, hw) & mask
        if half.sum() > 20:
            canvas.add(half, look.tinted(float(rng.choice((-0.4, 0.4)) * palette.contrast)), PART)


def network(canvas: Canvas, palette: Palette) -> None:
    """Roads, vessels or fibres that cross, and a few things beside them."""
    rng, hw = canvas.rng, canvas.hw
    one_object = rng.random() < 0.4
    look, joined = palette.look(rng), np.zeros(hw, np.uint8)
    thickness = float(np.exp(rng.uniform(np.log(1.5), np.log(0.09 * mean_side(canvas)))))
    for _ in range(int(rng.integers(1, 8))):
        start, bend = any_place(canvas, 0.1), rng.uniform(0, 3)
        line = curve(rng, start, mean_side(canvas) * rng.uniform(0.5, 2.0), bend)
        mask = band(line, thickness * rng.uniform(0.6, 1.2), hw)
        joined |= mask
        if not one_object:
            canvas.add(mask, look.tinted(float(rng.normal(0, 0.15 * palette.contrast))))
    if one_object:
        canvas.add(joined, look)
    for _ in range(int(rng.integers(0, 6))):
        shape = _any_shape(rng, SOLID)
        canvas.add(shape(rng, any_place(canvas), any_radius(canvas, SMALLEST, 0.06), hw),
                   palette.look(rng))  # fmt: skip


def mosaic(canvas: Canvas, palette: Palette) -> None:
    """Regions that fill the whole picture, each with its own ground: tissue, fields."""
    rng, hw = canvas.rng, canvas.hw
    count = int(rng.integers(3, 22))
    y, x = np.mgrid[: hw[0] : 2, : hw[1] : 2].astype(np.float32)
    wave = rng.uniform(0, 0.06) * mean_side(canvas)
    x += wave * np.sin(y / rng.uniform(8, 40) + rng.uniform(0, 6))
    y += wave * np.sin(x / rng.uniform(8, 40) + rng.uniform(0, 6))
    nearest, best = np.zeros(y.shape, np.uint8), np.full(y.shape, np.inf, np.float32)
    for number in range(count):
        centre = any_place(canvas)
        distance = (x - centre[0]) ** 2 + (y - centre[1]) ** 2
        nearest[distance < best] = number
        np.minimum(best, distance, out=best)
    whole = np.repeat(np.repeat(nearest, 2, 0), 2, 1)[: hw[0], : hw[1]]
    for number in range(count):
        mask = np.asarray(whole == number, np.uint8)
        if mask.any() and rng.random() < 0.85:
            canvas.add(mask, palette.look(rng, rng.choice((-1.0, 1.0))))


def mixture(canvas: Canvas, palette: Palette) -> None:
    """Things of all kinds and sizes over each other."""
    rng, hw = canvas.rng, canvas.hw
    sizes = sorted(
        (any_radius(canvas, SMALLEST, 0.3) for _ in range(rng.integers(2, 22))), reverse=True
    )
    for radius in sizes:
        place = any_place(canvas, 0.02)
        mask = _any_shape(rng, ANY)(rng, place, radius, hw)
        look = palette.look(rng, rng.choice((-1.0, 1.0, 1.5)))
        canvas.add(mask, look)
        if radius > 14 and rng.random() < 0.4:
            inner = _any_shape(rng, SOLID)(
                rng, _nearby(rng, place, 0.3 * radius), radius * 0.45, hw
            )
            canvas.add(inner & mask, look.tinted(palette.contrast * palette.tint * 0.6), PART)


def plates(canvas: Canvas, palette: Palette) -> None:
    """Large things with small ones on them: the large ones go on below."""
    rng, hw = canvas.rng, canvas.hw
    inner = Palette(palette.ground, -palette.tint, palette.contrast, palette.variety)
    for _ in range(int(rng.integers(1, 4))):
        place, radius = any_place(canvas, -0.1), any_radius(canvas, 0.06, 0.4)
        plate = _any_shape(rng, SOLID)(rng, place, radius, hw)
        canvas.add(plate, palette.look(rng), GROUP)
        size, shape, look = radius * rng.uniform(0.1, 0.3), _any_shape(rng, SOLID), inner.look(rng)
        for _ in range(int(rng.integers(2, 12))):
            spot = _nearby(rng, place, radius * float(np.sqrt(rng.random())))
            mask = shape(rng, spot, size * rng.uniform(0.7, 1.3), hw) & plate
            if mask.sum() > 20:
                canvas.add(mask, look)


Scene = Callable[[Canvas, Palette], None]
KINDS: tuple[tuple[Scene, float], ...] = (
    (cells, 0.3),
    (lumps, 0.18),
    (town, 0.16),
    (network, 0.08),
    (mosaic, 0.06),
    (mixture, 0.14),
    (plates, 0.08),
)
