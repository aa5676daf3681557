"""Crops: the square of an image around an object, in which its mask is sharpened.

A crop has a fixed number of cells along a side, whatever the size of the object, so that small and
large ones look alike. Pixels and cells are counted by their centres, as in all of samtune; a crop's own
place is that of its edges.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.masks import mask_to_box
from samtune.types import FloatArray, MaskArray, Prompt, Window

# Cells along a side, and how long that is, over the longer side of the object's box
CELLS, RATIO = 64, 1.5
# Pixels that the longer side of an object is taken to have: around less there is nothing to see
_LEAST = 8.0
# Of a click in its channel, standard deviation in cells
_CLICK = 2.0
# Channels: red, green, blue, box, clicks, logits
CHANNELS = 6


@dataclass(frozen=True)
class Crop:
    """A square of an image, in cells.

    Attributes:
        x, y: its top left corner; pixel n of the image reaches from n to n + 1 here.
        side: in pixels of the image.
        cells: along a side.
    """

    x: float
    y: float
    side: float
    cells: int = CELLS

    @property
    def scale(self) -> float:
        """Cells a pixel."""
        return self.cells / self.side

    def moved(self, points_xy: NDArray[np.floating]) -> FloatArray:
        """Points (..., 2) of the image, as points of the crop."""
        corner = np.array([self.x, self.y])
        return np.asarray((points_xy + 0.5 - corner) * self.scale - 0.5, np.float32)

    def moved_box(self, box_xyxy: NDArray[np.floating]) -> FloatArray:
        """A box (4,) of whole pixels, inclusive, as a box of cells that reaches as far."""
        half = np.array([[0.5], [-0.5]])
        edges = self.moved(box_xyxy.reshape(2, 2) - half)
        return np.asarray((edges + half).reshape(4), np.float32)

    def cut(
        self, values: NDArray[np.generic], corner: tuple[int, int] = (0, 0),
        outside: float | None = None,
    ) -> FloatArray:  # fmt: skip
        """The values of each cell.

        Args:
            values: (h, w) or (h, w, C) of a part of the image, uint8 or float32.
            corner: x and y of the part's first pixel.
            outside: what is beyond the part; `None` goes on with what lies on its edge.

        Returns:
            (cells, cells) or (cells, cells, C), float32.
        """
        x0, x1 = self._span(self.x - corner[0], values.shape[1])
        y0, y1 = self._span(self.y - corner[1], values.shape[0])
        part = np.asarray(values[y0:y1, x0:x1])
        # the mean of what falls into a cell, where every n-th pixel would tell little
        shrunk = max(1, int(1 / self.scale))
        if shrunk > 1:
            part = _shrunk(part, shrunk)
        step = shrunk * self.scale
        first = np.array([corner[0] + x0 - self.x, corner[1] + y0 - self.y]) + shrunk / 2
        to_cells = np.array([[step, 0, first[0] * self.scale - 0.5],
                             [0, step, first[1] * self.scale - 0.5]])  # fmt: skip
        border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
        beyond = (outside or 0.0,) * 4
        return np.asarray(
            cv2.warpAffine(
                part, to_cells, (self.cells, self.cells), flags=cv2.INTER_LINEAR,
                borderMode=border, borderValue=beyond,
            ),
            np.float32,
        )  # fmt: skip

    def _span(self, start: float, length: int) -> tuple[int, int]:
        """First and last pixel that are needed along one side, one at least."""
        first = int(np.clip(np.floor(start) - 2, 0, length - 1))
        return first, int(np.clip(np.ceil(start + self.side) + 2, first + 1, length))

    def window(self, within: Window) -> Window | None:
        """The pixels whose middle it holds, of a window of the image; `None` where there are none."""
        x, width = self._inside(self.x, within.x, within.width)
        y, height = self._inside(self.y, within.y, within.height)
        return Window(y, x, height, width) if width > 0 and height > 0 else None

    def _inside(self, start: float, first: int, length: int) -> tuple[int, int]:
        """First pixel along one side whose middle it holds, and how many."""
        low = max(int(np.ceil(start - 0.5)), first)
        return low, min(int(np.ceil(start + self.side - 0.5)), first + length) - low

    def spread(self, cells: FloatArray, window: Window) -> FloatArray:
        """Values of cells (cells, cells) as values of the pixels of a window of the image."""
        first = np.array([window.x + 0.5 - self.x, window.y + 0.5 - self.y]) * self.scale - 0.5
        to_cells = np.array([[self.scale, 0, first[0]], [0, self.scale, first[1]]])
        return np.asarray(
            cv2.warpAffine(
                cells, to_cells, (window.width, window.height),
                flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
            ),
            np.float32,
        )  # fmt: skip


def _shrunk(part: NDArray[np.generic], times: int) -> NDArray[np.generic]:
    """An array (h, w[, C]) in blocks of so many pixels; the last ones go on with their edge."""
    rows, columns = (-(-length // times) for length in part.shape[:2])
    more = rows * times - part.shape[0], columns * times - part.shape[1]
    padded = cv2.copyMakeBorder(part, 0, more[0], 0, more[1], cv2.BORDER_REPLICATE)
    return np.asarray(cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA))


def extent(prompt: Prompt, mask: MaskArray, corner: tuple[int, int]) -> FloatArray | None:
    """Where an object is taken to be: in its box, or else where it was found.

    Args:
        prompt: pixels of the image.
        mask: (h, w) that was found in a part of the image.
        corner: x and y of that part's first pixel.

    Returns:
        x0, y0, x1, y1 of its edges, pixels of the image, somewhat more of a very small one; `None` of
        an empty mask without a box.
    """
    box = prompt.box_xyxy
    if box is None:
        found = mask_to_box(mask)
        box = None if found is None else found + np.array([*corner, *corner], np.float32)
    if box is None:
        return None
    more = max(0.0, _LEAST - float((box[2:] - box[:2] + 1).max())) / 2
    return np.asarray(box + np.array([-more, -more, 1 + more, 1 + more]), np.float32)


def crop_around(
    edges: NDArray[np.floating], ratio: float = RATIO, cells: int = CELLS,
    shift: tuple[float, float] = (0.0, 0.0),
) -> Crop:  # fmt: skip
    """The crop of an object.

    Args:
        edges: x0, y0, x1, y1 of the object.
        ratio: side of the crop over the longer of its sides.
        cells: of the crop.
        shift: of its middle, in longer sides of the object.
    """
    x0, y0, x1, y1 = (float(each) for each in edges)
    longer = max(x1 - x0, y1 - y0)
    side = ratio * longer
    x, y = (x0 + x1) / 2 + shift[0] * longer, (y0 + y1) / 2 + shift[1] * longer
    return Crop(x - side / 2, y - side / 2, side, cells)


def inputs_of(crop: Crop, image: FloatArray, logits: FloatArray, prompt: Prompt) -> FloatArray:
    """What the network sees of a crop: (6, cells, cells).

    Args:
        crop: of the image.
        image: (cells, cells, 3), values 0..255.
        logits: (cells, cells) of the mask.
        prompt: pixels of the image.
    """
    pixels = image.transpose(2, 0, 1) / 255 - 0.5
    told = np.stack([_box_channel(crop, prompt), _click_channel(crop, prompt), logits])
    return np.concatenate([pixels, told]).astype(np.float32)


def _box_channel(crop: Crop, prompt: Prompt) -> FloatArray:
    """1 inside the box of a prompt."""
    if prompt.box_xyxy is None:
        return np.zeros((crop.cells, crop.cells), np.float32)
    low, high = crop.moved(prompt.box_xyxy.reshape(2, 2) + np.array([[-0.5], [0.5]]))
    places = np.arange(crop.cells)
    columns, rows = ((places > low[axis]) & (places < high[axis]) for axis in (0, 1))
    return np.outer(rows, columns).astype(np.float32)


def _click_channel(crop: Crop, prompt: Prompt) -> FloatArray:
    """A hill at each click in the object, a hollow at each outside."""
    channel = np.zeros((crop.cells, crop.cells), np.float32)
    if prompt.point_coords is None or prompt.point_labels is None:
        return channel
    places = np.arange(crop.cells)
    for (x, y), label in zip(crop.moved(prompt.point_coords), prompt.point_labels, strict=True):
        columns, rows = (np.exp(-((places - at) ** 2) / (2 * _CLICK**2)) for at in (x, y))
        channel += (1 if label == 1 else -1) * np.outer(rows, columns).astype(np.float32)
    return channel
