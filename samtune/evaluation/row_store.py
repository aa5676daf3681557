"""Rows of images that are done, so that an interrupted evaluation goes on where it stopped.

They come from the network, the settings, and the image with its objects as they were read.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from samtune.evaluation.asking import AskedImage
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.metrics.table import METRICS
from samtune.evaluation.rows import Row, Score
from samtune.evaluation.settings import EvaluationSettings
from samtune.models.loading import tuned_sha256
from samtune.models.metadata import describe
from samtune.progress import Progress
from samtune.types import ObjectKey, Prompt

# Of the settings: what no row depends on.
_INDIFFERENT = {"own", "max_images", "on_error", "num_workers", "num_processes", "rank", "world"}


class RowStore(Progress):
    """Rows by image.

    Args:
        folder: where to keep them.
        contestants: in the state in which they are asked.
        more: what else they come from, such as the scale of the tuning.
    """

    def __init__(self, folder: Path, contestants: Contestants, *more: Any) -> None:
        sam = contestants.sam
        super().__init__(
            folder, describe(sam), tuned_sha256(sam), sam.image_size, sam.device.type,
            contestants.names, *more,
        )  # fmt: skip

    def rows(self, image: AskedImage, digest: str, measure: Callable[[], list[Row]]) -> list[Row]:
        """The rows of an image: those kept, or what `measure` gives, which is kept from then on.

        Args:
            image: as it is asked.
            digest: of its pixels and labels.
            measure: asks.
        """
        place = self._place_of(image, digest)
        if (kept := _from_json(self.read(place))) is not None:
            return kept
        found = measure()
        self.write(place, [_to_json(row) for row in found])
        return found

    def _place_of(self, image: AskedImage, digest: str) -> Path:
        sample, columns = image.sample, image.record.columns
        own = {number: _plain(prompt) for number, prompt in image.own.items()}
        return self.place(
            digest, sample.image_id, sample.group, sample.classes, columns, own,
            _plain_settings(image.settings),
        )  # fmt: skip


def _plain_settings(settings: EvaluationSettings) -> dict[str, Any]:
    everything = asdict(replace(settings, own=None))
    return {name: value for name, value in everything.items() if name not in _INDIFFERENT}


def _plain(prompt: Prompt) -> dict[str, Any]:
    return {name: None if v is None else v.tolist() for name, v in asdict(prompt).items()}


def _to_json(row: Row) -> dict[str, Any]:
    content = asdict(row)
    for part in (content, *content["scores"].values()):
        part["rle"] = part["rle"].decode("ascii")
    return content


def _from_json(content: Any) -> list[Row] | None:
    """Rows of an image; `None` if the content is not that."""
    try:
        return [_row(each) for each in content]
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _row(content: dict[str, Any]) -> Row:
    scores = {name: _score(each) for name, each in content.pop("scores").items()}
    key = ObjectKey(**content.pop("key"))
    columns = tuple((name, value) for name, value in content.pop("columns"))
    height, width = content.pop("hw")
    rle = content.pop("rle").encode("ascii")
    return Row(key=key, scores=scores, columns=columns, hw=(height, width), rle=rle, **content)


def _score(content: dict[str, Any]) -> Score:
    if METRICS.keys() - content["measures"].keys():
        raise KeyError("it was measured before there was one of the measures")
    clicks, rle = tuple(content.pop("clicks")), content.pop("rle").encode("ascii")
    return Score(clicks=clicks, rle=rle, **content)
