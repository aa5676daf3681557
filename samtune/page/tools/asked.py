"""A network that other tools ask: the same answers as `samtune predict`, one question at a time."""

import hashlib
from threading import Lock

from samtune.inference.settings import Focus
from samtune.models.backend import Sam
from samtune.page.answering import Answering, Candidate
from samtune.types import ImageArray, Prompt


class Asked:
    """Several threads may ask; what was encoded of the last images is kept.

    Args:
        sam: the network; what was trained counts, not its base.
        name: that tools show.
        focus: `auto` looks at small objects in a window around them.
    """

    def __init__(self, sam: Sam, name: str, focus: Focus = "auto") -> None:
        self.name, self.reading = name, sam.reading
        self._answering = Answering(sam, sam.is_adapted, focus, sam.reading.tile, with_base=False)
        self._lock = Lock()

    def mask(self, image: ImageArray, prompt: Prompt) -> Candidate | None:
        """The mask that the model rates best, and the IoU that it expects of it.

        Args:
            image: (H, W, 3), as `reading` makes it of a file.
            prompt: original frame.

        Returns:
            `None` where the mask is empty.

        Raises:
            UserError: the prompt lies outside the image, or the network answers with NaN.
        """
        prompt.require_inside((image.shape[0], image.shape[1]), "the image")
        with self._lock:
            offer = self._answering.ask(_index_of(image), image, prompt)[self._answering.names[-1]]
        found = offer.candidates[offer.best]
        return found if found.mask.area else None

    def everything(self, image: ImageArray) -> list[Candidate]:
        """What an automatic search finds in an image (H, W, 3), the most doubtful first.

        Raises:
            UserError: the network answers with NaN.
        """
        with self._lock:
            found = self._answering.find_everything(image, "", ())
        return [Candidate(each.mask, each.score or 0.0) for each in found]


def _index_of(image: ImageArray) -> int:
    """A number by which an image is known again."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=8, key=str(image.shape).encode())
    return int.from_bytes(digest.digest())
