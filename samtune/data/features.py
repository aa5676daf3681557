"""What the frozen part of an encoder makes of an image, kept on disk.

With LoRA in the last blocks only, or in none, the first part of the encoder says the same of an image
in every epoch. Its answer is kept under a key of all that it depends on: the weights, where the
encoder is left, the precision, and the bytes of the image that goes in, after augmentation. An entry
that is damaged counts as missing and is made again.
"""

import hashlib
import logging
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from samtune.data.settings import CacheSettings
from samtune.errors import UserError
from samtune.files import write_bytes, write_json
from samtune.types import Features, ImageArray
from samtune.wording import counted

log = logging.getLogger(__name__)

# Raised when an older version's entries would be misread
_FORMAT = 1
_DTYPES = {"fp16": torch.float16, "fp32": torch.float32}
_DIGITS = 32


@dataclass(frozen=True)
class FrozenPart:
    """What is asked of a network whose first part is to be computed once.

    Attributes:
        description: all that its answer depends on, but for the image: weights, depth, precision.
        entry_bytes: what an image takes in single precision.
    """

    description: dict[str, str]
    entry_bytes: int


@dataclass
class FeatureStore:
    """Entries of one frozen part, in a folder of its own.

    Attributes:
        root: folder of all stores.
        part: whose answers are kept.
        mode: precision.
        limit_bytes: of everything under `root`.
        num_lost: answers that this process could not keep.
        trouble: why nothing can be written, if that is so; a limit that is reached is none.
    """

    root: Path
    part: FrozenPart
    mode: Literal["fp16", "fp32"]
    limit_bytes: int
    num_lost: int = field(default=0, repr=False)
    trouble: str = field(default="", repr=False)
    _used: int = field(default=-1, repr=False)
    _has_warned: bool = field(default=False, repr=False)

    @property
    def folder(self) -> Path:
        described = sorted({**self.part.description, "mode": self.mode, "format": _FORMAT}.items())
        return self.root / hashlib.sha256(repr(described).encode()).hexdigest()[:_DIGITS]

    @property
    def dtype(self) -> torch.dtype:
        """Of what is kept."""
        return _DTYPES[self.mode]

    @property
    def entry_bytes(self) -> int:
        """What one image takes."""
        return self.part.entry_bytes * _DTYPES[self.mode].itemsize // 4

    def name_of(self, image: ImageArray) -> str:
        """The entry of an (H, W, 3) image, as it enters the preprocessing."""
        digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=_DIGITS // 2)
        digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest()

    def path_of(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.safetensors"

    def read(self, name: str) -> Features | None:
        """Features (1, ...) of an entry; `None` if there is none, or a damaged one."""
        path = self.path_of(name)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            tensors = load(content[:-4])
            is_whole = zlib.crc32(content[:-4]).to_bytes(4, "big") == content[-4:]
            parts = [tensors[str(number)] for number in range(len(tensors))]
        except (SafetensorError, KeyError, ValueError):
            is_whole = False
        if not is_whole or not parts:
            log.warning("%s is damaged: it is made again", path)
            return None
        return Features(parts[0], tuple(parts[1:]))

    def write(self, name: str, features: Features) -> bool:
        """Keep features (1, ...); `False` where the limit leaves no room."""
        tensors = {
            str(number): part.detach().to("cpu", _DTYPES[self.mode]).contiguous()
            for number, part in enumerate((features.main, *features.details))
        }
        if not all(torch.isfinite(part).all() for part in tensors.values()):
            raise UserError(
                "what the frozen part of the encoder makes does not fit half precision: set "
                "data.cache.mode to fp32"
            )
        content = save(tensors)
        if self._measure() + len(content) > self.limit_bytes:
            self._warn(
                f"the cache in {self.root} has reached its limit of {self.limit_bytes / 1e9:.1f} GB "
                "(data.cache.limit_gb)"
            )
            self.num_lost += 1
            return False
        try:
            if not self.folder.exists():
                write_json(self.folder / "about.json", self.part.description | {"mode": self.mode})
            entry = content + zlib.crc32(content).to_bytes(4, "big")
            write_bytes(self.path_of(name), entry, is_durable=False)
        except (OSError, UserError) as error:
            self.trouble = str(getattr(error, "strerror", None) or error)
            self._warn(f"nothing can be written to {self.root} ({self.trouble})")
            self.num_lost += 1
            return False
        self._used += len(content) + 4
        return True

    def _measure(self) -> int:
        """Bytes under the root, counted once and kept up by what this process writes."""
        if self._used < 0:
            self._used = sum(map(_size, self.root.rglob("*.safetensors")))
        return self._used

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            log.warning("%s: other images are computed each time", reason)
        self._has_warned = True

    def tell(self, num_images: int) -> str:
        """A line on what keeping so many images takes."""
        wanted, room = num_images * self.entry_bytes, self.limit_bytes - self._measure()
        text = (
            f"cache: {counted(num_images, 'image')} of {self.entry_bytes / 1e6:.1f} MB take "
            f"{wanted / 1e9:.2f} GB in {self.folder}"
        )
        if wanted > room:
            text += f"; the limit leaves room for {max(0, room) // max(1, self.entry_bytes)}"
        return text


def _size(path: Path) -> int:
    """Of a file that another process may just have moved away."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def open_store(
    settings: CacheSettings, part: FrozenPart | None, augment: str
) -> FeatureStore | None:
    """The store for a network, or `None` where nothing is kept.

    Args:
        settings: of the cache.
        part: of the network; `None` if its encoder is trained from its first block.
        augment: preset or file of the augmentation.

    Raises:
        UserError: there is nothing to keep, or augmentation would make every image a new one.
    """
    if settings.mode == "off":
        return None
    if part is None:
        raise UserError(
            "data.cache keeps what the frozen part of the encoder makes, but this one is trained from "
            "its first block: set model.lora.encoder to last or none, or data.cache.mode to off"
        )
    if augment != "none" and settings.views < 1:
        raise UserError(
            f"data.augment {augment} makes every image a new one in every epoch: set data.cache.views "
            "to a number of views that take turns, or data.cache.mode to off"
        )
    limit = int(settings.limit_gb * 1e9)
    return FeatureStore(Path(settings.folder).expanduser(), part, settings.mode, limit)


def join_features(parts: list[Features], device: torch.device, dtype: torch.dtype) -> Features:
    """Stack features (1, ...) of images to (B, ...)."""

    def stack(tensors: list[Tensor]) -> Tensor:
        return torch.cat([tensor.to(device, dtype, non_blocking=True) for tensor in tensors])

    details = zip(*(part.details for part in parts), strict=True)
    return Features(stack([part.main for part in parts]), tuple(stack(list(d)) for d in details))
