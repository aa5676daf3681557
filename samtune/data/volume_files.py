"""Which files of a folder are volumes, and which their labels."""

from pathlib import Path

from samtune.data.dicom_io import is_dicom
from samtune.data.volume_io import VOLUME_SUFFIXES
from samtune.errors import UserError


def volume_id(file: Path) -> str:
    """The name of a volume without `_image` and suffixes."""
    return _stem(file).removesuffix("_image")


def _stem(file: Path) -> str:
    suffix = next((s for s in VOLUME_SUFFIXES if file.name.lower().endswith(s)), "")
    return file.name[: len(file.name) - len(suffix)]


def find_volumes(path: Path) -> list[tuple[Path, Path]]:
    """Volumes with their labels.

    Raises:
        UserError: a volume lacks its labels.
    """
    inside = _volumes(path / "images")
    images = inside or [file for file in _volumes(path) if _stem(file).endswith("_image")]
    return [(image, _find_labels(path, image)) for image in images]


def _find_labels(path: Path, image: Path) -> Path:
    is_beside = image.parent == path
    folder = path if is_beside else path / "labels"
    stem = f"{volume_id(image)}_label" if is_beside else volume_id(image)
    places = [folder / f"{stem}{suffix}" for suffix in VOLUME_SUFFIXES]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise UserError(f"{image} has no labels: expected {places[0]}, .nrrd, .mha or .dcm")
    return found


def _volumes(folder: Path) -> list[Path]:
    """Files of volumes, and folders of DICOM series."""
    if not folder.is_dir():
        return []
    return [
        entry
        for entry in sorted(folder.iterdir())
        if (entry.is_file() and entry.name.lower().endswith(VOLUME_SUFFIXES))
        or (entry.is_dir() and folder.name == "images" and is_dicom(entry))
    ]


def holds_volumes(path: Path) -> bool:
    """Whether a folder has volumes; single DICOM pictures beside masks are none."""
    inside = _volumes(path / "images")
    if inside and all(is_dicom(file) for file in inside):
        return bool(_volumes(path / "labels"))
    return bool(inside or _volumes(path))
