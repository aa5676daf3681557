"""Which files of a folder are volumes, and which their labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samtune.data.volumes.voxels import VOLUME_SUFFIXES
from samtune.errors import UserError
from samtune.images.dicom import is_dicom


@dataclass(frozen=True)
class VolumeFiles:
    """A volume with its labels.

    Attributes:
        volume_id: its name, without `_image` and suffixes.
        image: a file, or a folder of DICOM slices.
        labels: a file.
    """

    volume_id: str
    image: Path
    labels: Path


def _stem(file: Path) -> str:
    suffix = next((s for s in VOLUME_SUFFIXES if file.name.lower().endswith(s)), "")
    return file.name[: len(file.name) - len(suffix)]


def find_volumes(path: Path) -> list[VolumeFiles]:
    """Volumes with their labels.

    Raises:
        UserError: a volume lacks its labels, or a folder below `images` holds several DICOM series.
    """
    if inside := _volumes(path / "images"):
        return [_with_labels(entry, path / "labels", "") for entry in inside]
    images = [file for file in _volumes(path) if _stem(file).endswith("_image")]
    return [_with_labels(file, path, "_label") for file in images]


def _with_labels(entry: Path, folder: Path, ending: str) -> VolumeFiles:
    """A file, or a folder with one series, and its labels: its name with an ending in `folder`."""
    name = _stem(entry).removesuffix("_image")
    places = [folder / f"{name}{ending}{suffix}" for suffix in VOLUME_SUFFIXES]
    labels = next((place for place in places if place.is_file()), None)
    if labels is None:
        raise UserError(f"{entry} has no labels: expected {places[0]}, .nrrd, .mha or .dcm")
    return VolumeFiles(name, _only_series(entry) if entry.is_dir() else entry, labels)


def _only_series(folder: Path) -> Path:
    """The folder with the slices of a patient, at any depth."""
    series = list(_series(folder, set()))
    if len(series) > 1:
        names = ", ".join(str(place.relative_to(folder.parent)) for place in series)
        raise UserError(
            f"{folder} holds {len(series)} DICOM series ({names[:120]}): give each a folder of its own "
            f"in {folder.parent}, with labels of its name"
        )
    return series[0]


def _series(folder: Path, visited: set[Path]) -> Iterator[Path]:
    """Folders with DICOM files, from `folder` down; links may lead round in a circle."""
    place = folder.resolve()
    if place in visited:
        return
    visited.add(place)
    if is_dicom(folder):
        yield folder
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            yield from _series(entry, visited)


def _volumes(folder: Path) -> list[Path]:
    """Files of volumes, and folders with DICOM series at any depth."""
    if not folder.is_dir():
        return []
    return [
        entry
        for entry in sorted(folder.iterdir())
        if (entry.is_file() and entry.name.lower().endswith(VOLUME_SUFFIXES))
        or (entry.is_dir() and folder.name == "images" and any(_series(entry, set())))
    ]


def holds_volumes(path: Path) -> bool:
    """Whether a folder has volumes; single DICOM pictures beside masks are none."""
    inside = _volumes(path / "images")
    if inside and all(entry.is_dir() or is_dicom(entry) for entry in inside):
        return bool(_volumes(path / "labels"))
    return bool(inside or _volumes(path))
