"""Sharpeners in files: a run's own, beside its weights; a head's, in the head's folder; `nano`'s.

Each is `sharpener.json` and `sharpener.safetensors`.
"""

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import replacing_folder
from samtune.models.sharpening.crops import CHANNELS
from samtune.models.sharpening.network import Sharpener, SharpenerSettings
from samtune.models.weights import ASSETS
from samtune.module_files import module_sha256, read_module, write_module

SHARPENER_FOLDER = "sharpener"
_NAME = "sharpener"


def write_sharpener(sharpener: Sharpener, run: Path, weights_sha256: str) -> None:
    """Write a sharpener into a run's folder.

    Args:
        sharpener: what was trained.
        run: its folder.
        weights_sha256: of the tuned weights whose masks it sharpens.
    """
    about = {"weights_sha256": weights_sha256, **asdict(sharpener.settings)}
    with replacing_folder(run / SHARPENER_FOLDER) as temporary:
        write_module(sharpener, temporary, _NAME, about)


def remove_sharpener(run: Path) -> None:
    """Remove the sharpener of a run, if it has one."""
    shutil.rmtree(run / SHARPENER_FOLDER, ignore_errors=True)


def read_sharpener(run: Path, weights_sha256: Callable[[], str]) -> Sharpener | None:
    """The sharpener of a run; `None` where it has none.

    Args:
        run: its folder.
        weights_sha256: of the run's weights; asked for where there is one.

    Raises:
        UserError: it is damaged, or was trained for other weights.
    """
    folder = run / SHARPENER_FOLDER
    if not (folder / f"{_NAME}.json").is_file():
        return None

    def make(about: dict[str, Any]) -> Sharpener:
        if about["weights_sha256"] != weights_sha256():
            raise UserError(
                f"{folder} sharpens the masks of other weights than those of {run}: remove the folder, "
                "or tune again"
            )
        return Sharpener(_settings_of(about))

    return read_module(folder, _NAME, make, "remove it, or tune again")


def write_object_sharpener(sharpener: Sharpener, head: Path) -> None:
    """Write what sharpens the objects of a head into the head's folder."""
    write_module(sharpener, head, _NAME, asdict(sharpener.settings))


def read_object_sharpener(head: Path) -> Sharpener | None:
    """What sharpens the objects of a head; `None` where nothing does.

    Args:
        head: its folder.

    Raises:
        UserError: it is damaged.
    """
    if not (head / f"{_NAME}.json").is_file():
        return None
    return read_module(head, _NAME, _made, "remove both files, or train the head again")


def _made(about: dict[str, Any]) -> Sharpener:
    return Sharpener(_settings_of(about))


def _settings_of(about: dict[str, Any]) -> SharpenerSettings:
    """Settings within bounds: a damaged file must not ask for more memory than there is."""
    settings = SharpenerSettings(
        int(str(about["cells"])), float(str(about["ratio"])),
        tuple(int(width) for width in list(about["widths"])), float(str(about["amount"])),
        float(str(about.get("agreement", 0.0))),
    )  # fmt: skip
    is_sized = 8 <= settings.cells <= 512 and settings.cells % 2 ** len(settings.widths) == 0
    is_narrow = 0 < len(settings.widths) <= 5 and max(settings.widths) <= 512
    is_shared = 0 <= settings.amount <= 1 and 0 <= settings.agreement <= 1
    if not (is_sized and is_narrow and is_shared and 0.5 <= settings.ratio <= 16):
        raise ValueError(f"settings out of bounds: {settings}")
    return settings


def shipped_sharpener() -> Sharpener:
    """The one that comes with samtune: learned on drawn pictures, from what `nano` answers there."""
    return read_module(ASSETS, _NAME, _made, "install again")


def sharpener_sha256(sharpener: Sharpener) -> str:
    """Of weights and settings: what its answers depend on."""
    return module_sha256(sharpener, repr((CHANNELS, sharpener.settings)))
