"""The images of a session, read when one is looked at; the last few are kept in memory."""

import io
from collections import OrderedDict
from threading import RLock

from PIL import Image

from samtune.data.source import Source
from samtune.types import ImageArray, Sample

_KEPT = 4


class Samples:
    """Reads images; several threads may ask.

    Args:
        source: of the images.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._lock = source, RLock()
        self._known: OrderedDict[int, Sample] = OrderedDict()

    def sample(self, index: int) -> Sample:
        """An image as the model sees it, and its truth where it is known.

        Raises:
            UserError: it cannot be read.
        """
        with self._lock:
            if index not in self._known:
                self._known[index] = self._source.read(index)
            self._known.move_to_end(index)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
            return self._known[index]

    def picture(self, index: int) -> bytes:
        """PNG of an image as the model sees it."""
        return quick_png(self.sample(index).image)

    def hw(self, index: int) -> tuple[int, int]:
        height, width = self.sample(index).image.shape[:2]
        return height, width


def quick_png(image: ImageArray) -> bytes:
    """PNG of an image (H, W, 3) that is sent once: made fast rather than small."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
