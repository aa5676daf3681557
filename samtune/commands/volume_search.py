"""The part of `samtune segment-volume` that looks for objects without a prompt."""

import argparse
import hashlib
from collections.abc import Sequence
from typing import Any

from samtune.commands.generator_options import (
    generator_settings,
    make_generator,
    thresholds_hint,
)
from samtune.commands.volume_report import partial_folder
from samtune.data.volume_slices import AXES, SliceStack
from samtune.inference.volume_linking import SliceMask, segment_slices
from samtune.inference.volume_store import SliceStore
from samtune.inference.volumes import Progress, VolumeObject
from samtune.models.backend import Sam


class VolumeSearch:
    """Finds objects slice by slice, and goes on where an earlier run was interrupted.

    Attributes:
        settings: all that the masks depend on.

    Raises:
        UserError: an option makes no sense, or slices lie there that were searched otherwise.
    """

    def __init__(self, sam: Sam, stack: SliceStack, options: argparse.Namespace) -> None:
        self._stack, self._options = stack, options
        self._generator = make_generator(sam, options)
        self.settings: dict[str, Any] = {
            **generator_settings(self._generator, options),
            "axis": AXES[stack.axis], "range": [stack.low, stack.high],
            "with_neighbours": stack.with_neighbours, "slices": _sha256(stack),
        }  # fmt: skip
        self._store = SliceStore(partial_folder(options.out), self.settings, options.overwrite)

    def objects(self, progress: Progress) -> list[VolumeObject]:
        """Objects of the volume; their scores are what the model expects of their masks.

        Raises:
            UserError: the model answers with NaN.
        """
        options = self._options
        return segment_slices(
            len(self._stack), self._masks, options.min_iou, options.min_slices, progress
        )

    def _masks(self, number: int) -> Sequence[SliceMask]:
        return self._store.masks(number, lambda: self._search(number))

    def _search(self, number: int) -> list[SliceMask]:
        found = self._generator.search(self._stack.picture(number))
        return [SliceMask(candidate.rle(), candidate.predicted_iou) for candidate in found]

    def forget_slices(self) -> None:
        """Remove what an interrupted run would have needed."""
        self._store.remove()

    @property
    def hint(self) -> str:
        """What to try where nothing was found."""
        return thresholds_hint(self._generator)


def _sha256(stack: SliceStack) -> str:
    """Of all intensities, one slice in memory at a time."""
    digest = hashlib.sha256(f"{stack.voxels.shape} {stack.voxels.dtype}".encode())
    for number in range(len(stack)):
        digest.update(stack.values(number).tobytes())
    return digest.hexdigest()
