"""What every export is asked for, and what it tells of itself to the model card."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from samtune.data.source import Source
from samtune.models.identity import BaseIdentity
from samtune.models.registry import REGISTRY


@dataclass(frozen=True)
class ExportSettings:
    """How to export.

    Attributes:
        name: of the model, for file names and titles: letters, digits, `.`, `_` and `-`.
        is_int8: quantise the encoder (ONNX only).
        source: images with truth on which a loss is measured; `None` takes drawn pictures.
        max_images: of them.
        min_area: pixels of the smallest object that is asked for.
    """

    name: str
    is_int8: bool = False
    source: Source | None = None
    max_images: int = 20
    min_area: int = 10


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        library: as Hugging Face's model cards name it.
        files: name -> what it is.
        usage: code, or steps, that load it.
        checks: what was compared, with the figure found.
        notes: what a user has to know besides.
    """

    library: str
    files: dict[str, str]
    usage: str
    checks: tuple[str, ...]
    notes: tuple[str, ...] = ()


def public_base(base: BaseIdentity) -> BaseIdentity:
    """The same base without this machine's folders."""
    name, checkpoint = base.name, base.checkpoint
    if Path(name).is_absolute():
        name = Path(name).name
    return replace(base, name=name, checkpoint=Path(checkpoint).name)


def is_published(base: BaseIdentity) -> bool:
    """Whether its weights are those of its name in the registry, which states their licence."""
    spec = REGISTRY.get(base.name)
    if spec is None or not base.checkpoint:
        return spec is not None
    # a file under the official name was compared when it was loaded
    has_name = Path(base.checkpoint).name == spec.url.rpartition("/")[2]
    return bool(spec.sha256) and (has_name or file_sha256(base.checkpoint) == spec.sha256)


@lru_cache
def file_sha256(path: str) -> str:
    """Of the bytes of a file; empty where only its name is known, or it is gone."""
    if not Path(path).is_absolute() or not Path(path).is_file():
        return ""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
