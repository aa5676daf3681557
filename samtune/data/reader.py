"""What a data format is: how it recognises itself, its images, and what it holds of each."""

from abc import abstractmethod
from pathlib import Path

from samtune.data.objects import split_components
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.data.source import Source
from samtune.data.splits import split_source
from samtune.types import ImageArray, LabelArray, Sample

Loaded = tuple[ImageArray, LabelArray, dict[int, str]]


class Reader(Source):
    """A format. Its module says what lies where; opening it fills `records`.

    Args:
        path: the folder or file.
        settings: how to read.

    Raises:
        UserError: the data are not of this format, incomplete or damaged.
    """

    settings: SourceSettings

    @abstractmethod
    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None: ...

    @classmethod
    @abstractmethod
    def recognises(cls, path: Path) -> bool:
        """Whether a folder or file looks like this format; asked in the order of `READERS`."""

    @classmethod
    def open(cls, path: Path, settings: SourceSettings, splits: SplitSettings) -> dict[str, Source]:
        """The data by split."""
        return split_source(cls(path, settings), splits)

    @abstractmethod
    def load(self, index: int) -> Loaded:
        """The image (H, W, 3), labels (L, H, W) and the class of each object that has one.

        Raises:
            UserError: a file cannot be read, or image and labels differ in size.
        """

    def read(self, index: int) -> Sample:
        record = self.records[index]
        image, labels, classes = self.load(index)
        if self.settings.with_components:
            labels, classes = split_components(labels, classes)
        return Sample(record.image_id, image, labels, classes, record.group)
