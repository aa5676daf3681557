"""How large the views of an image should be: as its own objects want it, which a few views show."""

from typing import Any

import numpy as np

from samtune.heads.views import views_of
from samtune.inference.head_maps import maps_of
from samtune.models.backend import Sam
from samtune.types import ImageArray, LabelArray
from samtune.windows import tile_for

# Views that are looked at for it at a time, and how often at most
_SAMPLED, _TIMES = 3, 4
# How often other views are looked at, where those before showed parts of objects alone
_PATIENCE = 2


def fitting_tile(sam: Sam, head: Any, image: ImageArray) -> int:
    """Side of the views in which the objects of an image have the side that the head learned, pixels.

    Args:
        sam: the network.
        head: for instances; without `object_side` its views are as large for every image; `tiles` are
            the smallest and largest that fitted an image in training.
        image: (H, W, 3), stretched already.

    Raises:
        UserError: the model answers with NaN.
    """
    if not head.settings.get("object_side"):
        return int(head.tile)
    # From afar an object is one piece, if a small one; from too near its texture looks like objects,
    # which fit. So the first look is from the farthest, and another one nearer only where need be.
    tile = int(head.settings["tiles"][1])
    for _ in range(_TIMES):
        typical = _typical_side(sam, head, image, tile)
        if not typical:
            return int(head.tile)
        seen, tile = min(tile, max(image.shape[:2])), fitting_side(sam, head, typical)
        if tile > seen / 2:
            break
    return tile


def fitting_side(sam: Sam, head: Any, typical: float) -> int:
    """Side of the views in which objects have the side that the head learned, pixels.

    Args:
        sam, head: see `fitting_tile`.
        typical: side of the objects in the image, pixels; 0 where none is known.
    """
    wanted = float(head.settings.get("object_side", 0.0))
    if not wanted or not typical:
        return int(head.tile)
    tile = tile_for(typical, wanted, sam.image_size)
    return int(np.clip(tile, *head.settings["tiles"]))


def _typical_side(sam: Sam, head: Any, image: ImageArray, tile: int) -> float:
    """Median side of the objects in a few views; in others where these show none whole."""
    windows = views_of((image.shape[0], image.shape[1]), tile)
    order = np.random.default_rng(0).permutation(len(windows))
    cut: list[float] = []
    for start in range(0, len(windows), _SAMPLED):
        whole: list[float] = []
        for window in (windows[number] for number in order[start : start + _SAMPLED]):
            labels, _ = head.decode(maps_of(sam, head, image[window.slices], 0))
            for areas, found in zip((whole, cut), whole_and_cut(labels), strict=True):
                areas += found
        if whole:
            return float(np.median(np.sqrt(whole)))
        if cut and start >= _PATIENCE * _SAMPLED:
            break
    return float(np.sqrt(max(cut, default=0.0)))  # where each is cut, all are larger than that


def whole_and_cut(labels: LabelArray) -> tuple[list[float], list[float]]:
    """Pixels of the objects that no edge of the view cuts, and of those that one does."""
    areas = np.bincount(labels.ravel())
    edges = np.concatenate([labels[[0, -1]].ravel(), labels[:, [0, -1]].ravel()])
    is_cut = np.isin(np.arange(len(areas)), edges)
    is_there = areas > 0
    is_there[0] = False
    whole, cut = (areas[is_there & part].astype(float).tolist() for part in (~is_cut, is_cut))
    return whole, cut
