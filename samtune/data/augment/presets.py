"""albumentations pipelines on image and masks together: presets, or a file of the user's own."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.parsing import read_json, read_yaml
from samtune.types import LabelArray, Sample

# albumentations asks a package registry for its newest version at import otherwise.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")

import albumentations as A

from samtune.data.augment.effects import (
    ChannelGain,
    GainField,
    Ghosting,
    Haze,
    Highlights,
    ObjectTint,
    ShotNoise,
    StainJitter,
    Window,
)

# Numbers of 16 bits, which OpenCV warps; it does not those of 32.
_MOST_OBJECTS = 65_535
# Border pixels that a rotation or shift brings in: black, and no object.
_BORDER = {"border_mode": 0, "fill": 0, "fill_mask": 0, "p": 0.5}


def build_augmentation(name: str) -> A.Compose | None:
    """A preset by name, or a pipeline that `albumentations.save` wrote (`.json`, `.yaml`).

    docs/augmentation.md shows what each preset does, and says why. Under all of them labels move by
    nearest neighbours and a grey picture stays grey.

    Raises:
        UserError: no such preset, or the file is no pipeline.
    """
    if name == "none":
        return None
    if name.endswith((".json", ".yaml", ".yml")):
        return _load_pipeline(Path(name))
    if name not in _PRESETS:
        raise UserError(
            f"unknown augmentation '{name}': choose from {', '.join(PRESETS)}, or give a .json or "
            ".yaml file written by albumentations.save"
        )
    return A.Compose(_PRESETS[name]())


def _light() -> list[Any]:
    """Photographs of anything that has a top and a bottom, and no writing (which a flip mirrors)."""
    return [A.HorizontalFlip(p=0.5), A.RandomBrightnessContrast(0.15, 0.15, p=0.5)]


def _microscopy() -> list[Any]:
    """Any microscope: a slide has no upright direction; lamp, focus and camera vary."""
    return [
        A.SquareSymmetry(p=1.0),
        A.Affine(scale=(0.8, 1.25), rotate=(-30, 30), **_BORDER),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.HueSaturationValue(8, 15, 8, p=0.3),
        A.GaussianBlur((3, 5), p=0.15),
        A.GaussNoise((0.01, 0.04), per_channel=False, p=0.2),
    ]


def _fluorescence() -> list[Any]:
    """Dyes on black: all factors, no offsets, so that what is dark or empty stays so.

    Each dye is as bright as it was taken up and as it has bleached; noise is that of few photons.
    """
    return [
        A.SquareSymmetry(p=1.0),
        _move(45, (0.8, 1.25)),
        ChannelGain((0.6, 1.6), p=0.7),
        A.RandomGamma((70, 140), p=0.3),
        GainField((0.05, 0.2), p=0.3),
        A.GaussianBlur((3, 7), p=0.2),
        ShotNoise((0.02, 0.1), p=0.3),
    ]


def _he() -> list[Any]:
    """H&E histology: stains differ between laboratories and scanners more than anything else does.

    What a rotation brings in is as pale as glass.
    """
    return [
        A.SquareSymmetry(p=1.0),
        _move(45, (0.8, 1.25), fill=240),
        StainJitter((0.65, 1.5), p=0.8),
        A.RandomBrightnessContrast(0.1, 0.1, p=0.3),
        A.GaussianBlur((3, 5), p=0.15),
    ]


def _aerial() -> list[Any]:
    """Photographs from above: north is where the aircraft flew; sun and camera vary."""
    return [
        A.SquareSymmetry(p=1.0),
        A.Affine(scale=(0.8, 1.25), rotate=(-20, 20), **_BORDER),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.HueSaturationValue(6, 15, 10, p=0.3),
    ]


def _other_places() -> list[Any]:
    """Photographs from above, for a model that is to serve where no training image was taken.

    Soil, roofs and light have other colours there, and cameras fly at other heights: what is left is
    shape. Each object may have any colour, so a picture may look like none that was ever taken.
    """
    return [
        A.SquareSymmetry(p=1.0),
        _move(45, (0.6, 1.6)),
        ObjectTint(p=0.7),
        A.HueSaturationValue(90, 40, 20, p=0.4),
        A.ChannelShuffle(p=0.2),
        A.RandomBrightnessContrast(0.25, 0.35, p=0.7),
        A.RandomGamma((60, 160), p=0.3),
        A.GaussianBlur((3, 5), p=0.2),
    ]


def _satellite() -> list[Any]:
    """Bands from orbit: air and calibration change each band by itself; composites have no hue."""
    return [
        A.SquareSymmetry(p=1.0),
        _move(45, (0.8, 1.25)),
        ChannelGain((0.9, 1.11), p=0.5),
        A.RandomBrightnessContrast(0.15, 0.15, p=0.5),
        Haze((0.1, 0.4), p=0.3),
    ]


def _ct() -> list[Any]:
    """CT: never mirrored, for organs have sides; windows, dose and sharpness of the kernel vary.

    Patients lie a little turned, are larger or smaller. Air that the window cut off stays black.
    """
    return [
        _move(10, (0.9, 1.1), shift=0.05),
        Window((0.0, 0.1), (0.8, 1.2), p=0.5),
        A.GaussianBlur((3, 3), p=0.15),
        ShotNoise((0.01, 0.06), p=0.3),
    ]


def _mr() -> list[Any]:
    """MR: never mirrored; intensities have no unit, coils see near tissue brighter, bodies move."""
    return [
        _move(10, (0.9, 1.1), shift=0.05),
        A.RandomGamma((70, 140), p=0.4),
        A.RandomBrightnessContrast(0, 0.2, p=0.4),
        GainField((0.05, 0.2), p=0.4),
        Ghosting((0.05, 0.2), p=0.15),
        A.GaussNoise((0.01, 0.03), per_channel=False, p=0.2),
    ]


def _xray() -> list[Any]:
    """Radiographs: never mirrored (the heart's side is a finding), hardly turned; exposure varies."""
    return [
        _move(7, (0.9, 1.1), shift=0.05),
        A.RandomGamma((70, 140), p=0.4),
        Window((0.0, 0.08), (0.8, 1.2), p=0.5),
        A.GaussianBlur((3, 3), p=0.15),
        ShotNoise((0.01, 0.05), p=0.3),
    ]


def _ultrasound() -> list[Any]:
    """Ultrasound: the probe can be held either way, but depth goes down; gain and speckle vary.

    All factors, so that what lies outside of the fan stays black.
    """
    return [
        A.HorizontalFlip(p=0.5),
        _move(10, (0.85, 1.2), shift=0.05),
        A.RandomBrightnessContrast(0, 0.3, p=0.7),
        A.RandomGamma((70, 140), p=0.4),
        GainField((0.05, 0.2), p=0.3),
        GainField((0.1, 0.3), spacing=1 / 256, p=0.4),
        A.GaussianBlur((3, 5), p=0.15),
    ]


def _endoscopy() -> list[Any]:
    """Endoscopy: the tip turns freely, its lamp is near and moves, wet tissue mirrors it.

    Quarter turns keep all of a wide picture; only the rest of the rotation cuts corners off. All
    factors, so that the surround of the round field stays black. Motion blurs to both sides alike: one
    to a side would move the picture off its masks.
    """
    return [
        A.SquareSymmetry(p=1.0),
        _move(45, (0.8, 1.25)),
        A.RandomBrightnessContrast(0, 0.25, p=0.5),
        A.HueSaturationValue(5, 20, 0, p=0.3),
        GainField((0.05, 0.2), p=0.3),
        A.MotionBlur((3, 9), direction_range=(0, 0), allow_shifted=False, p=0.15),
        A.GaussianBlur((3, 7), p=0.1),
        Highlights(p=0.3),
    ]


def _medical() -> list[Any]:
    """Pictures of the body of no kind above: keeps its side, warps and varies a little."""
    return [
        A.Affine(scale=(0.9, 1.1), rotate=(-15, 15), **_BORDER),
        A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
        A.RandomGamma((80, 120), p=0.3),
        A.ElasticTransform(alpha=20, sigma=6, border_mode=0, fill=0, fill_mask=0, p=0.15),
        A.GaussNoise((0.01, 0.03), per_channel=False, p=0.2),
    ]


def _move(
    degrees: float, scale: tuple[float, float], shift: float = 0.0, fill: float = 0.0
) -> A.Affine:
    """Half of the time turn, scale (both axes alike) and shift, each by no more than is given."""
    return A.Affine(
        scale=scale, rotate=(-degrees, degrees), translate_percent=(-shift, shift), keep_ratio=True,
        **(_BORDER | {"fill": fill}),
    )  # fmt: skip


_PRESETS: dict[str, Callable[[], list[Any]]] = {
    "light": _light, "microscopy": _microscopy, "fluorescence": _fluorescence, "he": _he,
    "aerial": _aerial, "other_places": _other_places, "satellite": _satellite,
    "ct": _ct, "mr": _mr, "xray": _xray, "ultrasound": _ultrasound,
    "endoscopy": _endoscopy, "medical": _medical,
}  # fmt: skip
PRESETS = ("none", *_PRESETS)


def _load_pipeline(path: Path) -> A.Compose:
    if not path.is_file():
        raise UserError(f"there is no augmentation file {path}")
    content = read_json(path) if path.suffix == ".json" else read_yaml(path)
    try:
        pipeline = A.from_dict(content)
    except Exception as error:  # albumentations raises whatever its parsers do
        raise UserError(f"{path} is no albumentations pipeline: {error}") from error
    return pipeline if isinstance(pipeline, A.Compose) else A.Compose([pipeline])


def augment(sample: Sample, pipeline: A.Compose | None, rng: np.random.Generator) -> Sample:
    """Apply a pipeline to the image and all label layers; the same `rng` gives the same result."""
    if pipeline is None:
        return sample
    _seed(pipeline, rng)
    layers, ids = _as_16_bit(sample)
    result = pipeline(image=sample.image, masks=list(layers))
    labels = ids[np.stack(result["masks"])]
    return replace(sample, image=np.ascontiguousarray(result["image"]), labels=labels)


def _as_16_bit(sample: Sample) -> tuple[NDArray[np.uint16], LabelArray]:
    """Labels as OpenCV can warp them, and the id that each number stands for.

    Raises:
        UserError: there are too many objects.
    """
    labels = sample.labels
    largest = int(labels.max(initial=0))
    if largest <= _MOST_OBJECTS and labels.min(initial=0) >= 0:
        return labels.astype(np.uint16), np.arange(largest + 1, dtype=np.int32)
    ids, numbers = np.unique(np.append(labels, 0), return_inverse=True)
    if len(ids) > _MOST_OBJECTS:
        raise UserError(
            f"{sample.image_id} has {len(ids)} objects; at most {_MOST_OBJECTS:,} can be augmented"
        )
    return numbers[:-1].reshape(labels.shape).astype(np.uint16), ids.astype(np.int32)


def _seed(transform: Any, rng: np.random.Generator) -> None:
    """Seed every transform by itself: a pipeline's own method gives all of them the same numbers."""
    transform.set_random_seed(int(rng.integers(2**31)))
    for part in getattr(transform, "transforms", []):
        _seed(part, rng)
