"""What every data format offers: a list of records, and a sample for each."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.images.kinds import ImageFile
from samtune.images.pixels import image_hw, read_pixels
from samtune.prompts.seeding import object_rng
from samtune.types import Sample, Window

# Columns of a record that hold the size of a pixel: between rows, between columns, and its unit.
SPACING_COLUMNS = ("spacing_row", "spacing_column", "spacing_unit")


def spacing_columns(row: float, column: float, unit: str) -> dict[str, str]:
    """The size of a pixel as columns of a record."""
    return dict(zip(SPACING_COLUMNS, (f"{row:g}", f"{column:g}", unit), strict=True))


@dataclass(frozen=True)
class Record:
    """One image of a source, before it is read.

    Attributes:
        image_id: unique within the source.
        path: the image file.
        split: `train`, `val`, `test` as the data says, or empty.
        group: what must not be torn apart by a drawn split; empty means the image itself.
        columns: its row in the manifest, if there is one.
    """

    image_id: str
    path: Path
    split: str = ""
    group: str = ""
    columns: tuple[tuple[str, str], ...] = ()


def require_own_files(records: Iterable[Record], file: Path) -> None:
    """Refuse two images whose names lead to one picture, which can be of one of them alone.

    Args:
        records: of images that have a file each.
        file: that names them.

    Raises:
        UserError: there are such.
    """
    first: dict[Path, Record] = {}
    for record in records:
        other = first.setdefault(record.path, record)
        if other is not record:
            raise UserError(
                f"{file} names the images {other.image_id} and {record.image_id}, but there is one "
                f"picture for both, {record.path}: keep the folders that the file names, or rename one"
            )


class Source(ABC):
    """Images with their objects, in one format. Reading changes nothing: each worker has a copy."""

    records: Sequence[Record]
    # Whether the records are windows of something larger already.
    is_tiled: bool = False
    # Whether the records are parts of their files: windows, tiles, slices.
    is_part: bool = False

    @property
    def notes(self) -> Sequence[str]:
        """What a user should know of the data, seen when they were opened."""
        return ()

    @property
    def are_bands_told(self) -> bool:
        """Whether nobody has to guess which channels are red, green and blue."""
        return True

    def __len__(self) -> int:
        return len(self.records)

    def num_of_first(self, most: int) -> int:
        """How many records the first so many images have, of which each may be several; 0 for all."""
        return min(len(self), most or len(self))

    @abstractmethod
    def read(self, index: int) -> Sample:
        """Read one image with its objects.

        Raises:
            UserError: a file cannot be read, or image and labels differ in size.
        """

    def image_file(self, index: int) -> ImageFile:
        """Where the pixels of an image are."""
        return self.records[index].path

    def hw(self, index: int) -> tuple[int, int]:
        """Height and width of an image, from the file's header where that is enough."""
        return image_hw(self.image_file(index))

    def stored(self, index: int) -> NDArray[Any]:
        """(H, W, C) values of an image as they are stored, before a stretch or a choice of bands."""
        return read_pixels(self.image_file(index))

    def grounds(self) -> NDArray[np.object_] | None:
        """(N,) polygons of the ground that images show, in one CRS, which meet where it is the same.

        `None` where images are no scenes of a map; so is one that says not where it lies.
        """
        return None


def notes_of(sources: Iterable[Source]) -> list[str]:
    """What the readers noted, once: splits of one source say the same."""
    return list(dict.fromkeys(note for source in sources for note in source.notes))


class Subset(Source):
    """Some records of a source, with the groups and notes that settings have found for them."""

    def __init__(
        self,
        source: Source,
        indices: list[int],
        groups: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        self._notes = notes
        self.source = source
        self.is_tiled, self.is_part = source.is_tiled, source.is_part
        self.indices = indices
        self.records = [source.records[index] for index in indices]
        if groups is not None:
            pairs = zip(self.records, indices, strict=True)
            self.records = [replace(record, group=groups[index]) for record, index in pairs]

    @property
    def notes(self) -> Sequence[str]:
        return [*self.source.notes, *self._notes]

    @property
    def are_bands_told(self) -> bool:
        return self.source.are_bands_told

    def read(self, index: int) -> Sample:
        return replace(self.source.read(self.indices[index]), group=self.records[index].group)

    def image_file(self, index: int) -> ImageFile:
        return self.source.image_file(self.indices[index])

    def hw(self, index: int) -> tuple[int, int]:
        return self.source.hw(self.indices[index])

    def stored(self, index: int) -> NDArray[Any]:
        return self.source.stored(self.indices[index])

    def grounds(self) -> NDArray[np.object_] | None:
        found = self.source.grounds()
        return None if found is None else found[self.indices]


class Joined(Source):
    """Several sources behind each other."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.records = [record for source in sources for record in source.records]
        self.is_tiled = any(source.is_tiled for source in sources)
        self.is_part = any(source.is_part for source in sources)
        self._places = [(source, index) for source in sources for index in range(len(source))]

    @property
    def notes(self) -> Sequence[str]:
        return list(dict.fromkeys(note for source in self.sources for note in source.notes))

    def read(self, index: int) -> Sample:
        source, place = self._places[index]
        return source.read(place)

    def image_file(self, index: int) -> ImageFile:
        source, place = self._places[index]
        return source.image_file(place)

    def hw(self, index: int) -> tuple[int, int]:
        source, place = self._places[index]
        return source.hw(place)

    def stored(self, index: int) -> NDArray[Any]:
        source, place = self._places[index]
        return source.stored(place)

    def grounds(self) -> NDArray[np.object_] | None:
        found = [source.grounds() for source in self.sources if len(source)]
        parts = [part for part in found if part is not None]
        return np.concatenate(parts) if parts and len(parts) == len(found) else None


class Kept:
    """Samples of a source, as many of them kept as fit: views of an image would read it anew.

    Args:
        source: whose they are.
        room: bytes that they may take; 0 keeps none.
    """

    def __init__(self, source: Source, room: int) -> None:
        self._source, self._room = source, room
        self._samples: dict[int, Sample] = {}

    def read(self, index: int) -> Sample:
        """One of them; whoever gets it must not write into it."""
        if index in self._samples:
            return self._samples[index]
        sample = self._source.read(index)
        size = sample.image.nbytes + sample.labels.nbytes
        if size <= self._room:
            self._room -= size
            self._samples[index] = sample
        return sample


class FewObjects(Source):
    """A source of which each image keeps so many objects at most, drawn by a seed.

    Args:
        source: whose images.
        most: objects of an image.
        seed: of the drawing, with the image's id.
    """

    def __init__(self, source: Source, most: int, seed: int) -> None:
        self.source, self.most, self.seed = source, most, seed
        self.records = source.records

    def read(self, index: int) -> Sample:
        sample = self.source.read(index)
        ids = np.unique(sample.labels)
        ids = ids[ids != 0]
        order = object_rng(self.seed, sample.image_id, "few").permutation(len(ids))
        kept = np.isin(sample.labels, ids[order[: self.most]])
        return replace(sample, labels=np.where(kept, sample.labels, 0).astype(sample.labels.dtype))


class Tiles(Source):
    """A source cut into overlapping square tiles, for images larger than the model's input.

    An object on a seam is a part in each tile that it reaches into. The last tile of a row is moved
    inwards so that all tiles are whole; an image smaller than a tile stays as it is.

    Args:
        source: what to cut.
        side: of a tile, pixels.
        overlap: of neighbouring tiles, pixels.
    """

    is_part = True

    def __init__(self, source: Source, side: int, overlap: int) -> None:
        self.source = source
        self.side = side
        self.records: list[Record] = []
        self.places: list[tuple[int, int, int]] = []
        self._last: tuple[int, Sample] | None = None
        for index, record in enumerate(source.records):
            height, width = source.hw(index)
            for y in tile_starts(height, side, overlap):
                for x in tile_starts(width, side, overlap):
                    self.places.append((index, y, x))
                    name, group = f"{record.image_id}@{x},{y}", record.group or record.image_id
                    self.records.append(replace(record, image_id=name, group=group))

    def read(self, index: int) -> Sample:
        number, y, x = self.places[index]
        part = cut(self._read_whole(number), Window(y, x, *self.hw(index)))
        record = self.records[index]
        return replace(part, image_id=record.image_id, group=record.group)

    def _read_whole(self, number: int) -> Sample:
        """The image that a tile is of; the last one is kept, for neighbours are read in a row."""
        if self._last is None or self._last[0] != number:
            self._last = (number, self.source.read(number))
        return self._last[1]

    def num_of_first(self, most: int) -> int:
        wanted = self.source.num_of_first(most)
        return sum(number < wanted for number, _, _ in self.places)

    def hw(self, index: int) -> tuple[int, int]:
        height, width = self.source.hw(self.places[index][0])
        return min(height, self.side), min(width, self.side)


def cut(sample: Sample, window: Window) -> Sample:
    """A window of a sample, as a sample."""
    return replace(
        sample,
        image=sample.image[window.slices].copy(),
        labels=sample.labels[:, *window.slices].copy(),
    )


def tile_starts(length: int, side: int, overlap: int) -> list[int]:
    """First pixels of tiles that cover `length` pixels."""
    if length <= side:
        return [0]
    return [*range(0, length - side, side - overlap), length - side]
