"""Objects of a scene from those that were accepted in its windows, where one may be seen in several."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from samtune.errors import require
from samtune.inference.geo.grid import Cell, common, inside
from samtune.inference.geo.polygons import outline_parts
from samtune.inference.geo.seams import are_one
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.state import Accepted
from samtune.types import Window

Objects = Sequence[Sequence[Accepted]]
# The number of a window, and an object in pixels of it
Part = tuple[int, Accepted]


def join(cells: Sequence[Cell], objects: Objects) -> list[list[Part]]:
    """Which objects of all windows are one object of the scene, by the rule of `samtune segment`.

    Objects of two classes are two, wherever they lie.

    Args:
        cells: the windows.
        objects: of each, in its pixels.
    """
    groups = {(place, made): [(place, made)] for place, each in enumerate(objects) for made in each}
    for one, other, shared in _overlapping(cells, objects):
        firsts, seconds = (
            [(made, seen) for made in objects[place]
             if (seen := seen_from(shared, made.mask, cells[place].window)) is not None]
            for place in (one, other)
        )  # fmt: skip
        for (a, seen), (b, also) in product(firsts, seconds):
            if a.name == b.name and _is_one(seen, also):
                first, second = groups[one, a], groups[other, b]
                if first is not second:
                    first += second
                    groups |= dict.fromkeys(second, first)
    return list({id(group): group for group in groups.values()}.values())


def objects_beside(cells: Sequence[Cell], objects: Objects, index: int) -> Iterator[Accepted]:
    """What was accepted in other windows, as one window sees it that has no part of it itself."""
    own = cells[index].window
    near = [
        each if common(own, cell.window) else () for cell, each in zip(cells, objects, strict=True)
    ]
    for group in join(cells, near):
        parts = [
            (seen.area, made, seen) for place, made in group
            if (seen := seen_from(own, made.mask, cells[place].window)) is not None
        ]  # fmt: skip
        if parts and all(place != index for place, _ in group):
            _, made, seen = max(parts, key=lambda part: part[0])
            yield replace(made, rle=seen.to_rle(own.hw))


def outline(cells: Sequence[Cell], group: Sequence[Part]) -> Any:
    """A shapely geometry of an object in pixels of the scene.

    Where windows overlap, each counts up to the middle, as in `samtune segment`; of what the middle
    would leave to a window without a part of the object, those that have one count.
    """
    shapely = require("shapely", "geo")
    found = []
    for place, made in group:
        cell, part = cells[place], made.mask.part.copy()
        where = _place_of(made.mask, cell.window)
        for other, _ in group:
            if other != place and (cut := common(where, cells[other].core)) is not None:
                part[inside(cut, where)] = False
        found += [polygon for _, polygon in outline_parts(where, part.astype(np.int32))]
    return shapely.MultiPolygon(found) if len(group) == 1 else shapely.union_all(found)


def seen_from(own: Window, mask: PlacedMask, other: Window) -> PlacedMask | None:
    """A mask of another window in the pixels of one's own; `None` where nothing of it is in there."""
    where = _place_of(mask, other)
    shared = common(where, own)
    if shared is None or not (part := mask.part[inside(shared, where)]).any():
        return None
    return PlacedMask.of(part, shared.y - own.y, shared.x - own.x)


def _overlapping(cells: Sequence[Cell], objects: Objects) -> Iterator[tuple[int, int, Window]]:
    """Pairs of windows with objects, and what both see."""
    begun = [place for place, each in enumerate(objects) if each]
    for count, one in enumerate(begun):
        for other in begun[count + 1 :]:
            if (shared := common(cells[one].window, cells[other].window)) is not None:
                yield one, other, shared


def _is_one(seen: PlacedMask, also: PlacedMask) -> bool:
    """Whether two masks are of one object, in pixels of what both windows see."""
    place, other = (Window(each.top, each.left, *each.part.shape) for each in (seen, also))
    if (cut := common(place, other)) is None:
        return False
    overlap = np.count_nonzero(seen.part[inside(cut, place)] & also.part[inside(cut, other)])
    return bool(overlap and are_one(*(np.array([n]) for n in (overlap, seen.area, also.area)))[0])


def _place_of(mask: PlacedMask, window: Window) -> Window:
    return Window(window.y + mask.top, window.x + mask.left, *mask.part.shape)
