"""`check`: a look at the data before training."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.ranges import Count
from samtune.tasks.arguments import task
from samtune.tasks.evaluating import PROTOCOLS, Asking, require_count
from samtune.tasks.opening import input_side, open_data, open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.settings import DataLike, data_of, read_settings, require_known
from samtune.training.settings import FitSettings
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.data.checks.checking import CheckResult
    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Source
    from samtune.models.backend import Sam

log = logging.getLogger(__name__)
DEFAULT_BASE = "nano"
# Before a fit, so many images of each split are looked at, for so many seconds.
_FEW_IMAGES, _FEW_SECONDS = 24, 10.0
_PICTURES = 8


@dataclass(frozen=True)
class Check(Result):
    """What is there, and what would spoil the result.

    Attributes:
        found: facts by split, and findings.
        base_score: mIoU of the base on a sample by protocol, or the `reason` why it is not known.
        input_side: of the model's input, pixels.
        page: with all of it, and pictures of the first batch.
        epoch: how long one is, in words; empty without training images.
        certainty: why an evaluation of the test split could not be sure of anything; empty where it
            could.
    """

    found: CheckResult
    base_score: dict[str, Any]
    input_side: int
    page: Path
    epoch: str
    certainty: str = ""

    @property
    def verdict(self) -> str:
        """`ok`, `warnings`, or `errors`, which must be put right."""
        return self.found.verdict

    @property
    def headline(self) -> str:
        from samtune.evaluation.report.data_page import score_sentence

        return f"{self.found.sentence}; {score_sentence(self.base_score)}"

    @property
    def findings(self) -> Rows:
        return [asdict(finding) for finding in self.found.findings]

    @property
    def tables(self) -> Mapping[str, Rows]:
        from samtune.evaluation.report.data_page import facts_table

        head, lines = facts_table(self.found, self.input_side)
        facts = [dict(zip(head, line, strict=True)) for line in lines]
        return {"splits": facts, "findings": self.findings}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **self.found.as_dict(), "base_score": self.base_score, "page": str(self.page),
            "epoch": self.epoch, "certainty": self.certainty,
        }  # fmt: skip


@task
def check(
    source: str | Path,
    *,
    data: DataLike = None,
    base: str | Path = "",
    max_images: Count = 8,
    page: str | Path | None = None,
    image_size: Count = 0,
) -> Check:
    """Look at a data set before training: what is there, and what would spoil the result.

    Args:
        source: a fit config, or a folder or file with images and masks.
        data: settings that say how to read.
        base: the model that you want to tune (default: the config's, or nano).
        max_images: how many images the base is scored on at most; 0 for none.
        page: HTML page (default: runs/checks/NAME-PLACE.html).
        image_size: side of the base's square input (default: its own).

    Raises:
        UserError: the data cannot be opened.
    """
    from samtune.data.checks.checking import check as look
    from samtune.evaluation.report.data_page import write_data_page

    require_count(max_images)
    path = Path(source)
    is_config = _is_config(path)
    settings = read_settings(path) if is_config else {}
    require_known(FitSettings, settings, "")
    base, checkpoint = str(base), ""
    if not base:
        base = str(settings.get("base") or DEFAULT_BASE)
        checkpoint = str(settings.get("checkpoint") or "")
    image_size = image_size or int(settings.get("image_size") or 0)
    config, given = (path, data) if is_config else (None, data_of(path, data))
    opened = open_data(None, config, given, base=(base, image_size))
    if opened.format == "drawn":
        raise UserError("drawn pictures need no check: name a data set")
    side = input_side(base, image_size)
    result = look(
        _sources(opened), side, opened.reading.stretch, opened.min_area, opened.tile,
        on_error=opened.on_error,
    )  # fmt: skip
    score: dict[str, Any] = {"reason": "some images cannot be read"}
    pictures: list[Any] = []
    if not result.has_unreadable:
        score, pictures = _shown(opened, base, checkpoint, image_size, max_images)
    place = Path(page) if page else Path("runs") / "checks" / f"{_page_name(path)}.html"
    write_data_page(place, str(opened.path), result, side, score, pictures)
    epoch = opened.tell_epoch() if opened.split_sizes().get("train") else ""
    return Check(result, score, side, place, epoch, certainty_of(opened))


def check_before_fit(data: SamDataModule, side: int) -> None:
    """A short check: warnings are told, errors stop.

    Args:
        data: of the run.
        side: of the model's input, pixels.

    Raises:
        UserError: something must be put right.
    """
    from samtune.data.checks.checking import check as look

    if data.format == "drawn":
        return
    result = look(
        _sources(data), side, data.reading.stretch, data.min_area, data.tile,
        most=_FEW_IMAGES, seconds=_FEW_SECONDS, on_error=data.on_error,
    )  # fmt: skip
    errors = [finding.text for finding in result.findings if finding.level == "error"]
    for finding in result.findings:
        if finding.level == "warning":
            log.info("WARNING: %s", finding.text)
    if errors:
        raise UserError(
            f"the data: {'; '.join(errors[:3])} (samtune check says more; --check false trains all "
            "the same)"
        )
    log.info(data.tell_epoch())
    if told := certainty_of(data):
        log.info("NOTE: %s", told)


def certainty_of(data: SamDataModule) -> str:
    """Why no difference on the test split could be sure, in a sentence; empty where one could be."""
    from samtune.evaluation.statistics import fewest_clusters

    if not data.split_sizes().get("test"):
        return ""
    groups = {record.group or record.image_id for record in data.whole_source("test").records}
    needed = fewest_clusters(1)
    if len(groups) >= needed:
        return ""
    number = counted(len(groups), "independent image")
    return (
        f"the test split holds {number}: no difference can be sure with fewer than {needed} "
        f"({fewest_clusters(len(PROTOCOLS))} where {len(PROTOCOLS)} kinds of prompts are asked at once)"
    )


def _is_config(path: Path) -> bool:
    if not path.is_file() or path.suffix not in (".yaml", ".yml"):
        return False
    return bool({"base", "model", "trainer"} & read_settings(path).keys())


def _page_name(path: Path) -> str:
    """The data's own name, and some letters of their place: many folders are called `data`."""
    place = path.resolve()
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()
    name = re.sub(r"[^\w.-]+", "_", place.stem)
    return f"{name}-{digest[:6]}"


def _sources(data: SamDataModule) -> dict[str, Source]:
    from samtune.data.splits import SPLITS

    sizes = data.split_sizes()
    return {split: data.whole_source(split) for split in SPLITS if sizes.get(split)}


def _shown(
    data: SamDataModule, base: str, checkpoint: str, image_size: int, max_images: int
) -> tuple[dict[str, Any], list[Any]]:
    """What the base scores on a sample, and pictures of the first batch; why not, where it cannot."""
    from samtune.evaluation.report.data_page import draw_batch

    try:
        sam = open_model(base, checkpoint, image_size)
        return _score(data, sam, max_images), draw_batch(data, sam, _PICTURES)
    except UserError as error:
        return {"reason": str(error)}, []


def _score(data: SamDataModule, sam: Sam, max_images: int) -> dict[str, Any]:
    """mIoU of the base by protocol, on images evenly spread over the validation split."""
    import numpy as np

    from samtune.data.source import Subset
    from samtune.evaluation.comparing import compare
    from samtune.evaluation.contestants import BASE, Contestants

    sizes = data.split_sizes()
    split = next((name for name in ("val", "train", "test") if sizes.get(name)), "")
    if not split or not max_images:
        return {"reason": "no images were asked for"}
    source = data.source(split)
    places = np.unique(np.linspace(0, len(source) - 1, max_images).astype(int)).tolist()
    settings = Asking(("box", "point")).settings(data, split, sam)
    rows = compare(Contestants(sam, False), Subset(source, places), settings, what="base").rows
    ious = {
        name: [row.scores[BASE].iou for row in rows if row.protocol == name]
        for name in dict.fromkeys(row.protocol for row in rows)
    }
    return {
        "model": sam.base.name,
        "split": split,
        "num_images": len(places),
        "num_objects": max((len(values) for values in ious.values()), default=0),
        "miou": {name: round(float(np.mean(values)), 4) for name, values in ious.items()},
    }
