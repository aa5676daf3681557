"""Copying a volume into a folder of volumes, as `finding.py` looks for them there."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from samtune.data.volumes.finding import channel_number
from samtune.data.volumes.voxels import pair_header, volume_stem
from samtune.errors import require
from samtune.files import replacing_file, replacing_folder

# Headers whose voxels lie in other files, and what holds both.
_DETACHED = {".mhd": ".mha", ".nhdr": ".nrrd"}


def volume_name(channels: Sequence[Path]) -> str:
    """What a volume is called in a folder of volumes, and its labels there.

    Args:
        channels: its files: one, or one for each channel.
    """
    first = volume_stem(channels[0])
    return first[: -len("_0000")] if len(channels) > 1 else first.removesuffix("_image")


def copy_volume(channels: Sequence[Path], folder: Path) -> None:
    """Put a volume into a folder, under its name; what lies there already stays.

    Args:
        channels: its files: one, or one for each channel; or a folder of DICOM slices.
        folder: where to.

    Raises:
        UserError: nothing can be written there.
    """
    name = volume_name(channels)
    for file in channels:
        number = f"_{channel_number(file):04d}" if len(channels) > 1 else ""
        suffix = file.name[len(volume_stem(file)) :] if file.is_file() else ""
        place = folder / f"{name}{number}{_DETACHED.get(suffix.lower(), suffix)}"
        if not place.exists():
            _copy(file, place, suffix.lower() in _DETACHED)


def _copy(file: Path, place: Path, is_detached: bool) -> None:
    if file.is_dir():
        with replacing_folder(place) as made:
            shutil.copytree(file, made, dirs_exist_ok=True)
        return
    if header := pair_header(file):
        with replacing_file(place.with_suffix(header.suffix)) as made:
            shutil.copyfile(header, made)
    with replacing_file(place) as made:
        if not is_detached:
            shutil.copyfile(file, made)
            return
        sitk = require("SimpleITK", "medical")
        whole = made.with_name(f"{made.name}{place.suffix}")
        sitk.WriteImage(sitk.ReadImage(str(file)), str(whole), useCompression=True)
        whole.replace(made)
