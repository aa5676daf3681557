"""Objects that nobody has clicked on: found everywhere in an image, or labelled before.

A person accepts or rejects them.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from samtune.data.coco_annotations import decode_annotations
from samtune.data.objects import find_objects, object_mask
from samtune.data.source import tile_starts
from samtune.errors import UserError
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.models.backend import Sam
from samtune.page.state import Accepted, By
from samtune.parsing import read_json
from samtune.types import ImageArray

# Where nothing was fitted for the model: points along a side of the grid, and thresholds. A person
# looks at all that is found, so that they are lower than those of masks that nobody looks at.
_POINTS, _LEAST_SCORE, _LEAST_STABILITY = 16, 0.5, 0.8
# What overlaps an accepted object by so much is that object.
_SAME = 0.5


def find_everything(
    sam: Sam, image: ImageArray, tile: int, by: By, name: str, known: Iterable[Accepted]
) -> tuple[Accepted, ...]:
    """What an automatic search finds besides what is known, the most doubtful first.

    Args:
        sam: with its fitted thresholds, where it has some.
        image: (H, W, 3), as the network is to see it.
        tile: side of the windows that are searched; 0 is the whole image.
        by: who finds it.
        name: of its class.
        known: objects of the image.

    Raises:
        UserError: the network answers with NaN.
    """
    if sam.thresholds is not None:
        generator = AutomaticMaskGenerator(sam, sam.thresholds.points_per_side)
    else:
        generator = AutomaticMaskGenerator(
            sam, _POINTS, pred_iou_thresh=_LEAST_SCORE, stability_score_thresh=_LEAST_STABILITY
        )
    hw = (image.shape[0], image.shape[1])
    tiles = []
    if 0 < tile < max(hw):
        tiles = [
            (x, y, min(x + tile, hw[1]), min(y + tile, hw[0]))
            for y in tile_starts(hw[0], tile, tile // 4)
            for x in tile_starts(hw[1], tile, tile // 4)
        ]
    taken = [each.mask for each in known]
    found = []
    for each in generator.search(image, tiles):
        x0, y0 = each.box_xyxy[:2].tolist()
        mask = PlacedMask(y0, x0, each.cropped())
        if all(placed_iou(mask, other) < _SAME for other in taken):
            found.append((each.predicted_iou, mask))
    found.sort(key=lambda pair: pair[0])
    return tuple(
        Accepted(number, name, mask.to_rle(hw), by, float(score))
        for number, (score, mask) in enumerate(found, start=1)
    )


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


def _read_review(file: Path) -> Mapping[str, float]:
    """The least trust of each image with an object that was not accepted.

    Raises:
        UserError: the file is none of prelabel's.
    """
    import csv

    from samtune.escaping import text_of_csv

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
