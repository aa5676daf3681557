"""Objects of a volume on their way to a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.segment_codes import TISSUE, SegmentProperty
from samtune.errors import UserError
from samtune.types import MaskArray

_LARGEST = 2**16 - 1


@dataclass(frozen=True)
class Segment:
    """An object of a volume.

    Attributes:
        number: its value among the labels, from 1.
        name: for people.
        num_voxels: how large it is.
        draw: gives its (X, Y, Z) mask in right-anterior-superior order; many objects at once would
            fill the memory.
        is_automatic: found without a prompt.
        kind: what it is, as DICOM SEG codes it.
    """

    number: int
    name: str
    num_voxels: int
    draw: Callable[[], MaskArray]
    is_automatic: bool = False
    kind: SegmentProperty = TISSUE


def merged(segments: Sequence[Segment], shape: tuple[int, ...]) -> NDArray[Any]:
    """One label volume, uint8 where the numbers allow it, else uint16.

    The smaller of two objects that overlap keeps the voxels that they share: a lesion lies in its
    organ.

    Raises:
        UserError: a number is beyond 16 bits.
    """
    largest = max((segment.number for segment in segments), default=0)
    if largest > _LARGEST:
        raise UserError(f"an object has the number {largest}: labels are written up to {_LARGEST}")
    labels = np.zeros(shape, np.uint8 if largest < 2**8 else np.uint16)
    for segment in sorted(segments, key=lambda segment: segment.num_voxels, reverse=True):
        labels[segment.draw()] = segment.number
    return labels
