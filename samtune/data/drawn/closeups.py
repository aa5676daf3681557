"""Views of drawn pictures for training: windows around objects, and what cameras and files add.

A window shows its objects as large and as soft as a magnified photograph does. Validation and test
pictures have none of this: their figures stay comparable with former ones.
"""

import cv2
import numpy as np

from samtune.types import FloatArray, ImageArray, LabelArray

WINDOW_CHANCE = 0.5
# Side of a window in those of its object's box, and the smallest share of the picture it may have
SMALLEST_WINDOW, LARGEST_WINDOW = 1.3, 6.0
SMALLEST_SHARE = 0.22


def draw_window(labels: LabelArray, rng: np.random.Generator) -> tuple[slice, slice] | None:
    """A square window around any object of labels (L, H, W), or none.

    Its side is `SMALLEST_WINDOW` to `LARGEST_WINDOW` times that of the object's box.
    """
    if rng.random() >= WINDOW_CHANCE:
        return None
    layer = labels[int(rng.integers(len(labels)))]
    layer = layer if layer.any() else labels[0]
    pixels = np.flatnonzero(layer)
    if not len(pixels):
        return None
    row, column = divmod(int(pixels[rng.integers(len(pixels))]), layer.shape[1])
    mask = np.asarray(layer == layer[row, column], np.uint8)
    x, y, width, height = cv2.boundingRect(mask)
    scale = np.exp(rng.uniform(np.log(SMALLEST_WINDOW), np.log(LARGEST_WINDOW)))
    longest = min(layer.shape)
    side = int(np.clip(scale * max(width, height), SMALLEST_SHARE * longest, longest))
    shift = rng.uniform(-0.25, 0.25, 2) * side
    top = _start(y + height / 2 + shift[0], side, layer.shape[0])
    left = _start(x + width / 2 + shift[1], side, layer.shape[1])
    return slice(top, top + side), slice(left, left + side)


def _start(middle: float, side: int, length: int) -> int:
    return int(np.clip(round(middle - side / 2), 0, length - side))


def enlarge(
    image: FloatArray, labels: LabelArray, window: tuple[slice, slice], hw: tuple[int, int]
) -> tuple[FloatArray, LabelArray]:
    """A window of an image (H, W, 3) and its labels (L, H, W), at the size `hw`."""
    size = hw[::-1]
    larger = cv2.resize(image[window], size, interpolation=cv2.INTER_LINEAR)
    layers = [_enlarged(layer[window], size) for layer in labels]
    return np.asarray(larger, np.float32), np.stack(layers)


def _enlarged(layer: LabelArray, size: tuple[int, int]) -> LabelArray:
    values = np.asarray(layer, np.float32)  # OpenCV resizes no int32; ids are small
    larger = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(larger, np.int32)


def photographed(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """(H, W, 3) as a camera stores it: sharpened, dark or flat, vignetted, compressed."""
    values = np.asarray(image, np.float32)
    hw = image.shape[:2]
    if rng.random() < 0.2:
        values += rng.uniform(0.5, 2.0) * (values - cv2.GaussianBlur(values, (0, 0), 1.5))
    if rng.random() < 0.15:  # microscopes leave most of the range unused
        values = values * rng.uniform(0.25, 0.8)
    if rng.random() < 0.12:
        y, x = np.ogrid[-1 : 1 : hw[0] * 1j, -1 : 1 : hw[1] * 1j]
        values *= (1 - rng.uniform(0.2, 0.9) * (x**2 + y**2) / 2)[..., None]
    if rng.random() < 0.15:
        values = values * rng.uniform(0.75, 1.25, 3).astype(np.float32)
    stored = np.asarray(np.clip(values + 0.5, 0, 255), np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(25, 90))
        _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
        stored = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return stored


def mirrored(
    image: ImageArray, labels: LabelArray, rng: np.random.Generator
) -> tuple[ImageArray, LabelArray]:
    """Turned by quarters and mirrored at random."""
    turns, is_mirrored = int(rng.integers(4)), bool(rng.integers(2))
    image, labels = np.rot90(image, turns, (0, 1)), np.rot90(labels, turns, (1, 2))
    if is_mirrored:
        image, labels = image[:, ::-1], labels[:, :, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)
