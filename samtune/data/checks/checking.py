"""A look at the data before training: what is there, and what would spoil the result."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from samtune.bars import limited_bar
from samtune.data.checks.findings import (
    Finding,
    Level,
    SplitFacts,
    facts_of,
    findings_of_alignment,
    findings_of_numbers,
    findings_of_sizes,
    findings_of_splits,
)
from samtune.data.checks.grouping import find_untied
from samtune.data.checks.leaks import find_leaks, find_torn_groups
from samtune.data.checks.look import Seen, look_at
from samtune.data.geo.shared_ground import find_meeting
from samtune.data.settings import OnError
from samtune.data.source import Source, notes_of
from samtune.data.splits import SPLITS
from samtune.errors import UserError
from samtune.wording import counted

# Of images that cannot be read, so many are named.
_SHOWN = 3


@dataclass
class CheckResult:
    """Facts by split, and findings, the worst first; whether some images cannot be read at all."""

    splits: dict[str, SplitFacts]
    findings: list[Finding]
    has_unreadable: bool = False

    @property
    def verdict(self) -> str:
        levels = {finding.level for finding in self.findings}
        return "errors" if "error" in levels else "warnings" if levels else "ok"

    @property
    def sentence(self) -> str:
        """What follows for a training."""
        levels = [finding.level for finding in self.findings]
        errors, warnings = levels.count("error"), len(levels) - levels.count("error")
        more = f"; {counted(warnings, 'warning')} beside" if warnings else ""
        if errors:
            return f"{counted(errors, 'error')} to put right before training{more}"
        if warnings:
            return (
                f"{counted(warnings, 'warning')}: you can train, but read what may spoil the result"
            )
        return "nothing was found that would spoil a training"

    def as_dict(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "sentence": self.sentence,
            "splits": {split: asdict(facts) for split, facts in self.splits.items()},
            "findings": [asdict(finding) for finding in self.findings],
        }


def check(
    sources: Mapping[str, Source],
    input_side: int,
    stretch: str,
    min_area: int,
    tile: int = 0,
    most: int = 0,
    seconds: float = 0,
    on_error: OnError = "fail",
) -> CheckResult:
    """Read the images of every split once.

    Args:
        sources: whole images by split.
        input_side: of the model's square input, pixels.
        stretch: how images are read.
        min_area: smaller objects are left out in training, pixels.
        tile: side of the tiles that images are cut into; 0 for none.
        most: images of each split that are read, evenly spread; 0 for all. Groups are compared of all.
        seconds: after which no more images of a split are read; 0 for no limit.
        on_error: what training does with an image that cannot be read.
    """
    seen: list[Seen] = []
    unreadable: list[str] = []
    findings = [Finding("warning", note) for note in notes_of(sources.values())]
    for split, source in sources.items():
        for index in limited_bar(_chosen(source, most), f"check {split}", "image", seconds):
            try:
                seen.append(look_at(split, source, index, min_area))
            except UserError as error:
                unreadable.append(str(error))
    findings += _of_unreadable(unreadable, on_error)
    # windows of a scene are no larger than its tiles
    facts = {
        split: facts_of(
            [i for i in seen if i.split == split], len(sources.get(split, ())), input_side, tile
        )
        for split in SPLITS
    }
    groups = {s: [r.group or r.image_id for r in source.records] for s, source in sources.items()}
    told = [
        *findings_of_splits(facts, stretch),
        *findings_of_sizes(seen, input_side, tile),
        *findings_of_alignment(seen),
        *findings_of_numbers(seen),
        *find_leaks(seen),
        *find_shared_ground(sources),
        *find_torn_groups(groups),
        *find_untied(sources),
    ]
    findings += [Finding(level, text) for level, text in told]
    findings.sort(key=lambda finding: finding.level != "error")
    return CheckResult(facts, findings, bool(unreadable))


def _of_unreadable(errors: list[str], on_error: OnError) -> list[Finding]:
    """One finding of all images that cannot be read, or whose masks do not fit."""
    if not errors:
        return []
    told = "; ".join(errors[:_SHOWN])
    told = f"{counted(len(errors), 'image')}, such as {told}" if len(errors) > _SHOWN else told
    if on_error == "skip":
        return [Finding("warning", f"cannot be read, and will be left out: {told}")]
    advice = "data.on_error: skip leaves such images out"
    return [Finding("error", f"cannot be read: {told} ({advice})")]


def _chosen(source: Source, most: int) -> list[int]:
    if not most or len(source) <= most:
        return list(range(len(source)))
    return [int(place) for place in np.linspace(0, len(source) - 1, most)]


def find_shared_ground(sources: Mapping[str, Source]) -> Iterator[tuple[Level, str]]:
    """For each two splits how much of the second the first shows too, with an example."""
    grounds = {
        split: found for split, source in sources.items() if (found := source.grounds()) is not None
    }
    for one, other in itertools.combinations(grounds, 2):
        pairs = find_meeting(grounds[other], grounds[one])
        if not len(pairs):
            continue
        shared, total = len(set(pairs[:, 0].tolist())), len(grounds[other])
        records = sources[other].records[pairs[0, 0]], sources[one].records[pairs[0, 1]]
        example = " and ".join(record.image_id for record in records)
        yield (
            "error",
            f"{shared} of {total} windows of {other} ({shared / total:.0%}) show ground that {one} "
            f"shows too, such as {example}: results on them are worth nothing; keep scenes of one "
            "place in one split, or name no splits, so that blocks are drawn",
        )
