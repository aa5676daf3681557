"""Which base a network was made from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BaseIdentity:
    """Which base a network was made from, so that an adapter never meets the wrong one.

    Attributes:
        name: what `load_model` was given: registry name, hub id, absolute path of folder or file.
        checkpoint: absolute path of official weights given beside a registry name; empty without.
        image_size: side of the square input after interpolation, pixels.
        sha256: over the names and bytes of all weights, before interpolation and tuning.
        is_random: the weights are a seeded random initialisation.
    """

    name: str
    checkpoint: str
    image_size: int
    sha256: str
    is_random: bool = False
