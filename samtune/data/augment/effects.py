"""What instruments do to pictures, as transforms that albumentations has not, or only slowly.

All take (H, W, 3) uint8. Channels that are equal stay equal, so that a grey picture stays grey:
where each channel has its own value, equal ones share it.
"""

from collections.abc import Sequence
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.types import FloatArray, ImageArray

Range = tuple[float, float]
Params = dict[str, Any]

# Light that haze scatters into the camera, of 255.
_AIRLIGHT = 220
# Optical densities in red, green and blue of haematoxylin, eosin and what neither explains (DAB's):
# Ruifrok and Johnston, Analytical and Quantitative Cytology and Histology 23, 2001.
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])
# Pixels below this are the black surround of an endoscope's picture: nothing shines there.
_UNLIT = 40


class _Effect(A.ImageOnlyTransform):  # type: ignore[misc]  # albumentations has no types
    """A transform of the image alone, with the generator that is seeded for it."""

    random_generator: np.random.Generator


class ChannelGain(_Effect):
    """Each channel as bright as its dye or band happens to be; black stays black.

    Args:
        gain: factors, drawn evenly by their logarithms.
        p: how often.
    """

    def __init__(self, gain: Range = (0.7, 1.4), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.gain = gain

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        gains = _draw_factors(self.random_generator, self.gain, 3)
        return {"gains": _shared_by_equal(data["image"], gains)}

    def apply(self, img: ImageArray, gains: NDArray[np.float64], **params: Any) -> ImageArray:
        return _look_up(img, np.arange(256)[:, None] * gains)


class Window(_Effect):
    """Another window of grey values, never one that begins lower: what was black was cut off there.

    Args:
        low: new black, as a share of white.
        high: new white.
        p: how often.
    """

    def __init__(self, low: Range = (0.0, 0.1), high: Range = (0.8, 1.2), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.low, self.high = low, high

    def get_params(self) -> Params:
        rng = self.random_generator
        return {"low": rng.uniform(*self.low), "high": rng.uniform(*self.high)}

    def apply(self, img: ImageArray, low: float, high: float, **params: Any) -> ImageArray:
        values = (np.arange(256.0) - 255 * low) / (high - low)
        return _look_up(img, np.stack([values] * 3, axis=1))


class Haze(_Effect):
    """Air between ground and camera: every band paler, each by its own share.

    Image times transmission, plus airlight times the rest: the scattering model of Narasimhan and
    Nayar, IJCV 48, 2002.

    Args:
        thickness: share of light that is scattered away, in the band that suffers most.
        p: how often.
    """

    def __init__(self, thickness: Range = (0.1, 0.4), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.thickness = thickness

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        rng = self.random_generator
        lost = rng.uniform(*self.thickness) * rng.uniform(0.6, 1, 3)
        return {"lost": _shared_by_equal(data["image"], lost)}

    def apply(self, img: ImageArray, lost: NDArray[np.float64], **params: Any) -> ImageArray:
        return _look_up(img, np.arange(256)[:, None] * (1 - lost) + _AIRLIGHT * lost)


class StainJitter(_Effect):
    """Haematoxylin and eosin each stronger or weaker; glass stays white.

    The picture is unmixed into optical densities of the stains, as Tellez et al. do (IEEE TMI 37,
    2018). Unlike albumentations' HEStain it keeps what the two stains do not explain.

    Args:
        strength: factors of each stain, drawn evenly by their logarithms.
        p: how often.
    """

    def __init__(self, strength: Range = (0.7, 1.4), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> Params:
        factors = _draw_factors(self.random_generator, self.strength, 2)
        return {"factors": np.append(factors, 1.0)}

    def apply(self, img: ImageArray, factors: NDArray[np.float64], **params: Any) -> ImageArray:
        if len(set(_owners(img))) == 1:
            return img  # grey: there are no stains to tell apart
        mixing = np.linalg.inv(_STAINS) @ np.diag(factors) @ _STAINS
        densities = -np.log(np.arange(1, 257, dtype=np.float32) / 256)
        mixed = cv2.transform(cv2.LUT(img, densities), -mixing.T.astype(np.float32))
        return _to_uint8(cv2.exp(mixed) * 256 - 1)


class GainField(_Effect):
    """Brightness that changes over the picture by smooth factors; black stays black.

    Wide spacing is a coil's sensitivity or an uneven lamp (the bias field of Sled et al., IEEE TMI 17,
    1998), narrow spacing is grain that grows with the signal, as speckle does.

    Args:
        strength: standard deviation of the factors' logarithms at the knots of a grid.
        spacing: of the knots, in longer sides of the picture.
        p: how often.
    """

    def __init__(self, strength: Range = (0.1, 0.3), spacing: float = 0.3, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength, self.spacing = strength, spacing

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        height, width = data["image"].shape[:2]
        step = max(1.0, self.spacing * max(height, width))
        grid = (max(2, round(height / step) + 1), max(2, round(width / step) + 1))
        knots = self.random_generator.standard_normal(grid, np.float32)
        return {"knots": knots * np.float32(self.random_generator.uniform(*self.strength))}

    def apply(self, img: ImageArray, knots: FloatArray, **params: Any) -> ImageArray:
        logarithms = cv2.resize(knots, img.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        return _to_uint8(img * cv2.exp(logarithms).reshape(*img.shape[:2], 1))


class ShotNoise(_Effect):
    """Noise of counted photons: it grows with the root of the light, and black stays black.

    All channels get the same.

    Args:
        strength: standard deviation at white, as a share of white.
        p: how often.
    """

    def __init__(self, strength: Range = (0.02, 0.08), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        noise = self.random_generator.standard_normal(data["image"].shape[:2], np.float32)
        return {"noise": noise * np.float32(self.random_generator.uniform(*self.strength))}

    def apply(self, img: ImageArray, noise: FloatArray, **params: Any) -> ImageArray:
        deviations = np.sqrt(np.arange(256, dtype=np.float32) * 255)
        return _to_uint8(img + cv2.LUT(img, deviations) * noise[..., None])


class Ghosting(_Effect):
    """Faint copies along one axis, as breath and pulse leave them in MR.

    What repeats with every k-th line of k-space comes back N / k pixels further, around the edge (Wood
    and Henkelman, Medical Physics 12, 1985).

    Args:
        strength: share of the signal that goes to the copies.
        p: how often.
    """

    def __init__(self, strength: Range = (0.05, 0.2), p: float = 0.5) -> None:
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> Params:
        rng = self.random_generator
        return {
            "strength": float(rng.uniform(*self.strength)),
            "num_places": int(rng.integers(2, 6)),
            "axis": int(rng.integers(2)),
        }

    def apply(
        self, img: ImageArray, strength: float, num_places: int, axis: int, **params: Any
    ) -> ImageArray:
        result = img.astype(np.float32) * (1 - strength)
        for place in range(1, num_places):
            copy = np.roll(img, place * img.shape[axis] // num_places, axis)
            result += copy * np.float32(strength / (num_places - 1))
        return _to_uint8(result)


class ObjectTint(_Effect):
    """Each object in a colour of its own, as roofs are grey here and red there; the ground in another.

    Where all objects of the training images have one colour, it is the first thing that is learned, and
    of no use elsewhere. Neighbours often look alike, so a picture's objects have half of it in common.

    Args:
        gain: factors of each channel, drawn evenly by their logarithms.
        ground: the same of all that is no object.
        p: how often.
    """

    def __init__(
        self, gain: Range = (0.35, 1.2), ground: Range = (0.7, 1.3), p: float = 0.5
    ) -> None:
        super().__init__(p=p)
        self.gain, self.ground = gain, ground

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        rng, gains = self.random_generator, np.ones((*data["image"].shape[:2], 3), np.float32)
        gains *= _draw_factors(rng, self.ground, 3)
        common = _draw_factors(rng, self.gain, 3)
        for layer in data["masks"]:
            for object_id in np.unique(layer[layer > 0]):
                gains[layer == object_id] = np.sqrt(common * _draw_factors(rng, self.gain, 3))
        return {"gains": gains}

    def apply(self, img: ImageArray, gains: FloatArray, **params: Any) -> ImageArray:
        owners = _owners(img)  # grey stays grey
        soft = cv2.GaussianBlur(gains, (3, 3), 0).reshape(gains.shape)
        return _to_uint8(img * soft[..., owners])


class Highlights(_Effect):
    """Small white spots where wet tissue mirrors the lamp.

    Args:
        size: half axes, in longer sides of the picture.
        most: spots.
        p: how often.
    """

    def __init__(self, size: Range = (0.004, 0.02), most: int = 12, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.size, self.most = size, most

    def get_params_dependent_on_data(self, params: Params, data: Params) -> Params:
        image, rng = data["image"], self.random_generator
        spots = []
        for _ in range(int(rng.integers(1, self.most + 1))):
            row, column = (int(rng.integers(side)) for side in image.shape[:2])
            axes = rng.uniform(*self.size, 2) * max(image.shape)
            angle = float(rng.uniform(0, 180))
            if image[row, column].mean() >= _UNLIT:
                spots.append(((column, row), axes.round().astype(int).tolist(), angle))
        return {"spots": spots}

    def apply(self, img: ImageArray, spots: Sequence[Any], **params: Any) -> ImageArray:
        light = np.zeros(img.shape[:2], np.uint8)
        for centre, axes, angle in spots:
            cv2.ellipse(light, centre, axes, angle, 0, 360, 255, cv2.FILLED)
        light = cv2.GaussianBlur(light, (0, 0), 0.5 + self.size[0] * max(img.shape) / 2)
        return np.asarray(np.maximum(img, light[..., None]))


def _draw_factors(rng: np.random.Generator, limits: Range, count: int) -> NDArray[np.float64]:
    """Factors drawn evenly by their logarithms: twice is as likely as half."""
    low, high = np.log(limits).tolist()
    return np.exp(rng.uniform(low, high, count))


def _owners(image: ImageArray) -> list[int]:
    """For each channel the first one that is equal to it."""
    return [
        next(c for c in range(3) if np.array_equal(image[..., c], image[..., channel]))
        for channel in range(3)
    ]


def _shared_by_equal(image: ImageArray, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (3,) of the channels, of which equal ones take the first one's."""
    return np.asarray(values[_owners(image)])


def _look_up(image: ImageArray, table: NDArray[np.float64]) -> ImageArray:
    """Replace values by those of a (256, 3) table, a column for each channel."""
    return np.asarray(cv2.LUT(image, _to_uint8(table)[None]))


def _to_uint8(values: NDArray[Any]) -> ImageArray:
    return np.asarray(np.rint(np.clip(values, 0, 255)).astype(np.uint8))
