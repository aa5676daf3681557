"""What was made of each image: it comes from model, settings, image file, and detections."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.images.pixels import image_hw
from samtune.inference.prelabel.detections import Detection, Rejected
from samtune.inference.prelabel.labelling import ImagePrelabels, Prelabel, prelabel
from samtune.models.backend import Sam
from samtune.models.loading import tuned_sha256
from samtune.models.metadata import describe
from samtune.parsing import read_json
from samtune.progress import Progress, stamp
from samtune.reading import Reading
from samtune.types import ImageArray

# What could not be used, of a run in which nothing could.
REJECTED = "rejected.json"
_FORMAT = 2


class PrelabelStore(Progress):
    """Segments images, or reads what was made of them before.

    Args:
        folder: where to keep it.
        sam: in evaluation mode.
        reading: of the images, and the side of the windows that objects are looked at in.
        with_focus: small objects are looked at in a window around them.
        causes: what else the results depend on.
    """

    def __init__(
        self, folder: Path, sam: Sam, reading: Reading, with_focus: bool = True, *causes: Any
    ) -> None:
        self.sam, self.reading, self.with_focus = sam, reading, with_focus
        calibration = sam.calibration and asdict(sam.calibration)
        about = {**describe(sam), "reading": reading.as_dict(), "side": sam.image_size}
        super().__init__(
            folder, _FORMAT, tuned_sha256(sam), about, calibration, with_focus, *causes
        )

    def place_of(self, image: Path, detections: list[Detection]) -> Path:
        """Where the result for an image is, or will be.

        Raises:
            UserError: the image is missing.
        """
        return self.place(stamp(image), [asdict(each) for each in detections])

    def make(self, place: Path, image: Path, detections: list[Detection]) -> None:
        """Segment the detections of an image and keep the result.

        Raises:
            UserError: the image cannot be read.
        """
        if detections:
            pixels, tile = self.read_image(image), self.reading.tile
            result = prelabel(self.sam, pixels, detections, tile, self.with_focus)
        else:
            result = ImagePrelabels(image_hw(image), [], [], 0)
        self.write(place, asdict(result))

    def categories_of(self, places: Sequence[Path]) -> list[dict[str, Any]]:
        """Classes that the results add to those of the detections."""
        return []

    def result_of(self, place: Path) -> ImagePrelabels:
        """What was made of an image.

        Raises:
            UserError: the file is missing or damaged.
        """
        return read_result(place)

    def read_image(self, image: Path) -> ImageArray:
        """(H, W, 3) as the model was trained on.

        Raises:
            UserError: the image cannot be read.
        """
        return self.reading.read(image)

    def remove(self) -> None:
        """Forget everything, also what could not be used."""
        (self.folder / REJECTED).unlink(missing_ok=True)
        super().remove()


def is_kept(place: Path) -> bool:
    """Whether a result is there and whole (a power cut may leave half of it)."""
    try:
        read_result(place)
    except UserError:
        return False
    return True


def read_result(place: Path) -> ImagePrelabels:
    """Read what `PrelabelStore.make` kept.

    Raises:
        UserError: the file is missing or damaged.
    """
    content: dict[str, Any] = read_json(place)
    try:
        return ImagePrelabels(
            (int(content["hw"][0]), int(content["hw"][1])),
            [Prelabel(**each) for each in content["objects"]],
            [Rejected(**each) for each in content["rejected"]],
            int(content["num_cut"]),
            [str(name) for name in content.get("names", [])],
        )
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UserError(f"{place} is damaged ({error}): delete it and start again") from error
