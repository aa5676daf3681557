"""Sequences of microscopes in the layout of the Cell Tracking Challenge.

PATH/01/t000.tif          the frames of a sequence, which is a group
PATH/01_GT/SEG/man_seg000.tif      gold truth, a number for each cell: of some frames, drawn by people
PATH/01_ST/SEG/man_seg000.tif      silver truth, joined from the answers of programs: of the others
PATH/01_GT/TRA/man_track000.tif    not read: markers, which need not cover their cells
PATH/manifest.csv                  optional: a row for each sequence
PATH/NAME/01, PATH/{train,test}/NAME/01    optional: several data sets, splits as folders

Frames that are volumes are refused. Layout: https://celltrackingchallenge.net/datasets/ (naming and
file content conventions)
"""

import re
from collections.abc import Iterator
from pathlib import Path

from samtune.data.label_maps import check_size, interpret_labels
from samtune.data.left_out import LeftOut
from samtune.data.manifest import Manifest
from samtune.data.reader import Loaded, Reader
from samtune.data.settings import SourceSettings
from samtune.data.source import Record
from samtune.data.splits import splits_in
from samtune.data.volumes.tiff_stack import is_stack
from samtune.errors import UserError
from samtune.images.kinds import is_mask, is_picture
from samtune.images.labels import read_labels
from samtune.wording import counted

# Endings of the folders of truth, the better before the worse
_TRUTHS = ("_GT", "_ST")
_OUTLINES = "SEG"
_FRAME = re.compile(r"t(\d+)\.\w+", re.IGNORECASE)
# The second number is that of the one slice that is drawn in a volume
_LABELS = re.compile(r"man_seg_?(\d+)(_\d+)?\.\w+", re.IGNORECASE)
# Folders between the path and its sequences: a split, a data set
_DEPTH = 2


class CellTracking(Reader):
    """Frames that have outlines of their cells.

    Args:
        path: the folder described at the top of this module.
        settings: how to read.

    Raises:
        UserError: there are no such frames, two have one number, or they are volumes.
    """

    def __init__(self, path: Path, settings: SourceSettings | None = None) -> None:
        self.path, self.settings = path, settings or SourceSettings()
        self.records: list[Record] = []
        self._labels: list[Path] = []
        self._left_out, self._num_silver = LeftOut(), 0
        manifest = Manifest(path)
        sequences = sorted(set(_sequences(path)))
        top = {sequence: sequence.relative_to(path).parts[0] for sequence in sequences}
        splits = splits_in(set(top.values()))
        are_divided = len({splits.get(name, "") for name in top.values()}) > 1
        for sequence in sequences:
            self._add(sequence, splits.get(top[sequence], "") if are_divided else "", manifest)
        if not self.records:
            raise UserError(
                f"{path} holds no frames with outlines: expected 01/t000.tif with "
                "01_GT/SEG/man_seg000.tif, say"
            )

    @classmethod
    def recognises(cls, path: Path) -> bool:
        return path.is_dir() and any(_sequences(path))

    def _add(self, sequence: Path, split: str, manifest: Manifest) -> None:
        """The frames of a sequence that have outlines."""
        name = sequence.relative_to(self.path).as_posix()
        frames = _by_number(sequence, _FRAME)
        gold, silver = (self._outlines(sequence, ending) for ending in _TRUTHS)
        for number, file in frames.items():
            labels = gold.pop(number, None) or silver.get(number)
            if labels is None:
                self._left_out.add("frame", "without outlines (markers in TRA are none)", file)
                continue
            if is_stack(file, with_unnamed=True):
                raise UserError(
                    f"{file} is a volume: give its frames as volumes, t000.tif in a folder images and "
                    "its man_seg000.tif as t000.tif in a folder labels beside it"
                )
            self._num_silver += labels.parent.parent.name.endswith(_TRUTHS[1])
            self._labels.append(labels)
            image_id = f"{name}/{file.stem}"
            self.records.append(manifest.record(image_id, file, split, name=name, group=name))
        self._left_out.add_all("file of outlines", "without a frame", gold.values())

    def _outlines(self, sequence: Path, ending: str) -> dict[int, Path]:
        folder = _truth(sequence, ending)
        if folder.is_dir():
            slices = (
                f for f in sorted(folder.iterdir()) if (m := _LABELS.fullmatch(f.name)) and m[2]
            )
            self._left_out.add_all("slice", "that is drawn alone in a volume", slices)
        return {n: f for n, f in _by_number(folder, _LABELS).items() if is_mask(f)}

    @property
    def notes(self) -> list[str]:
        notes = self._left_out.notes(self.path)
        if self._num_silver:
            notes.append(
                f"{self.path}: {counted(self._num_silver, 'frame')} of {len(self.records)} have silver "
                "truth alone (_ST), which programs made"
            )
        return notes

    def load(self, index: int) -> Loaded:
        image = self.settings.reading.read(self.records[index].path)
        file = self._labels[index]
        values = read_labels(file)
        check_size(values.shape[:2], image.shape[:2], file)
        return image, *interpret_labels(values, self.settings, "instances", file)


def _sequences(path: Path) -> Iterator[Path]:
    """Folders of frames with a folder of outlines beside them; those with both truths come twice."""
    for depth in range(_DEPTH + 1):
        for truth in path.glob("/".join([*"*" * depth, "*_?T"])):
            sequence = truth.with_name(truth.name[: -len(_TRUTHS[0])])
            if truth.name.endswith(_TRUTHS) and (truth / _OUTLINES).is_dir() and sequence.is_dir():
                yield sequence


def _truth(sequence: Path, ending: str) -> Path:
    return sequence.with_name(sequence.name + ending) / _OUTLINES


def _by_number(folder: Path, pattern: re.Pattern[str]) -> dict[int, Path]:
    """Pictures of a folder by the number in their names, in its order; those of one slice are none."""
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = pattern.fullmatch(file.name)
        if match is None or (match.lastindex or 0) > 1 or not is_picture(file):
            continue
        first = found.setdefault(int(match[1]), file)
        if first != file:
            raise UserError(f"{first} and {file} have one number: which is meant cannot be told")
    return dict(sorted(found.items()))
