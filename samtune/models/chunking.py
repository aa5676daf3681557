"""Cutting K packed objects into chunks that are decoded together, and joining what was answered."""

from collections.abc import Iterator
from itertools import groupby

import torch
from torch import Tensor

from samtune.types import MaskPrediction


def cut_objects(
    image_index: Tensor, num_images: int, size: int, few: int = 1
) -> Iterator[tuple[slice, int | None]]:
    """Cut K objects into chunks, each of one image (its number comes along) or of several.

    Prompts of one image share work; objects that are few on theirs are decoded together.

    Args:
        image_index: (K,) the image of each object, in order.
        num_images: how many images there are.
        size: objects of a chunk at most.
        few: up to so many objects of an image are not worth a chunk of their own.
    """
    images = image_index.tolist() if num_images > 1 else [0] * len(image_index)
    start = stop = 0  # of objects that are few on their image and wait for company
    for image, members in groupby(images):
        length = len(list(members))
        if start < stop and (length > few or stop - start + length > size):
            yield slice(start, stop), None
            start = stop
        if length > few or num_images == 1:
            for first in range(stop, stop + length, size):
                yield slice(first, min(first + size, stop + length)), image
            start = stop + length
        stop += length
    if start < stop:
        yield slice(start, stop), None


def join_predictions(answers: list[MaskPrediction]) -> MaskPrediction:
    """One prediction of all chunks' objects, in order."""
    found = [a.object_logits for a in answers if a.object_logits is not None]
    return MaskPrediction(
        torch.cat([a.low_res_logits for a in answers]),
        torch.cat([a.iou_scores for a in answers]),
        torch.cat(found) if found else None,
    )
