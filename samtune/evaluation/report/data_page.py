"""The page of `samtune check`: findings, facts, and the first batch as the network sees it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from samtune.data.checks.checking import CheckResult
from samtune.data.checks.findings import SplitFacts
from samtune.data.datamodule import SamDataModule
from samtune.data.dataset import Item
from samtune.drawing import TRUTH, draw_prompt, overlay, to_data_uri
from samtune.evaluation.report.page import template
from samtune.files import write_text
from samtune.models.backend import Sam
from samtune.types import ImageArray, InputFrame
from samtune.wording import counted

# Images of the first batch are shown at this size at most, pixels.
_SIDE = 512


@dataclass(frozen=True)
class BatchPicture:
    """One image of the first batch: augmented, resized and padded, with masks and prompts."""

    image: ImageArray
    caption: str


def draw_batch(data: SamDataModule, sam: Sam, count: int) -> list[BatchPicture]:
    """Some training images or windows, evenly spread, as the network sees them in the first epoch."""
    dataset = data.prompted(sam.frame, sam.mask_side)
    pictures = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)).tolist():
        item = dataset[index, 0]
        if isinstance(item, Item):
            name = dataset.source.records[index // dataset.windows].image_id
            pictures.append(BatchPicture(_picture(item, sam.frame), f"{name}: {_told(item)}"))
    return pictures


def _told(item: Item) -> str:
    prompts = [prompt for values in item.prompts.values() for prompt in values]
    boxes = sum(prompt.box_xyxy is not None for prompt in prompts)
    return (
        f"{counted(len(item.keys), 'object')}, {boxes} with a box, "
        f"{len(prompts) - boxes} with points"
    )


def _picture(item: Item, frame: InputFrame) -> ImageArray:
    image = _as_seen(item.pixel_values, frame)
    targets = F.interpolate(item.targets[:, None].float(), image.shape[:2], mode="nearest")
    for target in targets[:, 0]:
        image = overlay(image, target.numpy() > 127, TRUTH, alpha=0.25)
    for values in item.prompts.values():
        for prompt in values:
            image = draw_prompt(image, prompt)
    if max(image.shape[:2]) > _SIDE:
        small = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        small = F.interpolate(small, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        image = small[0].permute(1, 2, 0).clamp(0, 255).byte().numpy()
    return image


def _as_seen(pixel_values: Tensor, frame: InputFrame) -> ImageArray:
    """Undo the normalisation; padding is black."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (frame.mean, frame.std))
    shown = pixel_values * std + mean
    shown[:, (pixel_values == 0).all(0)] = 0
    return np.asarray(shown.round().clamp(0, 255).byte().permute(1, 2, 0).contiguous())


def facts_table(result: CheckResult, side: int) -> tuple[list[str], list[list[Any]]]:
    """Head and lines, one for each split."""
    head = ["split", "images", "objects", "left out", "without objects", f"too small at {side} px",
            "touching", "objects an image", "area (px)", "sizes", "files hold"]  # fmt: skip
    return head, [_line(split, its) for split, its in result.splits.items()]


def _line(split: str, its: SplitFacts) -> list[Any]:
    images: int | str = its.num_images
    if its.num_looked_at != its.num_images:
        images = f"{images} ({its.num_looked_at} read)"
    return [
        split, images, its.num_objects, its.num_left_out, its.num_without_objects,
        its.num_too_small, its.num_touching, _range(its.objects_per_image),
        _range(its.area_quantiles), _first(its.sizes), _first(its.values),
    ]  # fmt: skip


def _first(counts: dict[str, int], most: int = 3) -> str:
    return ", ".join(list(counts)[:most]) + (" ..." if len(counts) > most else "") or "-"


def _range(quantiles: list[float]) -> str:
    """Smallest, median and largest."""
    return "-" if not quantiles else " / ".join(f"{quantiles[n]:.0f}" for n in (0, 2, 4))


def score_sentence(score: dict[str, Any]) -> str:
    """What the base reaches without tuning, or why that is not known."""
    if "miou" not in score:
        return f"the base was not scored: {score['reason']}"
    reached = ", ".join(f"{name} {value:.3f}" for name, value in score["miou"].items())
    return (
        f"{score['model']} as it is, on {counted(score['num_objects'], 'object')} in "
        f"{counted(score['num_images'], 'image')} "
        f"of {score['split']}: mIoU {reached or '-'}"
    )


def write_data_page(
    path: Path, name: str, result: CheckResult, side: int, score: dict[str, Any],
    pictures: list[BatchPicture],
) -> None:  # fmt: skip
    """Write one self-contained page, atomically."""
    head, lines = facts_table(result, side)
    classes = {split: its.classes for split, its in result.splits.items() if any(its.classes)}
    page = template("data_page.html.j2").render(
        title=f"Data: {name}", verdict=result.sentence, findings=result.findings, head=head,
        lines=lines, classes=classes, score=score_sentence(score),
        pictures=[{"src": to_data_uri(p.image), "caption": p.caption} for p in pictures],
    )  # fmt: skip
    write_text(path, page)
