"""What `segment_volume` does without a prompt: looks on each slice, and keeps what it found there."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samtune.bars import bar
from samtune.data.volumes.slices import AXES, SliceStack
from samtune.files import partial_folder
from samtune.inference.settings import SearchSettings
from samtune.inference.volumes.carrying import VolumeObject
from samtune.inference.volumes.linking import SliceMask, segment_slices
from samtune.inference.volumes.objects import report_path
from samtune.models.backend import Sam
from samtune.progress import Progress
from samtune.tasks.searching import Finder, make_finder


def slice_bar(numbers: range) -> Iterable[int]:
    """Progress over slices, upwards or downwards."""
    wrapped: Iterable[int] = bar(numbers, "up" if numbers.step > 0 else "down", "slice")
    return wrapped


@dataclass
class VolumeSearch:
    """Finds objects slice by slice, and goes on where an earlier call was interrupted."""

    sam: Sam
    stack: SliceStack
    settings: SearchSettings
    out: Path
    min_iou: float
    min_slices: int
    causes: dict[str, Any] = field(init=False)
    _finder: Finder = field(init=False)

    def __post_init__(self) -> None:
        self._finder = make_finder(self.sam, self.settings)
        self.causes = {**self._finder.causes, **causes_of_stack(self.stack)}
        self._progress = Progress(partial_folder(report_path(self.out)), self.causes)

    def objects(self) -> list[VolumeObject]:
        """Objects of the volume; their scores are what the model expects of their masks.

        Raises:
            UserError: the model answers with NaN.
        """
        return segment_slices(
            len(self.stack), self._masks, self.min_iou, self.min_slices, slice_bar
        )

    def _masks(self, number: int) -> Sequence[Any]:
        kept = self._progress.kept(self._progress.place(number), lambda: self._find(number))
        return [SliceMask(rle, float(score)) for rle, score in kept]

    def _find(self, number: int) -> list[list[Any]]:
        found = self._finder.search(self.stack.picture(number))
        return [[candidate.rle(), candidate.predicted_iou] for candidate in found]

    def forget_slices(self) -> None:
        """Remove what an interrupted call would have needed."""
        self._progress.remove()

    @property
    def hint(self) -> str:
        """What to try where nothing was found."""
        return self._finder.hint


def causes_of_stack(stack: SliceStack) -> dict[str, Any]:
    """All of a volume that what is found on its slices depends on, as JSON can hold it."""
    return {
        "axis": AXES[stack.axis], "range": stack.ranges,
        "with_neighbours": stack.with_neighbours, "slices": _sha256(stack),
    }  # fmt: skip


def _sha256(stack: SliceStack) -> str:
    """Of all intensities, one slice in memory at a time."""
    digest = hashlib.sha256(f"{stack.voxels.shape} {stack.voxels.dtype}".encode())
    for number in range(len(stack)):
        digest.update(stack.values(number).tobytes())
    return digest.hexdigest()
