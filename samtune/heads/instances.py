"""Instances: foreground, depth and centre of each object; watershed makes objects of them.

Depth is the distance to the object's outline over its largest in that object, centre one less the
distance to its middle over its largest. Both are 1 inside of the object, and fall to its neighbour
even where the two touch, so that what is high in both is one object each. (micro-sam's decoder,
doi 10.1038/s41592-024-02580-4, learns the same three.)
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed
from torch import Tensor

from samtune.heads.head import Batched, DenseHead, Targets
from samtune.heads.losses import mean_over
from samtune.heads.matching import accuracy
from samtune.types import FloatArray, LabelArray, MaskArray

# How maps become objects, unless the validation images said otherwise
USUAL = {"foreground": 0.5, "seed": 0.6, "min_area": 10, "sigma": 1.0}
# Among the settings: what measured IoU a score stands for, as models/calibration.py has it
CALIBRATION = "calibration"
_FOREGROUND, _DEPTH, _CENTRE = 0, 1, 2
_NEIGHBOURS = np.ones((3, 3), np.bool_)
# Shares nearer to 0 or 1 are as sure as this one
_LEAST_SHARE = 1e-4
# By how much more a cell at an outline weighs
_EDGE = 4.0


class InstanceHead(DenseHead):
    """All objects of an image."""

    name: ClassVar[str] = "instances"
    meaning: ClassVar[str] = "foreground, depth and centre of objects, 0 to 1"
    measure: ClassVar[str] = "mSA"
    column: ClassVar[str] = "head mSA"
    follows_objects: ClassVar[bool] = True

    @property
    def num_maps(self) -> int:
        return 3

    @classmethod
    def targets(
        cls, labels: LabelArray, classes: Mapping[int, str], settings: Mapping[str, Any]
    ) -> Targets:
        flat = flattened(labels)
        depth = np.zeros(flat.shape, np.float32)
        centre, is_whole = depth.copy(), np.ones(flat.shape, np.bool_)
        boxes: list[Any] = ndimage.find_objects(flat)
        for object_id, box in enumerate(boxes, start=1):
            if box is None:  # smaller ones hide all of it
                continue
            inside = flat[box] == object_id
            depth[box][inside] = _depth(flat, box, inside)[inside]
            centre[box][inside] = _nearness(inside)[inside]
            if _is_cut(box, flat.shape):  # its middle may be elsewhere
                is_whole[box] &= ~inside
        is_edge = ndimage.maximum_filter(flat, 3) != ndimage.minimum_filter(flat, 3)
        return {
            "objects": flat, "depth": depth, "centre": centre, "is_whole": is_whole,
            "is_edge": is_edge,
        }  # fmt: skip

    def loss(self, maps: Tensor, targets: Batched, valid: Tensor) -> dict[str, Tensor]:
        there = (targets["objects"] > 0).float()
        logits, weight = maps[:, _FOREGROUND], valid.float()
        each = F.binary_cross_entropy_with_logits(logits, there, reduction="none")
        # what lies along outlines decides; Dice besides would make small objects too large
        parts = {"pixel": 2 * mean_over(each, weight * (1 + _EDGE * targets["is_edge"]))}
        for place, name in ((_DEPTH, "depth"), (_CENTRE, "centre")):
            known = weight if name == "depth" else weight * targets["is_whole"]
            error = _excess(maps[:, place], targets[name])
            # objects and background weigh alike, however much there is of either
            parts[name] = mean_over(error, known * there) + mean_over(error, known * (1 - there))
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def score(self, maps: FloatArray, targets: Targets, valid: NDArray[np.bool_]) -> float:
        found, _ = self.decode(maps * valid)
        return accuracy(found, targets["objects"] * valid)

    def activate(self, maps: Tensor) -> Tensor:
        return maps.sigmoid()

    def decode(self, maps: FloatArray) -> tuple[LabelArray, FloatArray]:
        """Objects of activated maps (3, H, W), of a view or of a whole image.

        Returns:
            (H, W) labels from 1, and (N,) scores: how sure the foreground and the seed are, not
            calibrated.
        """
        return objects_of(maps, USUAL | self.settings)

    def foreground_logits(self, maps: FloatArray) -> FloatArray:
        """(H, W) logits of all objects together, above 0 where one is, of activated maps."""
        threshold = float((USUAL | self.settings)["foreground"])
        return _logits(maps[_FOREGROUND]) - _logits(np.float32(threshold))


def _logits(shares: FloatArray | np.float32) -> FloatArray:
    sure = np.clip(shares, _LEAST_SHARE, 1 - _LEAST_SHARE)
    return np.asarray(np.log(sure / (1 - sure)), np.float32)


def _excess(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy with shares 0 to 1, less their own entropy: 0 where they are met.

    A squared error would hardly move a sigmoid that is far off.
    """
    entropy = -torch.xlogy(shares, shares) - torch.xlogy(1 - shares, 1 - shares)
    return F.binary_cross_entropy_with_logits(logits, shares, reduction="none") - entropy


def objects_of(maps: FloatArray, settings: Mapping[str, Any]) -> tuple[LabelArray, FloatArray]:
    """Seeds where depth and centre agree, grown over the foreground down the depth."""
    foreground, depth = maps[_FOREGROUND], maps[_DEPTH]
    mask = foreground > settings["foreground"]
    peaks = (depth + maps[_CENTRE]) / 2
    if settings["sigma"]:
        peaks = ndimage.gaussian_filter(peaks, settings["sigma"])
    seeds, count = ndimage.label(mask & (peaks > settings["seed"]), _NEIGHBOURS)
    seeds = _with_lone(seeds, count, mask)
    labels = watershed(-peaks, seeds, mask=mask).astype(np.int32)
    return numbered(labels, foreground, peaks, int(settings["min_area"]))


def _with_lone(seeds: NDArray[Any], count: int, mask: MaskArray) -> NDArray[np.int32]:
    """A piece of foreground without a seed is a seed: a small object hardly has a depth."""
    pieces, num_pieces = ndimage.label(mask, _NEIGHBOURS)
    is_lone = np.ones(num_pieces + 1, np.bool_)
    is_lone[0] = False
    is_lone[np.unique(pieces[seeds > 0])] = False
    numbers = np.where(is_lone, count + np.cumsum(is_lone), 0)
    return np.asarray(np.where(seeds > 0, seeds, numbers[pieces]), np.int32)


def numbered(
    labels: LabelArray, foreground: FloatArray, peaks: FloatArray, min_area: int
) -> tuple[LabelArray, FloatArray]:
    """Labels without gaps and without what is too small, and the score of each."""
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    kept = np.flatnonzero(areas >= max(1, min_area))
    numbers = np.zeros(len(areas), np.int32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    labels = numbers[labels]
    if not len(kept):
        return labels, np.zeros(0, np.float32)
    order = np.arange(1, len(kept) + 1)
    sure = ndimage.mean(foreground, labels, order)
    seed = ndimage.maximum(peaks, labels, order)
    return labels, np.asarray(np.asarray(sure) * np.asarray(seed), np.float32)


def flattened(labels: LabelArray) -> LabelArray:
    """(L, H, W) -> (H, W) numbers from 1; where objects overlap the smaller one is seen."""
    ids, numbers = np.unique(labels, return_inverse=True)
    numbers = numbers.reshape(labels.shape) + (ids[0] != 0)
    areas = np.bincount(numbers.ravel(), minlength=int(numbers.max()) + 1).astype(np.float64)
    sizes = np.where(numbers > 0, areas[numbers], np.inf)
    top = sizes.argmin(0)
    return np.asarray(np.take_along_axis(numbers, top[None], 0)[0], np.int32)


def _depth(flat: LabelArray, box: tuple[slice, ...], inside: MaskArray) -> FloatArray:
    """Distance to the outline over its largest; the edge of the view is no outline."""
    grown = tuple(
        slice(max(0, part.start - 1), min(length, part.stop + 1))
        for part, length in zip(box, flat.shape, strict=True)
    )
    offset = tuple(
        slice(part.start - wide.start, part.start - wide.start + part.stop - part.start)
        for part, wide in zip(box, grown, strict=True)
    )
    wide = np.zeros([part.stop - part.start for part in grown], np.bool_)
    wide[offset] = inside
    if wide.all():  # nothing of its outline is seen
        return np.ones(inside.shape, np.float32)
    distance = ndimage.distance_transform_edt(wide)[offset]
    return np.asarray(distance / distance.max(), np.float32)


def _nearness(inside: MaskArray) -> FloatArray:
    """One less the distance to the object's middle over its largest."""
    rows, columns = np.nonzero(inside)
    y, x = rows.mean(), columns.mean()
    nearest = int(((rows - y) ** 2 + (columns - x) ** 2).argmin())  # the middle may lie outside
    y, x = rows[nearest], columns[nearest]
    grid_y, grid_x = np.ogrid[: inside.shape[0], : inside.shape[1]]
    distance = np.sqrt((grid_y - y) ** 2 + (grid_x - x) ** 2)
    return np.asarray(1 - distance / max(1.0, float(distance[inside].max())), np.float32)


def _is_cut(box: tuple[slice, ...], hw: tuple[int, ...]) -> bool:
    return any(part.start == 0 or part.stop == length for part, length in zip(box, hw, strict=True))
