"""Objects that were labelled before, by `samtune prelabel`: a person accepts or rejects them."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samtune.data.coco_annotations import decode_annotations
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import Record
from samtune.errors import UserError
from samtune.escaping import text_of_csv
from samtune.images.naming import match_names
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.state import Accepted, By
from samtune.parsing import read_json


class Prelabels:
    """What `samtune prelabel` has written: objects by image, and how far each is to be trusted.

    Args:
        file: the COCO file; of review.csv beside it the least trust of each image is taken.

    Attributes:
        names: of its images.
        trusts: by name of the image, of those with an object that is not accepted.

    Raises:
        UserError: it is no such file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        content = read_json(file)
        try:
            self._names = {each["id"]: str(each["name"]) for each in content["categories"]}
            self._images = {str(each["file_name"]): each for each in content["images"]}
            self.names = list(self._images)
            self._annotations: dict[Any, list[dict[str, Any]]] = {}
            for each in content["annotations"]:
                self._annotations.setdefault(each["image_id"], []).append(each)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{file} is no COCO file of samtune prelabel: it lacks {error}"
            ) from error
        review = file.with_name("review.csv")
        self.trusts = _read_review(review) if review.is_file() else {}

    def objects(self, name: str, hw: tuple[int, int], by: By) -> tuple[Accepted, ...]:
        """Objects of an image, the most doubtful first.

        Args:
            name: of its file, one of `names`.
            hw: its height and width.
            by: who made them.

        Raises:
            UserError: a mask cannot be read, or is of another size.
        """
        annotations = self._annotations.get(self._images[name]["id"], [])
        annotations = sorted(annotations, key=lambda each: each.get("score") or 0.0)
        numbered = [{**each, "id": n} for n, each in enumerate(annotations, start=1)]
        for each in numbered:
            each.pop("object_id", None)
        labels, _ = decode_annotations(numbered, hw, self.file)
        found = []
        for place in find_objects(labels):
            about = numbered[place.object_id - 1]
            rle = PlacedMask.of(object_mask(labels, place)).to_rle(hw)
            kind = self._names.get(about.get("category_id"), "")
            found.append(Accepted(place.object_id, kind, rle, by, about.get("score")))
        return tuple(found)

    @property
    def classes(self) -> Sequence[str]:
        return list(self._names.values())


class Prelabelled:
    """What was labelled before of the images of a session.

    Args:
        prelabels: what was written; `None` is nothing.
        records: of the images.

    Attributes:
        is_there: whether anything was.
        trusts: by id of the image, of those with an object that is not accepted.
        classes: names of what was labelled.

    Raises:
        UserError: it is about none of the images.
    """

    def __init__(self, prelabels: Prelabels | None, records: Sequence[Record]) -> None:
        self._prelabels, self._names = prelabels, dict[str, str]()
        self.is_there = prelabels is not None
        self.trusts: dict[str, float] = {}
        self.classes: list[str] = []
        if prelabels is None:
            return
        names, _ = match_names(prelabels.names, {each.image_id: each.path for each in records})
        if not names:
            raise UserError(
                f"{prelabels.file} is about none of these images: it names "
                f"{next(iter(prelabels.names), 'none')}, and opened is {records[0].path.name}, among "
                "others: open the images that samtune prelabel was given"
            )
        self._names = {image_id: name for name, image_id in names.items()}
        self.trusts = {names[n]: trust for n, trust in prelabels.trusts.items() if n in names}
        self.classes = [each for each in prelabels.classes if each]

    def objects(self, image_id: str, hw: tuple[int, int], by: By) -> tuple[Accepted, ...]:
        """Of an image, the most doubtful first.

        Raises:
            UserError: a mask cannot be read, or is of another size.
        """
        name = self._names.get(image_id)
        if self._prelabels is None or name is None:
            return ()
        return self._prelabels.objects(name, hw, by)


def _read_review(file: Path) -> Mapping[str, float]:
    """The least trust of each image with an object that was not accepted.

    Raises:
        UserError: the file is none of prelabel's.
    """
    trusts: dict[str, float] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            for row in csv.DictReader(lines):
                if row["decision"] != "accept":
                    name = text_of_csv(row["image"])
                    trusts[name] = min(trusts.get(name, 1.0), float(row["trust"]))
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{file} cannot be read as review.csv of samtune prelabel: {error}"
        ) from error
    return trusts
