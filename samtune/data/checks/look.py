"""What is noted of one image with its objects, so that no pixels have to be kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from samtune.data.checks.alignment import Alignment, measure_alignment
from samtune.data.objects import ObjectPlace, find_objects
from samtune.data.source import Source
from samtune.types import FloatArray, ImageArray, LabelArray, Sample

# A picture whose values lie this close together has nothing in it.
_FLAT = 2
# A mask with fewer grey levels may as well hold classes or objects.
_LEVELS = 12
# So many values of an image are no classes that happen to be so: in order, or in any order.
_LEAST_IN_ORDER, _LEAST_NUMBERED = 3, 5
# Grey levels by which places stand out on average, at least, for details to tell anything
_LEAST_DETAIL = 1.0


@dataclass(frozen=True)
class Stored:
    """Values of an image as its file has them; all of them, or of a band, may be NaN and infinity."""

    num_channels: int
    dtype: str
    lowest: float
    highest: float
    is_finite: bool = True
    has_empty_band: bool = False


@dataclass
class Seen:
    """One image as it was looked at. Areas are pixels of the original image, sides those of the
    shorter way across an object, fills shares of boxes.

    `num_left_out` are objects below `data.min_area`, of which nothing else is noted.
    """

    split: str
    image_id: str
    group: str
    digest: str
    fingerprint: int | None
    thumbnail: FloatArray
    details: FloatArray
    hw: tuple[int, int]
    areas: list[int]
    sides: list[int]
    fills: list[float]
    num_left_out: int
    num_touching: int
    classes: list[str]
    brightness: float
    is_flat: bool
    alignment: Alignment | None
    stored: Stored
    is_interpolated: bool = False
    is_in_order: bool = False


def look_at(split: str, source: Source, index: int, min_area: int) -> Seen:
    """Read one image and note what `Seen` holds.

    Args:
        split, source, index: which image.
        min_area: smaller objects are left out, pixels.

    Raises:
        UserError: the image or its objects cannot be read.
    """
    sample = source.read(index)
    everything = find_objects(sample.labels)
    places = [place for place in everything if place.area >= min_area]
    hw = (sample.image.shape[0], sample.image.shape[1])
    return Seen(
        split=split,
        image_id=sample.image_id,
        group=sample.group or sample.image_id,
        digest=hashlib.sha256(repr(hw).encode() + sample.image.tobytes()).hexdigest(),
        fingerprint=fingerprint(sample.image),
        thumbnail=thumbnail(sample.image),
        details=details(sample.image),
        hw=hw,
        areas=[place.area for place in places],
        sides=[min(_sides(place)) for place in places],
        fills=[_fill(place) for place in places],
        num_left_out=len(everything) - len(places),
        num_touching=_num_touching(sample, places),
        classes=[sample.classes.get(place.object_id, "") for place in places],
        brightness=float(sample.image.mean()),
        is_flat=int(sample.image.max()) - int(sample.image.min()) <= _FLAT,
        alignment=measure_alignment(sample),
        stored=_stored(source, index),
        is_interpolated=is_interpolated(sample.labels),
        is_in_order=any(sample.classes.values()) and _is_in_order(sample.labels, places),
    )


def _fill(place: ObjectPlace) -> float:
    """Share of its box that an object covers."""
    height, width = _sides(place)
    return float(place.area / max(1, height * width))


def _sides(place: ObjectPlace) -> tuple[int, int]:
    """Height and width of an object's box, pixels."""
    return place.rows.stop - place.rows.start, place.columns.stop - place.columns.start


def _stored(source: Source, index: int) -> Stored:
    values = source.stored(index)
    finite = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    is_there = np.isfinite(values).any(axis=(0, 1))
    return Stored(
        values.shape[2], str(values.dtype), low, high, bool(is_there.any()), not is_there.all()
    )


def is_interpolated(labels: LabelArray) -> bool:
    """Whether (L, H, W) labels look like a mask of two values that was resized or saved as JPEG.

    Then many grey levels lie along the outlines, none of them 3 pixels wide, around the brightest
    one, which covers the most.
    """
    layer = labels[0]
    values, counts = np.unique(layer[layer > 0], return_counts=True)
    if len(labels) > 1 or len(values) < _LEVELS or not 128 <= values[-1] <= 255:
        return False
    grey = layer.astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    is_wide = cv2.erode(grey, square) == cv2.dilate(grey, square)
    num_wide = len(np.unique(layer[is_wide & (layer > 0)]))
    is_core = bool(counts[-1] == counts.max())
    return is_core and num_wide <= len(values) / 4


def are_numbered(seen: Sequence[Seen]) -> bool:
    """Whether what is read as classes are numbers of objects: 1 to n in each image.

    Then the classes are called by their numbers, and no image lacks a lower one. They also are in one
    piece and in the order in which a scan along the rows meets them, as functions that label parts
    number them; or else n is another one from image to image.
    """
    with_objects = [image for image in seen if image.classes]
    if not with_objects or not all(map(_is_dense, with_objects)):
        return False
    numbers = {len(image.classes) for image in with_objects}
    if all(image.is_in_order for image in with_objects):
        return max(numbers) >= _LEAST_IN_ORDER
    return len(numbers) > 1 and max(numbers) >= _LEAST_NUMBERED


def _is_dense(image: Seen) -> bool:
    numbers = sorted(int(name) if name.isdecimal() else -1 for name in image.classes)
    return numbers == list(range(1, len(numbers) + 1))


def _is_in_order(labels: LabelArray, places: list[ObjectPlace]) -> bool:
    """Whether objects are in one piece, and a scan along the rows meets them by their numbers."""
    firsts = []
    for place in places:
        mask = labels[place.layer][place.rows, place.columns] == place.object_id
        if ndimage.label(mask, np.ones((3, 3)))[1] > 1:
            return False
        firsts.append((place.rows.start, place.columns.start + int(mask[0].argmax())))
    return firsts == sorted(firsts)


def _num_touching(sample: Sample, places: list[ObjectPlace]) -> int:
    """Objects that share an edge of a pixel with another one, or overlap it."""
    touching: set[int] = set()
    for layer in sample.labels:
        for one, other in ((layer[1:], layer[:-1]), (layer[:, 1:], layer[:, :-1])):
            differs = (one != other) & (one > 0) & (other > 0)
            touching |= set(np.unique(one[differs]).tolist())
            touching |= set(np.unique(other[differs]).tolist())
    for layer in sample.labels[1:]:  # what did not fit on the first layer overlaps
        touching |= set(np.unique(layer[layer > 0]).tolist())
    return sum(place.object_id in touching for place in places)


def fingerprint(image: ImageArray) -> int | None:
    """64 bits that change little when an image is resized or saved anew (difference hash).

    `None` for images that are flat all over: these are all alike.
    """
    grey = image.mean(axis=2).astype(np.float32)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    if float(small.std()) < 4:
        return None
    bits = (small[:, 1:] > small[:, :-1]).reshape(-1)
    return int("".join("1" if bit else "0" for bit in bits), 2)


def thumbnail(image: ImageArray) -> FloatArray:
    """(256,) float32: brightness on a grid of 16 x 16, of mean 0 and length 1."""
    grey = image.mean(axis=2).astype(np.float32)
    values = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).reshape(-1)
    values = values - values.mean()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), np.float32)


def details(image: ImageArray) -> FloatArray:
    """(576,) float16: what stands out on a grid of 24 x 24, each place against those around it.

    Pictures of one kind (fundus photographs, slides in a frame) have like thumbnails, but other
    details. Of length 1, or 0 where nothing stands out.
    """
    grey = image.mean(axis=2).astype(np.float32)
    small = cv2.resize(grey, (24, 24), interpolation=cv2.INTER_AREA)
    rest = small - cv2.blur(small, (5, 5))
    # a strong edge that all have in common, as of a frame, weighs no more than what is in it
    values = (rest / (np.sqrt(cv2.blur(rest * rest, (5, 5))) + 1)).reshape(-1)
    if float(np.abs(rest).mean()) < _LEAST_DETAIL:
        return np.zeros(len(values), np.float16)
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-6), np.float16)
