"""The images that a session goes through: a data set with its truth, or plain pictures without."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from samtune.data.checks.findings import DARK
from samtune.data.checks.grouping import find_group_regex
from samtune.data.formats import find_format, open_splits
from samtune.data.geo.finding import RASTER_SUFFIXES
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.data.source import Joined, Record, Source
from samtune.data.volumes.tiff_stack import is_stack
from samtune.data.volumes.voxels import is_volume_file, read_geometry
from samtune.errors import UserError, require
from samtune.files import is_file, is_folder
from samtune.images.dicom import is_dicom
from samtune.images.naming import distinct_stems, list_images
from samtune.page.parts import SceneWindows, VolumeSlices
from samtune.reading import Reading
from samtune.types import Sample

# Images that are looked at for whether they are dark
_LOOKED_AT = 5
# Side of the largest raster that is shown as one picture, where it does not say where it lies
_LARGEST_PICTURE = 4096


class Pictures(Source):
    """Images of folders, or single files, of which nothing is known.

    Args:
        paths: folders and files.
        reading: of the pixels.
        without: folders that are not looked into.

    Raises:
        UserError: there are none.
    """

    def __init__(
        self, paths: Sequence[Path], reading: Reading, without: Sequence[Path] = ()
    ) -> None:
        self.reading = reading
        stems = distinct_stems({path: name for name, path in list_images(paths, without).items()})
        # names tie frames of one video or tiles of one picture together, as in `samtune init`
        pattern = find_group_regex(list(stems.values()))
        self.records = [
            Record(
                stem, path, group=found[1] if (found := re.match(pattern, stem)) and pattern else ""
            )
            for path, stem in stems.items()
        ]

    def read(self, index: int) -> Sample:
        record = self.records[index]
        image = self.reading.read(record.path)
        return Sample(record.image_id, image, np.zeros((1, *image.shape[:2]), np.int32))


class AllSplits(Joined):
    """The splits of a data set, one after the other; records say which one they are of.

    Raises:
        UserError: two images have one id.
    """

    def __init__(self, splits: Mapping[str, Source]) -> None:
        super().__init__(list(splits.values()))
        self.records = [
            replace(record, split=name)
            for name, source in splits.items()
            for record in source.records
        ]
        ids = {record.image_id for record in self.records}
        if len(ids) < len(self.records):
            raise UserError("two images have the same name: give them folders of their own")


@dataclass(frozen=True)
class Images:
    """What a session goes through.

    Attributes:
        source: images, as the model is to see them.
        has_truth: whether the labels of its samples are the truth; otherwise nobody knows it.
        notes: what to know of them before masks are trusted.
    """

    source: Source
    has_truth: bool
    notes: Sequence[str] = ()


def open_images(paths: Sequence[Path], reading: Reading, without: Sequence[Path] = ()) -> Images:
    """Open a data set, as `samtune fit` would, or any pictures.

    Args:
        paths: one data set; or folders and files of pictures.
        reading: of the pixels.
        without: folders that are not looked into.

    Raises:
        UserError: a path does not exist, there are no images, or a data set cannot be read.
    """
    (first, *others) = paths
    if not others and (part := _parts_of(first, reading)) is not None:
        return Images(part, False)
    kind = None if others or not is_folder(first) else find_format(first)
    if kind is None:
        return Images(Pictures(paths, reading, without), False)
    splits = open_splits(first, kind, SourceSettings(reading), SplitSettings())
    return Images(AllSplits(splits), True)


def told_darkness(images: Images, reading: Reading) -> list[str]:
    """That a base sees pictures as dark as they are stored, and what to do.

    Args:
        images: of which a few are looked at.
        reading: by which they are read.

    Raises:
        UserError: one cannot be read.
    """
    source = images.source
    if reading.stretch != "none" or not isinstance(source, Pictures):
        return []
    places = range(0, len(source), -(-len(source) // _LOOKED_AT))
    brightness = float(np.median([source.read(place).image.mean() for place in places]))
    if brightness >= DARK:
        return []
    return [f"the images are dark ({brightness:.0f} of 255): open them with --reading.stretch auto"]


def _is_volume(path: Path) -> bool:
    """Whether it is one: a file, or a folder with the slices of one DICOM series."""
    if is_file(path) and not is_dicom(path) and (is_volume_file(path) or is_stack(path)):
        return True
    if not path.exists() or not is_dicom(path):
        return False
    try:
        geometry = read_geometry(path)
    except UserError:  # single pictures, or several series
        return False
    return geometry.frame_axis is not None and geometry.shape[geometry.frame_axis] > 1


def _parts_of(file: Path, reading: Reading) -> Source | None:
    """The slices of a volume, or the windows of a scene; `None` of a picture.

    Raises:
        UserError: the volume cannot be read.
    """
    name = file.name.lower()
    if _is_volume(file):
        return VolumeSlices(file, reading)
    if not is_file(file) or not name.endswith(RASTER_SUFFIXES) or find_spec("rasterio") is None:
        return None
    try:
        windows = SceneWindows(file, reading)
    except UserError:  # of the TIFFs of microscopes some are none of a GIS
        return None
    is_large = max(windows.scene.height, windows.scene.width) > _LARGEST_PICTURE
    if not windows.scene.is_placed and not is_large:
        return None
    for library in (
        "shapely",
        "pyogrio",
    ):  # that the map is written with: told before anything is done
        require(library, "geo")
    return windows
