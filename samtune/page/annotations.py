"""The folder that a session leaves: what was accepted, in a form that `samtune fit` takes.

    train.json, val.json     COCO with run lengths: the record; val holds the images that are held out
    images/ID.png, ID.json   the images with objects, and the objects as labelme's polygons
    label_maps/ID.png        the number of each object; of two that overlap, the later one lies on top
    cutouts/ID_N.png         each object alone, the rest transparent
    objects.gpkg             of a scene: all objects on the map
    volume/                  of a volume: images/NAME.*, labels/NAME.nii.gz, dataset.json
    session.json             prompts that were begun, classes
    rounds.json, rounds/     what was tuned on them: see `rounds.py`

COCO is written first and read again; the others are made from it. Every file is replaced as a whole, so
that a crash at any moment leaves what was accepted last. COCO names the images that it was written for,
whose other files are made anew when the folder is opened again.
"""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from samtune.coco import CocoFile
from samtune.data.writing import labelme_content, write_label_map
from samtune.drawing import to_png
from samtune.errors import UserError
from samtune.files import is_file, write_bytes, write_json
from samtune.inference.outputs import cutout
from samtune.page.state import Accepted, Side, Status
from samtune.parsing import read_json
from samtune.reading import Reading
from samtune.types import ImageArray, Window

MADE_BY = "samtune open"
SPLITS = {False: "train", True: "val"}


@dataclass(frozen=True, eq=False)
class Entry:
    """What is written of an image.

    Attributes:
        image_id: in the source.
        file_name: under the folder.
        hw: height and width.
        objects: that were accepted.
        status: how far the image is.
        group: what it belongs to: images of one group are on one side.
        side: what it is for; `None` while it had no objects yet.
    """

    image_id: str
    file_name: str
    hw: tuple[int, int]
    objects: tuple[Accepted, ...] = ()
    status: Status = "in work"
    group: str = ""
    side: Side | None = None

    @property
    def is_held_out(self) -> bool:
        return self.side is not None and self.side.is_held_out

    @property
    def is_used(self) -> bool:
        """Whether a round of tuning has something of it."""
        return bool(self.objects) and self.side is not None and self.side.is_used


class Annotations:
    """Reads and writes the folder.

    Args:
        folder: where it is, or is to be.
        reading: how the files in images/ are to be read; COCO's `info` says it.

    Attributes:
        entries: by id of the image, in the order in which they were begun.
        unfinished: ids of images whose other files may not be those of COCO: it was written for them
            last.

    Raises:
        UserError: what lies there was not written by a session.
    """

    def __init__(self, folder: Path, reading: Reading) -> None:
        self.folder, self._reading = folder, reading
        self.entries: dict[str, Entry] = {}
        # held-out images last: one that a crash left in both files is held out
        last = [self._read(SPLITS[is_held_out], is_held_out) for is_held_out in (False, True)]
        self.unfinished = {image_id for changed in last for image_id in changed}

    def write(self, entries: Sequence[Entry], image_of: Callable[[str], ImageArray]) -> None:
        """Keep what is known of images; returns when it is on the disk.

        Args:
            entries: what is known.
            image_of: an image (H, W, 3) by its id.
        """
        before = {each.image_id: self.entries.get(each.image_id) for each in entries}
        self.entries |= {each.image_id: each for each in entries}
        olds = [old for old in before.values() if old is not None]
        for is_held_out in SPLITS:
            if any(each.is_held_out == is_held_out for each in (*entries, *olds)):
                self._write_coco(is_held_out, [each.image_id for each in entries])
        for each in entries:
            self.write_others(each, image_of(each.image_id), before[each.image_id])

    def restore(self, entries: Mapping[str, Entry]) -> None:
        """Go back to entries that were known, in the files as far as these can be written."""
        changed = [name for name, each in self.entries.items() if each is not entries.get(name)]
        self.entries = dict(entries)
        with suppress(OSError):
            for is_held_out in SPLITS if changed else ():
                self._write_coco(is_held_out, changed)

    def write_session(self, content: Mapping[str, Any]) -> None:
        """Keep what is no annotation."""
        text = json.dumps(content, indent=1, allow_nan=False)
        write_bytes(self.folder / "session.json", text.encode(), is_durable=False)

    def read_session(self) -> dict[str, Any]:
        """What `write_session` kept; nothing in a new folder.

        Raises:
            UserError: the file is damaged.
        """
        place = self.folder / "session.json"
        if not is_file(place):
            return {}
        content = read_json(place)
        if not isinstance(content, dict):
            raise UserError(f"{place} is no file of a session: delete it to begin without it")
        return content

    def of_split(self, is_held_out: bool) -> list[Entry]:
        return [each for each in self.entries.values() if each.is_held_out == is_held_out]

    def _write_coco(self, is_held_out: bool, changed: Sequence[str]) -> None:
        place, buffer = self.folder / f"{SPLITS[is_held_out]}.json", io.BytesIO()
        if not self.of_split(is_held_out):  # a COCO file without images is none
            place.unlink(missing_ok=True)
            return
        info = {
            "description": MADE_BY,
            "changed": list(changed),
            "reading": self._reading.as_dict(),
        }
        file = CocoFile(buffer, info)
        for entry in self.of_split(is_held_out):
            about: dict[str, Any] = {"sample_id": entry.image_id, "status": entry.status}
            about |= {"group": entry.group, **_told_side(entry.side)}
            number = file.add_image(entry.file_name, entry.hw, None, **about)
            for each in entry.objects:
                mask = each.mask
                box = np.array([0, 0, -1, -1]) if mask.box is None else mask.box
                file.add_object(
                    number, file.category(each.name or "object"), each.rle, box, mask.area,
                    object_id=each.number, by=each.by, score=each.score,
                )  # fmt: skip
        file.finish()
        write_bytes(place, buffer.getvalue())

    def write_others(self, entry: Entry, image: ImageArray, before: Entry | None = None) -> None:
        """What is made from COCO; cut-outs of objects that were there before are left as they are."""
        stem = Path(entry.file_name).stem
        labels, masks = np.zeros(entry.hw, np.int32), []
        for each in entry.objects:
            whole = each.mask.whole(entry.hw)
            labels[whole] = each.number
            masks.append((each.name, whole))
        write_label_map(self.folder / "label_maps" / stem, labels)
        image_file = self.folder / entry.file_name
        content = labelme_content(image_file.name, entry.hw, masks)
        write_json(image_file.with_suffix(".json"), content)
        same = () if before is None else before.objects
        for each in same:
            if each not in entry.objects:
                self._cutout(stem, each).unlink(missing_ok=True)
        for each, (_, whole) in zip(entry.objects, masks, strict=True):
            if each not in same:
                write_bytes(
                    self._cutout(stem, each), to_png(cutout(image, whole)), is_durable=False
                )

    def _cutout(self, stem: str, made: Accepted) -> Path:
        return self.folder / "cutouts" / f"{stem}_{made.number}.png"

    def _read(self, split: str, is_held_out: bool) -> list[str]:
        """Read one COCO file; returns the ids of the images that it was last written for."""
        place = self.folder / f"{split}.json"
        if not is_file(place):
            return []
        content = read_json(place)
        try:
            if content["info"]["description"] != MADE_BY:
                raise KeyError("description")
            self._take(content, is_held_out)
            return [str(each) for each in content["info"]["changed"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f"{place} was not written by samtune open (it lacks {error}): give another --out"
            ) from error

    def _take(self, content: dict[str, Any], is_held_out: bool) -> None:
        names = {each["id"]: each["name"] for each in content["categories"]}
        found: dict[int, Entry] = {}
        for image in content["images"]:
            hw = (int(image["height"]), int(image["width"]))
            image_id = str(image["sample_id"])
            found[image["id"]] = Entry(
                image_id, str(image["file_name"]), hw, (), image["status"],
                str(image.get("group", image_id)), _read_side(image, is_held_out),
            )  # fmt: skip
        for each in content["annotations"]:
            made = Accepted(
                int(each["object_id"]), names[each["category_id"]], each["segmentation"],
                each["by"], each["score"],
            )  # fmt: skip
            entry = found[each["image_id"]]
            found[each["image_id"]] = replace(entry, objects=(*entry.objects, made))
        self.entries |= {entry.image_id: entry for entry in found.values()}


def _told_side(side: Side | None) -> dict[str, Any]:
    """A side as COCO has it: `part` is what samtune's reader takes of the image."""
    if side is None:
        return {"has_side": False}
    part = side.part
    return {} if part is None else {"part": [part.x, part.y, part.width, part.height]}


def _read_side(image: Mapping[str, Any], is_held_out: bool) -> Side | None:
    """What was told of the side of an image, which stands in the file of that side."""
    if not image.get("has_side", True):
        return None
    x, y, width, height = image.get("part", (0, 0, image["width"], image["height"]))
    return Side(is_held_out, Window(y, x, height, width) if "part" in image else None)
