"""Base and tuned behind one face, so that both see the same image and the same prompts."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict

import torch
from torch import Tensor

from samtune.models.backend import Sam
from samtune.models.loading import load_base

BASE, TUNED = "base", "tuned"


class Contestants:
    """The networks that are compared.

    With an adapter both are the same network, with the adapter off and on; after mode `full` the
    base is loaded beside it. A model that was not tuned has no opponent.

    Args:
        sam: what is evaluated.
    """

    def __init__(self, sam: Sam, is_tuned: bool) -> None:
        self.sam = sam
        self.names = (BASE, TUNED) if is_tuned else (BASE,)
        self._base = sam
        if is_tuned and not sam.is_adapted:
            self._base = load_base(asdict(sam.base), "the run").to(sam.device).eval()

    @contextmanager
    def playing(self, name: str) -> Iterator[Sam]:
        """The network of one contestant, for the time of the block."""
        sam = self._base if name == BASE else self.sam
        is_switched = name == BASE and sam.is_adapted
        with sam.base_weights() if is_switched else nullcontext():
            yield sam

    @torch.no_grad()
    def encode(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Image embeddings for each contestant; computed once where they are the same."""
        embeddings: dict[str, Tensor] = {}
        for name in self.names:
            if name == TUNED and self.sam.is_adapted and not self.sam.is_encoder_adapted:
                embeddings[name] = embeddings[BASE]
                continue
            with self.playing(name) as sam:
                embeddings[name] = sam.encode(pixel_values)
        return embeddings
