"""Draw the pictures of docs/augmentation.md: for each preset an original and five draws of it.

    samtune fetch nuclei_sample --out NUCLEI
    python scripts/augmentation_gallery.py --nuclei NUCLEI [--out docs/augment]

The nuclei are real; all else is drawn here (phantoms of ellipses in the manner of Shepp and Logan,
IEEE Transactions on Nuclear Science 21, 1974) or by samtune's drawn pictures. Outlines are masks.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from samtune.data.augment.presets import PRESETS, augment, build_augmentation
from samtune.data.drawn.canvas import Canvas
from samtune.data.drawn.kinds import Palette, draw_ground, town
from samtune.data.drawn.source import DrawnPictures
from samtune.data.drawn.textures import TextureBank, smooth_noise
from samtune.data.readers.mask_folder import MaskFolder
from samtune.drawing import TRUTH, enlarge, overlay, side_by_side
from samtune.files import write_bytes
from samtune.prompts.seeding import object_rng
from samtune.types import FloatArray, ImageArray, LabelArray, Sample

SIDE, NUM_DRAWS = 176, 5
# Centre x, y and half axes in units of the picture, degrees, grey of 255, object id or 0.
Ellipse = tuple[float, float, float, float, float, float, int]

# A slice through liver (on the picture's left, as it is shown), stomach, spleen, kidneys and spine.
ABDOMEN: list[Ellipse] = [
    (0.50, 0.50, 0.46, 0.36, 0, 62, 0), (0.50, 0.50, 0.43, 0.33, 0, 112, 0),
    (0.31, 0.44, 0.21, 0.20, -25, 150, 1), (0.66, 0.34, 0.13, 0.08, 20, 88, 2),
    (0.79, 0.50, 0.07, 0.12, 15, 145, 3), (0.34, 0.68, 0.06, 0.07, 20, 168, 4),
    (0.66, 0.68, 0.06, 0.07, -20, 168, 5), (0.50, 0.71, 0.07, 0.065, 0, 235, 6),
    (0.50, 0.78, 0.02, 0.05, 0, 225, 0), (0.55, 0.57, 0.03, 0.03, 0, 190, 0),
]  # fmt: skip
# A head: scalp, skull, brain, ventricles and a tumour on one side.
HEAD: list[Ellipse] = [
    (0.50, 0.50, 0.38, 0.46, 0, 150, 0), (0.50, 0.50, 0.36, 0.44, 0, 25, 0),
    (0.50, 0.50, 0.33, 0.41, 0, 120, 1), (0.50, 0.50, 0.006, 0.38, 0, 70, 0),
    (0.43, 0.46, 0.045, 0.14, 12, 45, 2), (0.57, 0.46, 0.045, 0.14, -12, 45, 2),
    (0.66, 0.64, 0.08, 0.07, 30, 205, 3), (0.36, 0.72, 0.05, 0.03, 0, 150, 0),
]  # fmt: skip
# Lungs, the heart towards the picture's right, spine and diaphragm.
CHEST: list[Ellipse] = [
    (0.50, 0.55, 0.47, 0.58, 0, 165, 0), (0.29, 0.46, 0.15, 0.31, 8, 60, 1),
    (0.71, 0.44, 0.14, 0.29, -8, 60, 2), (0.50, 0.50, 0.05, 0.60, 0, 205, 0),
    (0.58, 0.60, 0.15, 0.13, 35, 190, 3), (0.27, 0.85, 0.20, 0.14, 0, 200, 0),
    (0.75, 0.87, 0.18, 0.14, 0, 195, 0),
]  # fmt: skip
# Tissue with a cyst, brighter behind it, and a lesion.
TISSUE: list[Ellipse] = [
    (0.50, 0.50, 0.70, 0.70, 0, 95, 0), (0.40, 0.45, 0.11, 0.09, 10, 10, 1),
    (0.40, 0.66, 0.08, 0.10, 0, 135, 0), (0.66, 0.60, 0.10, 0.07, -20, 50, 2),
]  # fmt: skip


def phantom(name: str, ellipses: Sequence[Ellipse], softness: float) -> Sample:
    """Ellipses painted over each other, with a faint texture where there is tissue."""
    grey = np.zeros((SIDE, SIDE), np.float32)
    labels = np.zeros((1, SIDE, SIDE), np.int32)
    for x, y, half_width, half_height, angle, value, object_id in ellipses:
        place, axes = _pixels(x, y), _pixels(half_width, half_height)
        cv2.ellipse(grey, place, axes, angle, 0, 360, value, cv2.FILLED)
        cv2.ellipse(labels[0], place, axes, angle, 0, 360, object_id, cv2.FILLED)
    texture = smooth_noise(object_rng("gallery", name), 60, SIDE)
    grey = cv2.GaussianBlur(grey, (0, 0), softness) * (1 + 0.05 * texture)
    return Sample(name, _as_image(grey[..., None].repeat(3, 2)), labels)


def chest() -> Sample:
    """Ribs lie over all, for a radiograph is a sum along the rays."""
    sample = phantom("chest", CHEST, 1.5)
    ribs = np.zeros((SIDE, SIDE), np.float32)
    for number in range(7):
        y = 0.2 + 0.1 * number
        for x, start in ((0.3, 180), (0.7, 180)):
            cv2.ellipse(ribs, _pixels(x, y), _pixels(0.21, 0.08), 0, start, 360, 22, 3)
    lit = cv2.GaussianBlur(ribs, (0, 0), 1)[..., None]
    return Sample("chest", _as_image(sample.image + lit * (sample.image > 30)), sample.labels)


def ultrasound() -> Sample:
    """A fan of speckled tissue with a cyst, bright behind it, and a lesion."""
    sample, rng = phantom("ultrasound", TISSUE, 1.0), object_rng("gallery", "speckle")
    grain = cv2.GaussianBlur(rng.standard_normal((SIDE, SIDE, 2)), (0, 0), 1.6, sigmaY=0.8)
    rayleigh = np.hypot(*(grain / grain.std()).transpose(2, 0, 1)).astype(np.float32)
    fan = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(fan, _pixels(0.5, -0.15), _pixels(1.08, 1.08), 0, 55, 125, 1, cv2.FILLED)
    cv2.ellipse(fan, _pixels(0.5, -0.15), _pixels(0.25, 0.25), 0, 0, 360, 0, cv2.FILLED)
    grey = sample.image * (0.5 + 0.4 * rayleigh[..., None]) * fan[..., None]
    return Sample("ultrasound", _as_image(grey), sample.labels * fan.astype(np.int32))


def histology() -> Sample:
    """Haematoxylin nuclei in eosin tissue with gaps of glass, by Beer's law."""
    rng = object_rng("gallery", "histology")
    eosin = np.clip(
        0.5 + 0.2 * smooth_noise(rng, 9, SIDE) + 0.1 * smooth_noise(rng, 50, SIDE), 0, 2
    )
    haematoxylin = 0.05 * eosin
    labels = np.zeros((1, SIDE, SIDE), np.int32)
    for number in range(1, 34):
        x, y = rng.uniform(0.03, 0.97, 2)
        axes = _pixels(*rng.uniform(0.022, 0.045, 2))
        one = np.zeros((SIDE, SIDE), np.uint8)
        cv2.ellipse(one, _pixels(x, y), axes, float(rng.uniform(0, 180)), 0, 360, 1, cv2.FILLED)
        labels[0][one > 0] = number
        haematoxylin[one > 0] = rng.uniform(0.7, 1.3)
    haematoxylin *= 1 + 0.2 * smooth_noise(rng, 60, SIDE)
    densities = [(0.65, 0.07), (0.70, 0.99), (0.29, 0.11)]
    channels = [255 * np.exp(-(h * haematoxylin + e * eosin)) for h, e in densities]
    soft = cv2.GaussianBlur(np.stack(channels, 2).astype(np.float32), (0, 0), 0.7)
    return Sample("histology", _as_image(soft), labels)


def endoscopy() -> Sample:
    """A polyp in a gut that is dark where it leads on, in a round field."""
    rng = object_rng("gallery", "endoscopy")
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32) / SIDE
    folds = -np.abs(smooth_noise(rng, 7, SIDE)) + 0.15 * smooth_noise(rng, 40, SIDE)
    light = np.clip(1.1 * np.hypot(x - 0.42, y - 0.38) + 0.35, 0, 1) * (1 + 0.12 * folds)
    labels = np.zeros((1, SIDE, SIDE), np.int32)
    distance = np.hypot((x - 0.64) / 0.15, (y - 0.62) / 0.12)
    labels[0][distance < 1] = 1
    light = np.where(distance < 1, 1.05 - 0.35 * distance**2, light)
    colour = np.where((distance < 1)[..., None], (225, 110, 95), (205, 105, 80))
    picture = cv2.GaussianBlur((light[..., None] * colour).astype(np.float32), (0, 0), 0.8)
    field = np.hypot(x - 0.5, y - 0.5) < 0.49
    return Sample("endoscopy", _as_image(picture * field[..., None]), labels)


def roofs(ground: tuple[float, float, float], name: str) -> Sample:
    """A drawn town seen from above."""
    rng = object_rng("gallery", name)
    canvas = Canvas((SIDE, SIDE), TextureBank(), rng)
    tint = np.array([0.9, 0.75, 0.7], np.float32)
    palette = Palette(np.array(ground, np.float32), tint, 0.45, 0.15)
    draw_ground(canvas, palette)
    town(canvas, palette)
    return Sample(name, canvas.finished(canvas.image), canvas.labels)


def originals(nuclei: Path) -> dict[str, Sample]:
    """A picture for each preset."""
    tiles, scenes = MaskFolder(nuclei), DrawnPictures("test")
    names = [record.image_id for record in tiles.records]
    real = tiles.read(names.index("train/nuclei_096_000"))
    abdomen, head = phantom("abdomen", ABDOMEN, 0.8), phantom("head", HEAD, 0.8)
    return {
        "light": scenes.read(30), "microscopy": scenes.read(2), "fluorescence": real,
        "he": histology(), "aerial": roofs((0.33, 0.40, 0.28), "aerial"),
        "other_places": roofs((0.33, 0.40, 0.28), "aerial"),
        "satellite": roofs((0.36, 0.33, 0.28), "satellite"), "ct": abdomen, "mr": head,
        "xray": chest(), "ultrasound": ultrasound(), "endoscopy": endoscopy(), "medical": abdomen,
    }  # fmt: skip


def strip(sample: Sample, preset: str) -> ImageArray:
    """The original and its draws beside each other, with outlines."""
    pipeline = build_augmentation(preset)
    draws = [
        augment(sample, pipeline, object_rng("gallery", preset, number))
        for number in range(NUM_DRAWS)
    ]
    return side_by_side([outlined(each.image, each.labels) for each in (sample, *draws)])


def outlined(image: ImageArray, labels: LabelArray) -> ImageArray:
    large, _ = enlarge(image, SIDE)
    for layer in labels:
        wide = cv2.resize(layer, large.shape[1::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        for object_id in np.unique(wide[wide > 0]):
            large = overlay(large, wide == object_id, TRUTH, alpha=0.0)
    return large


def _pixels(x: float, y: float) -> tuple[int, int]:
    return round(x * SIDE), round(y * SIDE)


def _as_image(values: FloatArray) -> ImageArray:
    return np.asarray(np.clip(values, 0, 255), np.uint8)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--nuclei", type=Path, required=True, help="what `samtune fetch nuclei_sample` wrote"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/augment"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    samples = originals(options.nuclei)
    for preset in PRESETS[1:]:
        buffer = io.BytesIO()
        Image.fromarray(strip(samples[preset], preset)).save(buffer, "WEBP", quality=82, method=6)
        write_bytes(options.out / f"{preset}.webp", buffer.getvalue())
        print(f"{preset}: {len(buffer.getvalue()) / 1000:.0f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
