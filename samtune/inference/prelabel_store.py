"""What was made of each image: it comes from model, settings, image file, and detections."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.data.image_io import image_hw
from samtune.errors import UserError
from samtune.files import read_json
from samtune.inference.detections import Detection, Rejected
from samtune.inference.image_reading import read_as_trained
from samtune.inference.prelabelling import ImagePrelabels, Prelabel, prelabel
from samtune.models.backend import Sam
from samtune.models.loading import describe, tuned_sha256
from samtune.result_store import ResultStore
from samtune.types import ImageArray

# What could not be used, of a run in which nothing could.
REJECTED = "rejected.json"
_FORMAT = 1


class PrelabelStore(ResultStore):
    """Segments images, or reads what was made of them before.

    Args:
        folder: where to keep it.
        sam: in evaluation mode.
        bands: to read, instead of those that the model was trained on.
        tile: side of windows, pixels; 0 is the whole image.
    """

    def __init__(
        self, folder: Path, sam: Sam, bands: Sequence[int] | None = None, tile: int = 0
    ) -> None:
        self.sam, self.tile = sam, tile
        self.bands = list(bands) if bands else sam.bands
        calibration = sam.calibration and asdict(sam.calibration)
        about = {**describe(sam), "bands": self.bands, "side": sam.image_size, "tile": tile}
        super().__init__(folder, _FORMAT, tuned_sha256(sam), about, calibration)

    def place_of(self, image: Path, detections: list[Detection]) -> Path:
        """Where the result for an image is, or will be.

        Raises:
            UserError: the image is missing.
        """
        try:
            state = image.stat()
        except OSError as error:
            raise UserError(f"{image} cannot be read: {error.strerror}") from error
        parts = [asdict(each) for each in detections]
        return self.place(str(image.absolute()), state.st_size, state.st_mtime_ns, parts)

    def make(self, place: Path, image: Path, detections: list[Detection]) -> None:
        """Segment the detections of an image and keep the result.

        Raises:
            UserError: the image cannot be read.
        """
        if detections:
            result = prelabel(self.sam, self.read_image(image), detections, self.tile)
        else:
            result = ImagePrelabels(image_hw(image), [], [], 0)
        self.write(place, asdict(result))

    def read_image(self, image: Path) -> ImageArray:
        """(H, W, 3) as the model was trained on.

        Raises:
            UserError: the image cannot be read.
        """
        return read_as_trained(self.sam, image, self.bands)

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
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{place} is damaged ({error}): delete it and start again") from error
