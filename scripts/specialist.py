"""What a user could do instead: a small U-Net, from nothing, on the same images for the same time.

    python scripts/specialist.py --data.path FOLDER --minutes 5 [--config CONFIG] [any --data setting]

It sees a crop around each box, the box as a fourth channel, and says which pixels are the object's. It
answers boxes alone, knows nothing but these data, and has a twentieth of nano's weights: where it is
better than a tuned SAM, the SAM was not worth tuning for boxes.
"""

import math
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from samtune.commands.flags import parse
from samtune.commands.help import help_text
from samtune.data.datamodule import SamDataModule
from samtune.data.objects import ObjectPlace, find_objects, object_mask
from samtune.evaluation.statistics import bootstrap_interval
from samtune.tasks.opening import open_data
from samtune.tasks.settings import DataLike
from samtune.types import ImageArray, MaskArray

# Side of a crop in pixels, and over the longer side of its box
SIDE, RATIO = 64, 2.0
BATCH, RATE = 32, 2e-3
WIDTHS = (16, 32, 64, 64)


class UNet(nn.Module):
    """(B, 4, SIDE, SIDE) RGB and box, about 0..1 -> (B, SIDE, SIDE) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        before = 4
        for width in WIDTHS:
            self.down.append(_twice(before, width))
            before = width
        for width in reversed(WIDTHS[:-1]):
            self.up.append(_twice(before + width, width))
            before = width
        self.last = nn.Conv2d(before, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for number, block in enumerate(self.down):
            x = block(functional.max_pool2d(x, 2) if number else x)
            kept.append(x)
        for block, finer in zip(self.up, reversed(kept[:-1]), strict=True):
            x = block(torch.cat([functional.interpolate(x, scale_factor=2.0), finer], 1))
        found: Tensor = self.last(x)[:, 0]
        return found


def _twice(before: int, after: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (before, after):
        layers += [nn.Conv2d(width, after, 3, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
    return nn.Sequential(*layers)


@dataclass(frozen=True)
class Object:
    """One object of an image, with what its crop needs."""

    image: ImageArray
    mask: MaskArray
    place: ObjectPlace
    cluster: str


def objects_of(data: SamDataModule, split: str, max_images: int) -> Iterator[Object]:
    source = data.source(split)
    for index in range(min(len(source), max_images or len(source))):
        sample = source.read(index)
        for place in find_objects(sample.labels, data.min_area):
            mask = object_mask(sample.labels, place)
            yield Object(sample.image, mask, place, sample.group or sample.image_id)


def box_of(place: ObjectPlace) -> NDArray[np.float64]:
    """x0, y0, x1, y1 of its edges."""
    rows, columns = place.rows, place.columns
    return np.array([columns.start, rows.start, columns.stop, rows.stop], float)


def to_crop(box: NDArray[np.float64], ratio: float) -> NDArray[np.float64]:
    """(2, 3) from pixels of the image to those of the crop around a box."""
    scale = SIDE / (ratio * max(8.0, box[2] - box[0], box[3] - box[1]))
    middle = (box[:2] + box[2:]) / 2
    shift = SIDE / 2 - scale * middle
    # cv2 counts from the centres of pixels
    return np.array(
        [[scale, 0, shift[0] + 0.5 * scale - 0.5], [0, scale, shift[1] + 0.5 * scale - 0.5]]
    )


def crop_of(
    item: Object, box: NDArray[np.float64], ratio: float = RATIO
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
    """(4, SIDE, SIDE) input, (SIDE, SIDE) truth, and how the crop lies in the image."""
    moved = to_crop(box, ratio)
    size = (SIDE, SIDE)
    image = cv2.warpAffine(
        item.image, moved, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    truth = cv2.warpAffine(item.mask.astype(np.float32), moved, size, flags=cv2.INTER_LINEAR)
    low, high = (moved[:, :2] @ (box.reshape(2, 2) - 0.5).T + moved[:, 2:]).T
    grid = np.arange(SIDE)
    inside = (grid > low[0]) & (grid < high[0]), (grid > low[1]) & (grid < high[1])
    channel = np.outer(inside[1], inside[0]).astype(np.float32)
    values = np.concatenate([image.transpose(2, 0, 1).astype(np.float32) / 255, channel[None]])
    return values, np.asarray(truth, np.float32), moved


def train(items: list[Object], seconds: float, seed: int) -> tuple[UNet, int]:
    """Train for so many seconds of this process, whatever else runs; the network and its steps."""
    torch.manual_seed(seed)
    network, rng = UNet(), np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    began, steps = time.process_time(), 0
    while (share := (time.process_time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
        values, truths = _batch(items, rng)
        logits = network(values)
        probability = logits.sigmoid()
        overlap = (probability * truths).sum((1, 2))
        dice = 1 - (2 * overlap + 1) / (probability.sum((1, 2)) + truths.sum((1, 2)) + 1)
        loss = functional.binary_cross_entropy_with_logits(logits, truths) + dice.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    return network.eval(), steps


def _batch(items: list[Object], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    crops, truths = [], []
    for index in rng.integers(len(items), size=BATCH):
        values, truth, _ = crop_of(
            items[index], box_of(items[index].place), RATIO * rng.uniform(0.85, 1.2)
        )
        turns, is_flipped = int(rng.integers(4)), rng.random() < 0.5
        values, truth = np.rot90(values, turns, (1, 2)), np.rot90(truth, turns)
        if is_flipped:
            values, truth = values[..., ::-1], truth[..., ::-1]
        values = values.copy()
        values[:3] = (values[:3] - 0.5) * rng.uniform(0.8, 1.25) + 0.5 + rng.uniform(-0.1, 0.1)
        crops.append(values)
        truths.append(truth.copy())
    return torch.from_numpy(np.stack(crops)), torch.from_numpy(np.stack(truths))


@torch.no_grad()
def iou_of(network: UNet, item: Object) -> float:
    """On one object, at the original resolution."""
    values, _, moved = crop_of(item, box_of(item.place))
    logits = network(torch.from_numpy(values)[None])[0].numpy()
    hw = item.mask.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = cv2.warpAffine(
        logits, moved, hw[::-1], flags=flags,
        borderMode=cv2.BORDER_CONSTANT, borderValue=-9.0,
    )  # fmt: skip
    mask = back > 0
    return float((mask & item.mask).sum() / (mask | item.mask).sum())


def main(
    data: DataLike = None, *, config: str | Path | None = None, minutes: float = 5.0, seed: int = 0,
    max_images: int = 0,
) -> int:  # fmt: skip
    """Train and test it; prints one line.

    Args:
        data: folder or file, or settings of the data.
        config: a fit config whose data section to use.
        minutes: of training, on one core.
        seed: of its weights and of what is drawn.
        max_images: test images at most; 0 for all.
    """
    torch.set_num_threads(1)
    opened = open_data(None, config, data)
    network, steps = train(list(objects_of(opened, "train", 0)), 60 * minutes, seed)
    found = [
        (iou_of(network, item), item.cluster) for item in objects_of(opened, "test", max_images)
    ]
    ious = np.array([iou for iou, _ in found])
    interval = bootstrap_interval(ious, np.array([cluster for _, cluster in found]), seed)
    size = sum(p.numel() for p in network.parameters())
    sure = "" if interval is None else f" (95% interval {interval[0]:.3f} to {interval[1]:.3f})"
    print(
        f"U-Net of {size / 1e6:.2f}M weights, {steps} steps in {minutes:g} min: "
        f"box mIoU {ious.mean():.3f}{sure} on {len(ious)} test objects"
    )
    return 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(
            help_text(main, "specialist", {}, True).replace(
                "samtune specialist", "scripts/specialist.py"
            )
        )
    else:
        sys.exit(main(**parse(main, "specialist", sys.argv[1:], {})))
