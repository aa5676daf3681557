"""Which files of a folder are volumes, which their labels, and what these mean.

Besides samtune's own two layouts these are known: nnU-Net's and the Medical Segmentation Decathlon's
(imagesTr, labelsTr, dataset.json) and TotalSegmentator's (a folder for each patient).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from samtune.data.nnunet_layout import (
    FOLDERS,
    DatasetJson,
    channel_of,
    read_dataset_json,
    require_all_channels,
)
from samtune.data.volumes.labels import structure_files
from samtune.data.volumes.tiff_stack import STACKS, is_stack
from samtune.data.volumes.voxels import VOLUME_SUFFIXES, is_volume_file, volume_stem
from samtune.errors import UserError
from samtune.files import is_hidden, name_key
from samtune.images.dicom import is_dicom

# Folders of images and of their labels, and the split that they are of where there are several.
_FOLDERS = (("images", "labels", ""), *FOLDERS)
_STRUCTURES = "segmentations"
# TotalSegmentator's table of patients, with their splits and kinds of studies
_TABLE = "meta.csv"


@dataclass(frozen=True)
class VolumeFiles:
    """A volume with its labels.

    Attributes:
        volume_id: its name, without `_image`, the number of a channel, and suffixes.
        channels: a file, or a folder of DICOM slices; several where each holds a channel.
        labels: a file, or a folder with one for each structure.
        split: as the folders say, or empty.
    """

    volume_id: str
    channels: tuple[Path, ...]
    labels: Path
    split: str = ""

    @property
    def image(self) -> Path:
        """The first channel."""
        return self.channels[0]


@dataclass(frozen=True)
class VolumeSet:
    """Volumes of a folder.

    Attributes:
        files: of each.
        about: what a dataset.json beside them says.
        structures: names of all that have files of their own, in the order of their numbers from 1.
        table: with a row for each, where the layout has one of its own.
    """

    files: list[VolumeFiles]
    about: DatasetJson
    structures: tuple[str, ...] = ()
    table: Path | None = None


def find_volumes(path: Path) -> VolumeSet:
    """Volumes with their labels.

    Raises:
        UserError: a volume lacks its labels, or a folder of one holds several DICOM series or images.
    """
    by_patient = list(_by_patient(path))
    files = [*_beside(path), *by_patient]
    if not files:
        images = [file for file in _volumes(path) if volume_stem(file).endswith("_image")]
        files = list(_paired(images, path, "_label"))
    folders = [each.labels for each in files if _holds_structures(each.labels)]
    structures = sorted({name for folder in folders for name in structure_files(folder)})
    table = path / _TABLE if by_patient and (path / _TABLE).is_file() else None
    return VolumeSet(files, read_dataset_json(path), tuple(structures), table)


def holds_volumes(path: Path) -> bool:
    """Whether a folder has volumes; single DICOM pictures beside masks are none."""
    for images, labels, _ in _FOLDERS:
        if inside := _volumes(path / images, True, path / labels):
            is_told = all(entry.is_dir() or is_dicom(entry) for entry in inside)
            return not is_told or bool(_label_places(path / labels, ""))
    return bool(_volumes(path)) or any(map(_holds_structures, path.glob(f"*/{_STRUCTURES}")))


def channel_number(file: Path) -> int:
    """Which channel a file ID_0001 holds; 0 of one that does not say."""
    channel = channel_of(volume_stem(file))
    return 0 if channel is None else channel[1]


def channel_files(volume: Path) -> list[Path]:
    """The files beside ID_0000 that are other channels of it, that one first."""
    channel = channel_of(volume_stem(volume))
    if channel is None or channel[1] != 0:
        return [volume]
    suffix = volume.name[len(volume_stem(volume)) :]
    others = sorted(volume.parent.glob(f"*_[0-9][0-9][0-9][0-9]{suffix}"))
    return [other for other in others if volume_stem(other)[:-5] == channel[0]]


def _beside(path: Path) -> Iterator[VolumeFiles]:
    """Volumes of folders of images and of labels."""
    found = [
        (path / images, path / labels, split)
        for images, labels, split in _FOLDERS
        if _volumes(path / images, True, path / labels)
        and (split != "test" or _label_places(path / labels, ""))
    ]
    for images, labels, split in found:
        entries = _volumes(images, True, labels)
        yield from _paired(entries, labels, "", split if len(found) > 1 else "")


def _paired(
    entries: list[Path], folder: Path, ending: str, split: str = ""
) -> Iterator[VolumeFiles]:
    """Volumes with the labels of their name, and an ending, in `folder`; channels come together."""
    places, channels = _label_places(folder, ending), dict[str, list[Path]]()
    for entry in entries:
        name = volume_stem(entry).removesuffix("_image")
        channel = channel_of(name)
        if channel and name_key(name) not in places and name_key(channel[0]) in places:
            name = channel[0]
        channels.setdefault(name, []).append(_only_series(entry) if entry.is_dir() else entry)
    for name, files in channels.items():
        if name_key(name) not in places:
            expected = folder / f"{name}{ending}{VOLUME_SUFFIXES[0]}"
            raise UserError(f"{files[0]} has no labels: expected {expected}, .nrrd, .mha or .dcm")
        if len(files) > 1:
            if not all(channel_of(volume_stem(file)) for file in files):
                raise UserError(f"{files[0]} and {files[1]} share a name and so labels: rename one")
            require_all_channels(files[0], [channel_number(file) for file in files])
        yield VolumeFiles(name, tuple(files), places[name_key(name)], split)


def _label_places(folder: Path, ending: str) -> dict[str, Path]:
    """Files of labels, and folders with one for each structure, by `name_key` of their volumes."""
    if not folder.is_dir():
        return {}
    inside = sorted(folder.iterdir(), key=_rank)
    with_stacks = _holds_stacks(inside, with_unnamed=True)
    entries = [
        entry
        for entry in inside
        if (_is_volume_file(entry, with_stacks) if entry.is_file() else _holds_structures(entry))
    ]
    places: dict[str, Path] = {}
    for entry in entries:
        stem = volume_stem(entry)
        if stem.endswith(ending):
            places.setdefault(name_key(stem.removesuffix(ending)), entry)
    return places


def _rank(entry: Path) -> tuple[int, str]:
    """Where two files are of one name, the suffix that stands first counts."""
    suffix = entry.name[len(volume_stem(entry)) :].lower()
    known = suffix in VOLUME_SUFFIXES
    return (VOLUME_SUFFIXES.index(suffix) if known else len(VOLUME_SUFFIXES), entry.name)


def _by_patient(path: Path) -> Iterator[VolumeFiles]:
    """Volumes beside a folder with a file for each structure."""
    for structures in sorted(path.glob(f"*/{_STRUCTURES}")):
        if not _holds_structures(structures):
            continue
        images = _volumes(structures.parent)
        if len(images) != 1:
            names = ", ".join(image.name for image in images[:5]) or "none"
            raise UserError(
                f"{structures.parent} holds {len(images)} volumes beside {_STRUCTURES}/ ({names}): "
                "expected one, their image"
            )
        yield VolumeFiles(structures.parent.name, (images[0],), structures)


def _holds_structures(folder: Path) -> bool:
    return folder.is_dir() and bool(structure_files(folder))


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


def _volumes(folder: Path, with_series: bool = False, labels: Path | None = None) -> list[Path]:
    """Files of volumes, and folders with DICOM series at any depth; TIFFs as their labels are."""
    if not folder.is_dir():
        return []
    entries = sorted(folder.iterdir())
    paged = labels is not None and labels.is_dir() and _holds_stacks(sorted(labels.iterdir()), True)
    with_stacks = _holds_stacks(entries, with_unnamed=paged)
    return [
        entry
        for entry in entries
        if (entry.is_file() and _is_volume_file(entry, with_stacks))
        or (with_series and entry.is_dir() and any(_series(entry, set())))
    ]


def _holds_stacks(entries: list[Path], with_unnamed: bool) -> bool:
    """Whether TIFFs are stacks in z, as the first of them is: opening all would take too long."""
    first = next((each for each in entries if each.name.lower().endswith(STACKS)), None)
    return first is not None and is_stack(first, with_unnamed)


def _is_volume_file(file: Path, with_stacks: bool) -> bool:
    """By its name, or DICOM by its content."""
    if is_hidden(file):
        return False
    is_paged = with_stacks and file.name.lower().endswith(STACKS)
    return is_paged or is_volume_file(file) or is_dicom(file)
