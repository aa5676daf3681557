"""Base and tuned behind one face, so that both see the same image and the same prompts."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial

from torch import Tensor

from samtune.data.features import join_features
from samtune.inference.views import ImageViews
from samtune.models.backend import Sam
from samtune.models.encoder_steps import frozen_depth
from samtune.models.loading import load_base
from samtune.types import Features, ImageArray, Window

BASE, TUNED = "base", "tuned"
# Of what both contestants need of an image's windows.
_SHARED_BYTES = 2**29


class Contestants:
    """The networks that are compared.

    With an adapter both are the same network, with the adapter off and on; after mode `full` the
    base is loaded beside it. A model that was not tuned is measured alone.

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

    def views(
        self, image: ImageArray, tile: int, with_focus: bool, with_sharpening: bool = True
    ) -> dict[str, ImageViews]:
        """An image as each contestant looks at it; what the adapter does not change is computed once.

        Args:
            image: (H, W, 3).
            tile: side of the window in which points are looked at first; 0 is the whole image.
            with_focus: small objects are looked at in a window around them.
            with_sharpening: masks are sharpened, by who does that.
        """
        depth = frozen_depth(self.sam) if len(self.names) > 1 and self.sam.is_adapted else -1
        shared: dict[Window, Features] = {}
        found = {}
        for name in self.names:
            encode = partial(self._encode, name, depth, shared)
            sam = self._sam_of(name)
            found[name] = ImageViews(image, sam, tile, with_focus, encode, with_sharpening)
        return found

    def _encode(
        self, name: str, depth: int, shared: dict[Window, Features], windows: Sequence[Window],
        pixel_values: Tensor,
    ) -> Features:  # fmt: skip
        if depth < 0:
            with self.playing(name) as sam:
                return sam.encode(pixel_values)
        rows = [row for row, window in enumerate(windows) if window not in shared]
        if rows:
            made = self.sam.encode_until(pixel_values[rows], depth)
            for place, row in enumerate(rows):
                shared[windows[row]] = made[place : place + 1]
        parts = [shared[window] for window in windows]
        size = sum(
            part.numel() * part.element_size() for part in (parts[0].main, *parts[0].details)
        )
        while len(shared) > max(1, _SHARED_BYTES // size):
            del shared[next(iter(shared))]
        device, dtype = pixel_values.device, parts[0].main.dtype
        with self.playing(name) as sam:
            return sam.encode_from(join_features(parts, device, dtype), depth)

    def _sam_of(self, name: str) -> Sam:
        return self._base if name == BASE else self.sam
