"""albumentations pipelines on image and masks together: presets, or a file of the user's own."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samtune.errors import UserError
from samtune.types import Sample

# albumentations asks a package registry for its newest version at import otherwise.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

PRESETS = ("none", "light", "microscopy", "aerial", "medical")
# Border pixels that a rotation or shift brings in: black, and no object.
_AFFINE = {"border_mode": 0, "fill": 0, "fill_mask": 0, "p": 0.5}


def build_augmentation(name: str) -> A.Compose | None:
    """A preset by name, or a pipeline that `albumentations.save` wrote (`.json`, `.yaml`).

    `light` flips and shifts brightness; `microscopy` and `aerial` know no upright direction, and
    vary stain or light; `medical` keeps the side of the body and warps a little.

    Raises:
        UserError: no such preset, or the file is no pipeline.
    """
    if name == "none":
        return None
    if name.endswith((".json", ".yaml", ".yml")):
        return _load_pipeline(Path(name))
    presets = {"light": _light, "microscopy": _microscopy, "aerial": _aerial, "medical": _medical}
    if name not in presets:
        raise UserError(
            f"unknown augmentation '{name}': choose from {', '.join(PRESETS)}, or give a .json or "
            ".yaml file written by albumentations.save"
        )
    return A.Compose(presets[name]())


def _light() -> list[Any]:
    return [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(0.15, 0.15, p=0.5)]


def _microscopy() -> list[Any]:
    return [
        A.SquareSymmetry(p=1.0),
        A.Affine(scale=(0.8, 1.25), rotate=(-30, 30), **_AFFINE),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.HueSaturationValue(8, 15, 8, p=0.3),
        A.GaussianBlur((3, 5), p=0.15),
        A.GaussNoise((0.01, 0.04), p=0.2),
    ]


def _aerial() -> list[Any]:
    return [
        A.SquareSymmetry(p=1.0),
        A.Affine(scale=(0.8, 1.25), rotate=(-20, 20), **_AFFINE),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.HueSaturationValue(6, 15, 10, p=0.3),
    ]


def _medical() -> list[Any]:
    return [
        A.Affine(scale=(0.9, 1.1), rotate=(-15, 15), **_AFFINE),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.RandomGamma((80, 120), p=0.3),
        A.ElasticTransform(alpha=20, sigma=6, border_mode=0, fill=0, fill_mask=0, p=0.15),
        A.GaussNoise((0.01, 0.03), p=0.2),
    ]


def _load_pipeline(path: Path) -> A.Compose:
    if not path.is_file():
        raise UserError(f"there is no augmentation file {path}")
    try:
        pipeline = A.load(path, data_format="json" if path.suffix == ".json" else "yaml")
    except Exception as error:  # albumentations raises whatever its parsers do
        raise UserError(f"{path} is no albumentations pipeline: {error}") from error
    return pipeline if isinstance(pipeline, A.Compose) else A.Compose([pipeline])


def augment(sample: Sample, pipeline: A.Compose | None, rng: np.random.Generator) -> Sample:
    """Apply a pipeline to the image and all label layers; the same `rng` gives the same result."""
    if pipeline is None:
        return sample
    _seed(pipeline, rng)
    # OpenCV warps 16-bit integers but not 32-bit ones: ids travel as 1..n
    ids, dense = np.unique(np.append(sample.labels, 0), return_inverse=True)
    if len(ids) > 65_535:
        raise UserError(
            f"{sample.image_id} has {len(ids)} objects; at most 65,535 can be augmented"
        )
    layers = dense[:-1].reshape(sample.labels.shape).astype(np.uint16)
    result = pipeline(image=sample.image, masks=list(layers))
    labels = ids[np.stack(result["masks"]).astype(np.int64)].astype(np.int32)
    return replace(sample, image=np.ascontiguousarray(result["image"]), labels=labels)


def _seed(transform: Any, rng: np.random.Generator) -> None:
    """Seed every transform by itself: a pipeline's own method gives all of them the same numbers."""
    transform.set_random_seed(int(rng.integers(2**31)))
    for part in getattr(transform, "transforms", []):
        _seed(part, rng)
