"""A step in pieces, for processes that work it out side by side: each has some of its images."""

from dataclasses import dataclass, replace

import torch

from samtune.types import Batch

# What an image costs besides its objects, and a general picture with its own, counted in objects
# (nano, windows of 256 x 256)
_IMAGE, _GENERAL = 14, 55


@dataclass(frozen=True)
class Piece:
    """Part of a step.

    Attributes:
        batch: some of its images, with their objects.
        share: of this part in the mean over all objects.
        place: epoch and number of the batch, which fix all that is drawn.
        step: of the optimizer, to tell where something went wrong.
        number: of the piece in its step.
        with_general: whether a general picture is asked beside them.
    """

    batch: Batch
    share: float
    place: tuple[int, int]
    step: int = 0
    number: int = 0
    with_general: bool = False


def divided(whole: Piece, num: int) -> list[Piece]:
    """A step in at most `num` pieces that cost about as much as each other.

    Args:
        whole: the step.
        num: of processes.

    Returns:
        The pieces; the general picture goes to the last, which may have no image besides.
    """
    batch = whole.batch
    counts = torch.bincount(batch.image_index, minlength=len(batch.valid)).tolist()
    most = max(1, min(num, len(counts)))
    chosen: list[list[int]] = [[] for _ in range(most)]
    loads = [0] * most
    loads[-1] += _GENERAL * whole.with_general
    for number in sorted(range(len(counts)), key=lambda number: -counts[number]):
        place = min(range(most), key=lambda place: (loads[place], place))
        chosen[place].append(number)
        loads[place] += _IMAGE + counts[number]
    return [
        replace(
            whole, batch=(part := _part_of(batch, sorted(images))), number=number,
            share=whole.share * len(part.keys) / max(1, len(batch.keys)),
            with_general=whole.with_general and number == most - 1,
        )
        for number, images in enumerate(chosen)
    ]  # fmt: skip


def _part_of(batch: Batch, images: list[int]) -> Batch:
    """Some images of a batch, with their objects, in the same order."""
    new = {image: place for place, image in enumerate(images)}
    objects = [n for n, image in enumerate(batch.image_index.tolist()) if image in new]
    return replace(
        batch,
        pixel_values=batch.pixel_values[images],
        image_index=torch.tensor([new[int(batch.image_index[n])] for n in objects]).long(),
        targets=batch.targets[objects],
        valid=batch.valid[images],
        prompts={name: [every[n] for n in objects] for name, every in batch.prompts.items()},
        keys=[batch.keys[n] for n in objects],
        entries=[batch.entries[n] for n in images] if batch.entries else [],
        kept=[batch.kept[n] for n in images] if batch.kept else [],
    )
