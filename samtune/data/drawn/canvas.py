"""A drawn picture in the making: objects are painted one over the other, truth along with it.

Labels have three layers. On `WHOLE` lie objects, visible parts only: what is painted later hides
what is below. `PART` holds parts of them (a nucleus, half a roof). `GROUP` holds things that keep
their extent although others lie on them (a plate, a field, a clump).
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from samtune.data.drawn.shapes import Mask
from samtune.data.drawn.textures import TextureBank
from samtune.types import FloatArray, ImageArray, LabelArray

WHOLE, PART, GROUP = 0, 1, 2
# Pixels around an object that its soft edge may reach
_MARGIN = 4


@dataclass(frozen=True)
class Look:
    """How an object is painted; brightness in 0..1.

    Attributes:
        colour: (3,) RGB.
        texture: amplitude of its texture.
        shading: amplitude of a gradient across it.
        dome: brighter (or darker, below 0) in the middle than at the edge.
        rim: brightness added to the outline.
        softness: sigma of the edge's blur, pixels.
        opacity: 1 hides what is below.
    """

    colour: FloatArray
    texture: float = 0.0
    shading: float = 0.0
    dome: float = 0.0
    rim: float = 0.0
    softness: float = 0.5
    opacity: float = 1.0

    def tinted(self, shift: float | FloatArray) -> "Look":
        """The same, but of a colour `shift` (one number, or RGB) away."""
        return replace(self, colour=np.asarray(self.colour + np.float32(shift), np.float32))


class Canvas:
    """An (H, W, 3) float image with labels (3, H, W)."""

    def __init__(self, hw: tuple[int, int], bank: TextureBank, rng: np.random.Generator) -> None:
        self.hw, self.bank, self.rng = hw, bank, rng
        self.image = np.zeros((*hw, 3), np.float32)
        self.labels: LabelArray = np.zeros((3, *hw), np.int32)
        self.num_objects = 0

    def add(self, mask: Mask, look: Look, layer: int = WHOLE) -> None:
        """Paint an object over all that is there, and give it the next id."""
        self.paint(mask, look)
        window = _window(mask, 0, self.hw)
        inside = mask[window] > 0
        self.num_objects += 1
        if layer != GROUP:
            self.labels[(layer, *window)][inside] = self.num_objects
        if layer == WHOLE:
            self.labels[(PART, *window)][inside] = 0
        if layer == GROUP:
            self.labels[(slice(None), *window)][:, inside] = 0
            self.labels[(GROUP, *window)][inside] = self.num_objects

    def paint(self, mask: Mask, look: Look) -> None:
        """Paint without truth: shadows, debris."""
        window = _window(mask, _MARGIN, self.hw)
        inside = mask[window].astype(np.float32)
        if not inside.any():
            return
        alpha = cv2.GaussianBlur(inside, (0, 0), look.softness) if look.softness > 0.3 else inside
        values = self._values(inside, look)
        target = self.image[window]
        target += (values - target) * (alpha * np.float32(look.opacity))[..., None]

    def _values(self, inside: FloatArray, look: Look) -> FloatArray:
        """(h, w, 3) colours of an object within its window."""
        hw = inside.shape[:2]
        grey = np.zeros(hw, np.float32)
        if look.texture:
            grey += self.bank.crop(hw, self.rng) * np.float32(look.texture)
        if look.shading:
            grey += gradient(hw, self.rng) * np.float32(look.shading)
        if look.dome:
            size = max(3, min(hw) // 2)
            grey += (cv2.blur(inside, (size, size)) - 0.7) * np.float32(look.dome)
        if look.rim:
            inner = cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=0)
            grey += (inside - inner) * np.float32(look.rim)
        return grey[..., None] + look.colour

    def free(self) -> Mask:
        """Where no object is yet."""
        return np.asarray(self.labels[WHOLE] == 0, np.uint8)

    def finished(self, image: FloatArray) -> ImageArray:
        return np.asarray(np.clip(image * 255 + 0.5, 0, 255), np.uint8)


def _window(mask: Mask, margin: int, hw: tuple[int, int]) -> tuple[slice, slice]:
    x, y, width, height = cv2.boundingRect(mask)
    return (
        slice(max(0, y - margin), min(hw[0], y + height + margin)),
        slice(max(0, x - margin), min(hw[1], x + width + margin)),
    )


def gradient(hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """(h, w) plane in a random direction, -1..1 over the longer side."""
    angle = rng.uniform(0, 2 * np.pi)
    y = np.linspace(-1, 1, hw[0], dtype=np.float32)[:, None] * np.float32(np.sin(angle))
    x = np.linspace(-1, 1, hw[1], dtype=np.float32)[None] * np.float32(np.cos(angle))
    return y + x
