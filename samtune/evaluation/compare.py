"""Base against tuned on held-out images: the same prompts, paired by object.

Measured at the original resolution. Correction clicks of `clicks_*` follow the same rule for both,
each from its own errors.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from samtune.data.dataset import OnError
from samtune.data.objects import ObjectPlace, find_objects, object_key, object_mask
from samtune.data.preprocess import to_pixel_values
from samtune.data.source import Source
from samtune.errors import UserError
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.metrics import iou_and_dice
from samtune.geometry import logits_to_original, prompt_to_input
from samtune.prompts.correction import correction_click
from samtune.prompts.packing import best_by_score, decode_groups
from samtune.prompts.protocols import Protocol
from samtune.prompts.seeding import object_rng
from samtune.types import (
    Features,
    InputFrame,
    MaskArray,
    MaskPrediction,
    ObjectKey,
    Prompt,
    Prompts,
    Sample,
)

# Masks brought to the original resolution at once.
_MASKS_PER_CHUNK = 16
# Pixels of all masks that are held at once, for each of truth, base and tuned.
_PIXELS_PER_CHUNK = 200_000_000


@dataclass(frozen=True)
class EvaluationSettings:
    """How a comparison is run.

    Attributes:
        protocols: kinds of prompts.
        seed: of the prompts.
        min_area: objects of fewer pixels are left out.
        max_images: 0 for all.
        with_multimask: single prompts are answered by three masks, the best by predicted IoU taken.
        on_error: what an unreadable image does.
        num_workers: processes that read images.
        rank, world: which of how many processes this one is; they share the images.
    """

    protocols: tuple[Protocol, ...]
    seed: int = 0
    min_area: int = 10
    max_images: int = 0
    with_multimask: bool = True
    on_error: OnError = "fail"
    num_workers: int = 0
    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Score:
    """What one contestant reached on one object: measured IoU and Dice, and the IoU it expected."""

    iou: float
    dice: float
    predicted_iou: float


@dataclass(frozen=True)
class Row:
    """One object under one protocol; `scores` is keyed by contestant."""

    protocol: str
    key: ObjectKey
    area: int
    scores: dict[str, Score]


@dataclass(frozen=True)
class Answer:
    """A row with what is needed to draw it."""

    row: Row
    sample: Sample
    truth: MaskArray
    prompt: Prompt
    masks: dict[str, MaskArray]


class _Images(Dataset[tuple[Sample, Tensor] | str]):
    """Samples with their pixel values; a string is the reason why an image could not be read."""

    def __init__(self, source: Source, frame: InputFrame, count: int) -> None:
        self.source, self.frame, self.count = source, frame, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Sample, Tensor] | str:
        try:
            sample = self.source.read(index)
        except UserError as error:
            return str(error)
        return sample, to_pixel_values(sample.image, self.frame)


def compare(
    contestants: Contestants,
    source: Source,
    settings: EvaluationSettings,
    watch: Callable[[Answer], None] | None = None,
) -> list[Row]:
    """Evaluate the contestants on every object of a source.

    Args:
        contestants: base, and tuned if there is one.
        source: held-out images.
        settings: protocols and the rest.
        watch: is shown each answer while its masks exist (the report's gallery).

    Returns:
        Rows of all processes, in the order of the images.

    Raises:
        UserError: an image cannot be read and `on_error` is `fail`, or there are no objects.
    """
    rows: list[tuple[int, Row]] = []
    for number, sample, pixel_values in _read(contestants, source, settings):
        features = contestants.encode(pixel_values[None].to(contestants.sam.device))
        for places in _in_chunks(find_objects(sample.labels, settings.min_area), sample):
            truths = [object_mask(sample.labels, place) for place in places]
            keys = [object_key(sample, place) for place in places]
            for protocol in settings.protocols:
                for answer in _answer(
                    contestants, features, sample, keys, truths, protocol, settings
                ):
                    rows.append((number, answer.row))
                    if watch is not None:
                        watch(answer)
    rows = _gather(rows, settings.world)
    if not rows:
        raise UserError("there is no object to evaluate on: the masks are empty")
    return [row for _, row in rows]


def _gather(rows: list[tuple[int, Row]], world: int) -> list[tuple[int, Row]]:
    """Rows of all processes, sorted by image."""
    if world == 1:
        return rows
    parts: list[Any] = [None] * world
    torch.distributed.all_gather_object(parts, rows)
    return sorted((row for part in parts for row in part), key=lambda pair: pair[0])


def _in_chunks(places: list[ObjectPlace], sample: Sample) -> list[list[ObjectPlace]]:
    """Objects of an image in parts whose masks fit `_PIXELS_PER_CHUNK`."""
    size = max(1, _PIXELS_PER_CHUNK // (sample.image.shape[0] * sample.image.shape[1]))
    return [places[start : start + size] for start in range(0, len(places), size)]


def _read(
    contestants: Contestants, source: Source, settings: EvaluationSettings
) -> Iterator[tuple[int, Sample, Tensor]]:
    count = min(len(source), settings.max_images or len(source))
    images = _Images(source, contestants.sam.frame, count)
    numbers = range(settings.rank, count, settings.world)
    loader = DataLoader(
        images, batch_size=None, sampler=numbers, num_workers=settings.num_workers,
        collate_fn=lambda item: item,
    )  # fmt: skip
    progress = tqdm(loader, desc="evaluate", unit="image", disable=None)
    for number, item in zip(numbers, progress, strict=True):
        if not isinstance(item, str):
            yield number, *item
        elif settings.on_error == "fail":
            raise UserError(f"{item} (data.on_error: skip leaves such images out)")
        else:
            tqdm.write(f"left out: {item}")


def _answer(
    contestants: Contestants, features: dict[str, Features], sample: Sample,
    keys: list[ObjectKey], truths: list[MaskArray], protocol: Protocol,
    settings: EvaluationSettings,
) -> Iterator[Answer]:  # fmt: skip
    """All objects of one image under one protocol."""
    grid = contestants.sam.frame.with_side(contestants.sam.mask_side)

    def rng(key: ObjectKey, *more: int) -> np.random.Generator:
        return object_rng(settings.seed, key.image_id, key.object_id, protocol.name, *more)

    first = [protocol.draw(t, rng(k), grid) for k, t in zip(keys, truths, strict=True)]
    played = {
        name: _play(contestants, name, features[name], truths, first, protocol, settings, rng, keys)
        for name in contestants.names
    }
    stacked = torch.from_numpy(np.stack(truths))
    scores = {}
    for name, (masks, expected) in played.items():
        ious, dices = iou_and_dice(masks, stacked)
        columns = zip(ious.tolist(), dices.tolist(), expected.tolist(), strict=True)
        scores[name] = [Score(*values) for values in columns]
    for index, key in enumerate(keys):
        row = Row(
            protocol.name, key, int(truths[index].sum()),
            {name: values[index] for name, values in scores.items()},
        )  # fmt: skip
        shown = {name: masks[index].numpy() for name, (masks, _) in played.items()}
        yield Answer(row, sample, truths[index], first[index], shown)


def _play(
    contestants: Contestants, name: str, features: Features, truths: list[MaskArray],
    prompts: list[Prompt], protocol: Protocol, settings: EvaluationSettings,
    rng: Callable[..., np.random.Generator], keys: list[ObjectKey],
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One contestant's session: masks (K, H, W) on the CPU and its expected IoU (K,)."""
    with contestants.playing(name) as sam:

        def decode(indices: Tensor, packed: Prompts, is_multimask: bool) -> MaskPrediction:
            return sam.decode(features, torch.zeros_like(indices), packed, is_multimask)

        original_hw = truths[0].shape
        for number in range(protocol.num_corrections + 1):
            moved = [prompt_to_input(p, original_hw, sam.frame) for p in prompts]
            logits, scores = _decode_all(decode, moved, settings.with_multimask, sam.device)
            masks = _to_masks(logits, original_hw, sam.frame, sam.mask_threshold)
            if number == protocol.num_corrections:
                break
            low = logits.cpu().numpy()
            for index, key in enumerate(keys):
                xy, label = correction_click(
                    truths[index], masks[index].numpy(), protocol.placing, rng(key, number)
                )
                prompts = [*prompts]
                prompts[index] = replace(
                    prompts[index].with_point(xy, label), mask_input=low[index]
                )
    return masks, scores.cpu()


@torch.no_grad()
def _decode_all(
    decode: Callable[[Tensor, Prompts, bool], MaskPrediction], prompts: list[Prompt],
    with_multimask: bool, device: torch.device,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Best masks by predicted IoU, logits (K, h, w) and scores (K,), in the order of the prompts."""
    groups = decode_groups(decode, prompts, with_multimask, device)
    order = torch.cat([indices for indices, _ in groups]).argsort()
    best = [best_by_score(prediction) for _, prediction in groups]
    logits = torch.cat([part[0] for part in best])[order].float()
    return logits, torch.cat([part[1] for part in best])[order].float()


def _to_masks(logits: Tensor, hw: tuple[int, int], frame: InputFrame, threshold: float) -> Tensor:
    """(K, h, w) logits -> (K, H, W) boolean on the CPU."""
    masks = [
        (logits_to_original(part[:, None], hw, frame)[:, 0] > threshold).cpu()
        for part in torch.split(logits, _MASKS_PER_CHUNK)
    ]
    return torch.cat(masks)
