"""A sharpener beside a run's weights: `sharpener/sharpener.json` and `sharpener.safetensors`."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from samtune.errors import UserError, first_line
from samtune.files import replacing_folder, write_json
from samtune.models.sharpening.crops import CHANNELS
from samtune.models.sharpening.network import Sharpener, SharpenerSettings
from samtune.parsing import read_json

SHARPENER_FOLDER = "sharpener"
_ABOUT, _WEIGHTS, _FORMAT = "sharpener.json", "sharpener.safetensors", 1


def write_sharpener(sharpener: Sharpener, run: Path, weights_sha256: str) -> None:
    """Write a sharpener into a run's folder.

    Args:
        sharpener: what was trained.
        run: its folder.
        weights_sha256: of the tuned weights whose masks it sharpens.
    """
    state = {
        key: value.detach().cpu().contiguous() for key, value in sharpener.state_dict().items()
    }
    about = {"format": _FORMAT, "weights_sha256": weights_sha256, **asdict(sharpener.settings)}
    with replacing_folder(run / SHARPENER_FOLDER) as temporary:
        save_file(state, str(temporary / _WEIGHTS))
        write_json(temporary / _ABOUT, about)


def remove_sharpener(run: Path) -> None:
    """Remove the sharpener of a run, if it has one."""
    shutil.rmtree(run / SHARPENER_FOLDER, ignore_errors=True)


def has_sharpener(source: str) -> bool:
    """Whether what a model is loaded from is a run with a sharpener."""
    return (Path(source) / SHARPENER_FOLDER / _ABOUT).is_file()


def read_sharpener(run: Path, weights_sha256: Callable[[], str]) -> Sharpener | None:
    """The sharpener of a run; `None` where it has none.

    Args:
        run: its folder.
        weights_sha256: of the run's weights; asked for where there is one.

    Raises:
        UserError: it is damaged, or was trained for other weights.
    """
    folder = run / SHARPENER_FOLDER
    if not has_sharpener(str(run)):
        return None
    about = read_json(folder / _ABOUT)
    try:
        if about["format"] > _FORMAT:
            raise UserError(f"{folder} was written by a newer samtune: upgrade this one")
        if about["weights_sha256"] != weights_sha256():
            raise UserError(
                f"{folder} sharpens the masks of other weights than those of {run}: remove the folder, "
                "or tune again"
            )
        sharpener = Sharpener(_settings_of(about))
        state = load_file(str(folder / _WEIGHTS))
        sharpener.load_state_dict(state)
    except UserError:
        raise
    except Exception as error:  # whatever damaged bytes make of it
        raise UserError(
            f"{folder} is damaged ({first_line(error)}): remove it, or tune again"
        ) from error
    if not all(bool(torch.isfinite(value).all()) for value in state.values()):
        raise UserError(f"{folder} holds weights that are no numbers: remove it, or tune again")
    return sharpener.eval().requires_grad_(False)


def _settings_of(about: dict[str, object]) -> SharpenerSettings:
    """Settings within bounds: a damaged file must not ask for more memory than there is."""
    settings = SharpenerSettings(
        int(str(about["cells"])), float(str(about["ratio"])),
        tuple(int(width) for width in list(about["widths"])),  # type: ignore[call-overload]
        float(str(about["amount"])),
    )  # fmt: skip
    is_sized = 8 <= settings.cells <= 512 and settings.cells % 2 ** len(settings.widths) == 0
    is_narrow = 0 < len(settings.widths) <= 5 and max(settings.widths) <= 512
    if not (is_sized and is_narrow and 0 <= settings.amount <= 1 and 0.5 <= settings.ratio <= 16):
        raise ValueError(f"settings out of bounds: {settings}")
    return settings


def sharpener_sha256(sharpener: Sharpener) -> str:
    """Of weights and settings: what its answers depend on."""
    digest = hashlib.sha256(repr((CHANNELS, sharpener.settings)).encode())
    for name, value in sorted(sharpener.state_dict().items()):
        digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
