"""`convert`: write a data set in another format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.data.settings import Target
from samtune.files import replacing_folder, require_new
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_data
from samtune.tasks.results import Result, Rows
from samtune.tasks.settings import DataLike, data_of
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.data.writing import Writer


@dataclass(frozen=True)
class Conversion(Result):
    """A data set that was written.

    Attributes:
        folder: where it is.
        counts: by split, images and objects.
        notes: what of the source was left out, and what else its reader noted.
    """

    folder: Path
    counts: dict[str, tuple[int, int]]
    notes: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        told = ", ".join(
            f"{split} {counted(images, 'image')} with {counted(objects, 'object')}"
            for split, (images, objects) in self.counts.items()
        )
        return f"{self.folder}: {told}"

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "splits": [
                {"split": split, "images": images, "objects": objects}
                for split, (images, objects) in self.counts.items()
            ]
        }


@task
def convert(
    source: str | Path,
    *,
    to: Target,
    out: str | Path,
    data: DataLike = None,
    overwrite: bool = False,
) -> Conversion:
    """Write a data set in another format.

    Splits are kept; images are copied as they are, also out of tars and tables; tiles and slices of
    volumes become 8-bit PNG.

    Args:
        source: folder or file with images and masks.
        to: the format.
        out: folder to write.
        data: settings that say how to read: labels, tile, ...
        overwrite: replace a folder that is there.

    Raises:
        UserError: the folder is there already, or a format cannot hold the objects.
    """
    from samtune.data.writing import WRITERS

    require_new(Path(out), overwrite)
    opened = open_data(None, data=data_of(source, data))
    with replacing_folder(Path(out)) as folder:
        counts = _write_all(opened, WRITERS[to](folder))
    return Conversion(Path(out), counts, opened.notes)


def _write_all(data: SamDataModule, writer: Writer) -> dict[str, tuple[int, int]]:
    from samtune.bars import bar
    from samtune.data.splits import SPLITS

    counts: dict[str, tuple[int, int]] = {}
    sizes = data.split_sizes()
    for split in SPLITS:
        if not sizes.get(split):
            continue
        source = data.source(split)
        num_objects = 0
        for index in bar(range(len(source)), split, "image"):
            sample = source.read(index)
            file = None if source.is_part else source.image_file(index)
            writer.add(split, source.records[index], sample, file)
            num_objects += sum(len(set(layer.ravel().tolist()) - {0}) for layer in sample.labels)
        counts[split] = (len(source), num_objects)
    writer.finish()
    return counts
