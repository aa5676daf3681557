"""The end of a head's training: how its maps become objects is chosen on the validation images."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule

# What is tried
_FOREGROUNDS, _SEEDS, _SIGMAS = (0.4, 0.5, 0.6), (0.45, 0.55, 0.65, 0.75), (1.0, 2.0)
_IMAGES = 40


def choose_decoding(data: SamDataModule, run: Path, name: str) -> str:
    """Choose the decoding of a run's head, save it, and say so in a sentence."""
    if name != "instances":
        return f"the best '{name}' head by validation is kept"
    from samtune.bars import bar
    from samtune.data.label_maps import without_ignored
    from samtune.heads.instances import USUAL, flattened
    from samtune.heads.matching import accuracy
    from samtune.inference.instances import InstanceFinder
    from samtune.models.loading import load_model
    from samtune.models.saving import save_tuned

    sam = load_model(run)
    finder, source = InstanceFinder(sam), data.whole_source("val")
    areas = {"min_area": data.min_area}
    tried: list[dict[str, Any]] = [
        {**areas, "foreground": foreground, "seed": seed, "sigma": sigma}
        for foreground, seed, sigma in product(_FOREGROUNDS, _SEEDS, _SIGMAS)
    ]
    usual = USUAL | areas
    sums, before = [0.0] * len(tried), 0.0
    indices = range(0, len(source), -(-len(source) // _IMAGES))
    for index in bar(list(indices), "choosing how maps become objects", "image"):
        sample, is_ignored = without_ignored(source.read(index))
        truth, maps = flattened(sample.labels), finder.maps(sample.image)
        maps[:, is_ignored] = 0
        for number, each in enumerate(tried):
            sums[number] += accuracy(finder.head.changed(**each).decode(maps)[0], truth)
        before += accuracy(finder.head.changed(**usual).decode(maps)[0], truth)
    best = max(range(len(tried)), key=lambda number: sums[number])
    chosen, count = tried[best] if sums[best] > before else usual, len(indices)
    finder.head.changed(**chosen)
    save_tuned(sam, run)
    told = ", ".join(f"{key} {value:g}" for key, value in chosen.items())
    return (
        f"objects are made with {told}: mSA {max(sums[best], before) / count:.3f} on {count} "
        f"validation images (usual settings: {before / count:.3f})"
    )
