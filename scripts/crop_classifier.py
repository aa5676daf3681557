"""What a user could do instead of a class head: a small CNN on crops of the true masks.

    python scripts/crop_classifier.py --data.path FOLDER --minutes 5 [--config CONFIG] ...

It sees a crop around each object, the mask as a fourth channel, and says what it is. Macro-F1 on the
test split is that of `samtune evaluate` for a head `classes`: the true masks, all classes alike.
"""

import math
import sys
import time
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
from samtune.data.objects import ObjectPlace, find_objects
from samtune.evaluation.class_scores import class_scores
from samtune.heads.semantic import balanced_weights
from samtune.tasks.opening import open_data
from samtune.tasks.settings import DataLike
from samtune.types import Sample

# Side of a crop in pixels, and over the longer side of its box
SIDE, RATIO = 40, 2.0
BATCH, RATE = 64, 2e-3
WIDTHS = (16, 32, 64)

Crops = NDArray[np.uint8]


def build(num_classes: int) -> nn.Sequential:
    """(B, 4, SIDE, SIDE) about -1..1 -> (B, classes) logits."""
    layers: list[nn.Module] = []
    before = 4
    for width in WIDTHS:
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()]
        layers += [nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        before = width
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, num_classes)
    )


def crop_of(sample: Sample, place: ObjectPlace) -> Crops:
    """(4, SIDE, SIDE): the picture around an object, and its mask."""
    height, width = place.rows.stop - place.rows.start, place.columns.stop - place.columns.start
    side = max(8.0, RATIO * max(height, width))
    middle = (
        (place.columns.start + place.columns.stop) / 2,
        (place.rows.start + place.rows.stop) / 2,
    )
    scale = SIDE / side
    shift = [SIDE / 2 - scale * each for each in middle]
    moved = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    image = cv2.warpAffine(
        sample.image, moved, (SIDE, SIDE), flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE
    )
    mask = (sample.labels[place.layer] == place.object_id).astype(np.uint8) * 255
    seen = cv2.warpAffine(mask, moved, (SIDE, SIDE), flags=cv2.INTER_LINEAR)
    return np.concatenate([image.transpose(2, 0, 1), seen[None]])


def crops_of(data: SamDataModule, split: str) -> tuple[Crops, list[str]]:
    """All objects of a split that have a class, and what they are."""
    source = data.whole_source(split)
    crops, names = [], []
    for index in range(len(source)):
        sample = source.read(index)
        for place in find_objects(sample.labels, data.min_area):
            if name := sample.classes.get(place.object_id):
                crops.append(crop_of(sample, place))
                names.append(name)
    return np.stack(crops), names


def train(
    crops: Crops, kinds: NDArray[np.int64], count: int, seconds: float, seed: int
) -> nn.Module:
    """Train for so many seconds."""
    torch.manual_seed(seed)
    network, rng = build(count), np.random.default_rng(seed)
    weights = torch.tensor(balanced_weights(np.bincount(kinds, minlength=count).tolist()))
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    began, steps = time.monotonic(), 0
    while (share := (time.monotonic() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
        chosen = rng.integers(len(crops), size=BATCH)
        values = to_input(np.rot90(crops[chosen], int(rng.integers(4)), (2, 3)).copy())
        values[:, :3] = values[:, :3] * rng.uniform(0.8, 1.25) + rng.uniform(-0.2, 0.2)
        loss = functional.cross_entropy(network(values), torch.from_numpy(kinds[chosen]), weights)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        steps += 1
    return network.eval()


def to_input(crops: Crops) -> Tensor:
    return torch.from_numpy(crops.astype(np.float32) / 127.5 - 1)


@torch.no_grad()
def probabilities(network: nn.Module, crops: Crops) -> NDArray[np.float64]:
    parts = [network(to_input(crops[n : n + 256])).softmax(1) for n in range(0, len(crops), 256)]
    return np.asarray(torch.cat(parts).double().numpy())


def main(
    data: DataLike = None, *, config: str | Path | None = None, minutes: float = 5.0, seed: int = 0
) -> int:
    """Train and test it; prints one line.

    Args:
        data: folder or file, or settings of the data.
        config: a fit config whose data section to use.
        minutes: of training, on one core.
        seed: of its weights and of what is drawn.
    """
    torch.set_num_threads(1)
    opened = open_data(None, config, data)
    crops, names = crops_of(opened, "train")
    classes = sorted(set(names))
    numbers = {name: number for number, name in enumerate(classes)}
    kinds = np.array([numbers[name] for name in names], np.int64)
    network = train(crops, kinds, len(classes), 60 * minutes, seed)
    crops, names = crops_of(opened, "test")
    known = [n for n, name in enumerate(names) if name in numbers]
    truth = np.array([numbers[names[n]] for n in known], np.int64)
    scores = class_scores(probabilities(network, crops[known]), truth)
    print(
        f"small CNN on crops: macro-F1 {scores['macro_f1']:.3f}, right {scores['top1']:.1%} of "
        f"{len(truth)} test objects of {len(classes)} classes"
    )
    return 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(help_text(main, "crop_classifier", {}, False))
        sys.exit(0)
    sys.exit(main(**parse(main, "crop_classifier", sys.argv[1:], {})))
