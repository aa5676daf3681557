"""Grey textures for drawn pictures: drawn once, then cut out at random places."""

from collections.abc import Callable
from functools import cache

import cv2
import numpy as np

from samtune.prompts.seeding import object_rng
from samtune.types import FloatArray

# Side of a stored texture. Crops of smaller scenes overlap, but rarely look alike.
_SIDE = 768


class TextureBank:
    """Textures of zero mean and unit deviation, clipped to -2.5..2.5.

    Args:
        seed: of the textures; every worker draws the same ones.
        num_each: of every kind.
    """

    def __init__(self, seed: int = 0, num_each: int = 5) -> None:
        self.textures: list[FloatArray] = []
        for name, draw in _KINDS.items():
            for number in range(num_each):
                values = draw(object_rng(seed, "texture", name, number))
                self.textures.append(_standardise(values))
        self.noise = object_rng(seed, "noise").standard_normal((_SIDE, _SIDE, 3), np.float32)

    def crop(self, hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
        """An (h, w) piece of any texture, turned and mirrored at random."""
        texture = self.textures[int(rng.integers(len(self.textures)))]
        if rng.random() < 0.5:
            texture = texture.T
        return _cut(texture, hw, rng)

    def noise_crop(self, hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
        """(h, w, 3) of independent normal numbers."""
        return _cut(self.noise, hw, rng)


@cache
def texture_bank(seed: int) -> TextureBank:
    """Textures that this process, and its copies after that, draw once: they take about a second."""
    return TextureBank(seed)


def _cut(texture: FloatArray, hw: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """A piece at a random place, larger than the texture by mirroring if need be."""
    need = [max(0, side - _SIDE) for side in hw]
    if any(need):
        pad = [(0, size) for size in need] + [(0, 0)] * (texture.ndim - 2)
        texture = np.pad(texture, pad, "symmetric")
    y, x = (int(rng.integers(texture.shape[axis] - hw[axis] + 1)) for axis in (0, 1))
    piece = texture[y : y + hw[0], x : x + hw[1]]
    return np.asarray(piece[:: rng.choice((-1, 1)), :: rng.choice((-1, 1))], np.float32)


def _standardise(values: FloatArray) -> FloatArray:
    result = (values - values.mean()) / max(float(values.std()), 1e-6)
    return np.asarray(np.clip(result, -2.5, 2.5), np.float32)


def smooth_noise(rng: np.random.Generator, cells: int, side: int = _SIDE) -> FloatArray:
    """(side, side) noise that changes over side / cells pixels."""
    grid = rng.standard_normal((cells, cells), np.float32)
    return np.asarray(cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _clouds(rng: np.random.Generator) -> FloatArray:
    """Noise of all scales, each finer one weaker: stone, tissue, cloud."""
    weight, total = rng.uniform(0.45, 0.9), np.zeros((_SIDE, _SIDE), np.float32)
    for octave in range(3, 9):
        total += weight**octave * smooth_noise(rng, 2**octave)
    return total


def _grain(rng: np.random.Generator) -> FloatArray:
    """Fine grain: film, ultrasound, lawn."""
    fine = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(fine, (0, 0), rng.uniform(0.5, 2.0)), np.float32)


def _stripes(rng: np.random.Generator) -> FloatArray:
    """Wavy stripes: fibres, fields, tiles."""
    y, x = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 40)
    phase = 2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y)
    wave = np.sin(phase + rng.uniform(0, 4) * smooth_noise(rng, int(rng.integers(3, 16))))
    return np.asarray(wave + rng.uniform(0, 0.5) * _grain(rng), np.float32)


def _spots(rng: np.random.Generator) -> FloatArray:
    """Specks on an even ground: granules, gravel, tree tops."""
    blobs = smooth_noise(rng, int(rng.integers(30, 150)))
    return np.asarray(np.tanh(4 * (blobs - rng.uniform(0.5, 1.3))), np.float32)


def _folds(rng: np.random.Generator) -> FloatArray:
    """Ridges between rounded fields: mucosa, skin, cracked soil."""
    return -np.abs(_clouds(rng))


def _blocks(rng: np.random.Generator) -> FloatArray:
    """A grid of patches of even grey: paving, allotments."""
    height, width = rng.integers(8, 48, 2)
    rows, columns = _SIDE // height + 1, _SIDE // width + 1
    patches = rng.standard_normal((rows, columns), np.float32)
    whole = np.repeat(np.repeat(patches, height, 0), width, 1)
    return np.asarray(whole[:_SIDE, :_SIDE] + 0.3 * _grain(rng), np.float32)


_KINDS: dict[str, Callable[[np.random.Generator], FloatArray]] = {
    "clouds": _clouds,
    "grain": _grain,
    "stripes": _stripes,
    "spots": _spots,
    "folds": _folds,
    "blocks": _blocks,
}
