"""Base and tuned behind one face, so that both see the same image and the same prompts."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

import torch
from torch import Tensor

from samtune.models.backend import Sam
from samtune.models.encoder_steps import frozen_depth
from samtune.models.loading import load_base
from samtune.types import Features

BASE, TUNED = "base", "tuned"


class Contestants:
    """The networks that are compared.

    With an adapter both are the same network, with the adapter off and on; after mode `full` the
    base is loaded beside it. A model that was not tuned has no opponent.

    Args:
        sam: what is evaluated.
        is_tuned: it has a base.
        with_base: the base plays too.
    """

    def __init__(self, sam: Sam, is_tuned: bool, with_base: bool = True) -> None:
        self.sam = sam
        self.names: tuple[str, ...] = (BASE,)
        if is_tuned:
            self.names = (BASE, TUNED) if with_base else (TUNED,)
        self._base = sam
        if is_tuned and with_base and not sam.is_adapted:
            self._base = load_base(asdict(sam.base), "the run").to(sam.device).eval()

    @contextmanager
    def playing(self, name: str) -> Iterator[Sam]:
        """The network of one contestant, for the time of the block."""
        sam = self._sam_of(name)
        is_switched = name == BASE and sam.is_adapted
        with sam.base_weights() if is_switched else nullcontext():
            yield sam

    @torch.no_grad()
    def encode(self, pixel_values: Tensor) -> dict[str, Features]:
        """Image embeddings for each contestant; what the adapter does not change is computed once."""
        if len(self.names) < 2 or not self.sam.is_adapted:
            return {name: self._encode(name, pixel_values) for name in self.names}
        depth = frozen_depth(self.sam)
        if depth < 0:
            return {name: self._encode(name, pixel_values) for name in self.names}
        shared, features = self.sam.encode_until(pixel_values, depth), {}
        for name in self.names:
            with self.playing(name) as sam:
                features[name] = sam.encode_from(shared, depth)
        return features

    def _encode(self, name: str, pixel_values: Tensor) -> Features:
        with self.playing(name) as sam:
            return sam.encode(pixel_values)

    def _sam_of(self, name: str) -> Sam:
        return self._base if name == BASE else self.sam
