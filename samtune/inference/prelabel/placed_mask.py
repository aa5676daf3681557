"""Masks as the part of an image that they cover: hundreds of a large image fit in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from samtune.masks import mask_to_box
from samtune.types import FloatArray, MaskArray

Window = tuple[slice, slice]


@dataclass(frozen=True)
class PlacedMask:
    """A mask and where it lies.

    Attributes:
        top, left: row and column of its first pixel in the image.
        part: (h, w) boolean, all of the mask.
    """

    top: int
    left: int
    part: MaskArray

    @classmethod
    def of(cls, part: MaskArray, top: int = 0, left: int = 0) -> "PlacedMask":
        """Cut a mask (h, w) that lies at `top`, `left` to its object; an empty one to a pixel."""
        box = mask_to_box(part)
        if box is None:
            return cls(top, left, np.zeros((1, 1), np.bool_))
        x0, y0, x1, y1 = box.astype(int).tolist()
        return cls(top + y0, left + x0, part[y0 : y1 + 1, x0 : x1 + 1].copy())

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.part))

    @property
    def box(self) -> FloatArray | None:
        """Inclusive xyxy in the image; `None` for an empty mask."""
        box = mask_to_box(self.part)
        return None if box is None else box + np.tile([self.left, self.top], 2).astype(np.float32)

    def window(self, hw: tuple[int, int], margin: int = 0) -> Window:
        """Its rows and columns in an image of size `hw`, and so many more around them."""
        bottom, right = self.top + self.part.shape[0], self.left + self.part.shape[1]
        return (
            slice(max(0, self.top - margin), min(hw[0], bottom + margin)),
            slice(max(0, self.left - margin), min(hw[1], right + margin)),
        )

    def within(self, window: Window) -> MaskArray:
        """The mask in a window that holds all of it."""
        rows, columns = window
        mask = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.bool_)
        y, x = self.top - rows.start, self.left - columns.start
        mask[y : y + self.part.shape[0], x : x + self.part.shape[1]] = self.part
        return mask

    def whole(self, hw: tuple[int, int]) -> MaskArray:
        """(H, W) boolean."""
        return self.within((slice(0, hw[0]), slice(0, hw[1])))

    def to_rle(self, hw: tuple[int, int]) -> dict[str, Any]:
        """`mask_to_rle` of the whole mask, which is not made for it."""
        from pycocotools import mask as coco_mask

        padded = np.pad(self.part, ((1, 1), (0, 0))).astype(np.int8)
        columns, rows = np.nonzero(np.diff(padded, axis=0).T)  # runs begin and end, by column
        places = (self.left + columns) * hw[0] + self.top + rows
        # where a column is full to the image's edge, its run goes on in the next one
        _, counts = np.unique(places, return_counts=True)
        edges = np.unique(places)[counts == 1]
        runs = np.diff(np.concatenate([[0], edges, [hw[0] * hw[1]]]))
        runs = runs[:-1] if len(runs) > 1 and not runs[-1] else runs
        rle = coco_mask.frPyObjects({"size": list(hw), "counts": runs.tolist()}, *hw)
        return {"size": list(hw), "counts": bytes(rle["counts"]).decode("ascii")}


def placed_iou(one: PlacedMask, other: PlacedMask) -> float:
    """IoU of two masks of an image; 1 where both are empty."""
    top, left = min(one.top, other.top), min(one.left, other.left)
    bottom = max(each.top + each.part.shape[0] for each in (one, other))
    right = max(each.left + each.part.shape[1] for each in (one, other))
    window = (slice(top, bottom), slice(left, right))
    first, second = one.within(window), other.within(window)
    union = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / union if union else 1.0
