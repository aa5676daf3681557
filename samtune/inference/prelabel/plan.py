"""What is to be done: each image with its detections and its id."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from samtune.errors import UserError
from samtune.images.naming import match_names
from samtune.images.pixels import image_hw
from samtune.inference.prelabel.detections import Detection, Detections, Rejected


@dataclass(frozen=True)
class PlannedImage:
    """One image.

    Attributes:
        name: under the folder given.
        path: the file.
        image_id: the file's of detections where it has ids, else counted from 1.
        detections: in the file's order, perhaps none.
        declared_hw: the size that the file of detections says it has.
    """

    name: str
    path: Path
    image_id: int
    detections: list[Detection]
    declared_hw: tuple[int, int] | None = None

    def require_size(self) -> None:
        """Make sure that the detections are of an image of this size.

        Raises:
            UserError: they are not, or the image cannot be read.
        """
        if self.declared_hw is None:
            return
        (height, width), (its_height, its_width) = self.declared_hw, image_hw(self.path)
        if (height, width) != (its_height, its_width):
            raise UserError(
                f"{self.path} is {its_width}x{its_height} pixels, but the detections are of "
                f"{width}x{height}: give the image that was detected on"
            )


def plan(found: Detections, images: dict[str, Path]) -> list[PlannedImage]:
    """Give detections to images; those of unknown images go from `found.rows` to `found.rejected`.

    Args:
        found: all that a file says.
        images: by name, from `list_images`.
    """
    wanted = [*(row.image for row in found.rows), *found.image_ids, *found.image_hws]
    matches, ambiguous = match_names(wanted, images)
    by_image: dict[str, list[Detection]] = {name: [] for name in images}
    rows, found.rows = found.rows, []
    for row in rows:
        if row.image in matches:
            found.rows.append(row)
            by_image[matches[row.image]].append(row)
            continue
        reason = "several images of that name" if row.image in ambiguous else "unknown image"
        found.rejected.append(Rejected(row.where, row.image, reason))
    hws = {matches[name]: hw for name, hw in found.image_hws.items() if name in matches}
    ids = _image_ids(found, matches, images)
    return [
        PlannedImage(name, path, ids[name], by_image[name], hws.get(name))
        for name, path in images.items()
    ]


def _image_ids(
    found: Detections, matches: dict[str, str], images: dict[str, Path]
) -> dict[str, int]:
    """The file's own ids as far as they differ; the other images come after them."""
    ids = {matches[name]: number for name, number in found.image_ids.items() if name in matches}
    counts = Counter(ids.values())
    ids = {name: number for name, number in ids.items() if counts[number] == 1}
    free = max([0, *ids.values()])
    for name in images:
        if name not in ids:
            free += 1
            ids[name] = free
    return ids
