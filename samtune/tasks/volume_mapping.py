"""What `segment_volume` does by a semantic head: an object of each class, from all slices."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samtune.errors import UserError
from samtune.files import partial_folder
from samtune.inference.semantic import ClassMapper
from samtune.inference.volumes.carrying import VolumeObject
from samtune.inference.volumes.objects import report_path
from samtune.masks import mask_to_rle
from samtune.progress import Progress
from samtune.tasks.searching import require_no_grid
from samtune.tasks.volume_search import causes_of_stack, slice_bar

if TYPE_CHECKING:
    from samtune.data.volumes.slices import SliceStack
    from samtune.inference.settings import SearchSettings
    from samtune.models.backend import Sam


@dataclass
class VolumeMapping:
    """Gives every voxel a class, slice by slice, and goes on where an earlier call was interrupted.

    Args:
        sam: with a semantic head.
        stack: the volume.
        settings: none of them is for a head.
        out: the labels that will be written.

    Raises:
        UserError: the model has no such head, or settings are of a grid.
    """

    sam: Sam
    stack: SliceStack
    settings: SearchSettings
    out: Path
    causes: dict[str, Any] = field(init=False)
    hint: str = "every voxel is background by the semantic head: train it longer or on more slices"

    def __post_init__(self) -> None:
        from samtune.heads.saving import head_sha256
        from samtune.models.loading import tuned_sha256

        require_no_grid(self.settings)
        self._mapper = ClassMapper(self.sam)
        self.causes = {
            "weights": tuned_sha256(self.sam), "side": self.sam.image_size,
            "head": head_sha256(self._mapper.head), "classes": list(self._mapper.classes),
            "reading": self.sam.reading.as_dict(), **causes_of_stack(self.stack),
        }  # fmt: skip
        self._progress = Progress(partial_folder(report_path(self.out)), self.causes)

    def objects(self) -> list[VolumeObject]:
        """An object of each class that is there, with the class's number and name.

        A slice's score is how likely the head thinks its pixels to be of the class, on average.

        Raises:
            UserError: the model answers with NaN.
        """
        found = {
            number: VolumeObject(number, name)
            for number, name in enumerate(self._mapper.classes)
            if number
        }
        for slice_number in slice_bar(range(len(self.stack))):
            place = self._progress.place(slice_number)
            for kind, rle, score in self._progress.kept(place, partial(self._map, slice_number)):
                found[kind].masks[slice_number] = rle
                found[kind].scores[slice_number] = score
        return [each for each in found.values() if each.masks]

    def _map(self, number: int) -> list[list[Any]]:
        labels, sure = self._mapper.labels(self.stack.picture(number))
        return [
            [int(kind), mask_to_rle(labels == kind), float(sure[labels == kind].mean())]
            for kind in np.unique(labels)
            if kind
        ]

    def forget_slices(self) -> None:
        """Remove what an interrupted call would have needed."""
        self._progress.remove()


def require_usual(**given: tuple[float, float]) -> None:
    """Refuse what is for objects where a head gives classes.

    Args:
        given: by name of an argument its value and its usual one.

    Raises:
        UserError: one is another than usual.
    """
    for name, (value, usual) in given.items():
        if value != usual:
            raise UserError(
                f"{name} is of objects, and the semantic head of this model gives classes: leave it "
                "out, or set search.by grid"
            )
