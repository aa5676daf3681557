"""Ground that scenes of two splits show."""

import itertools
from collections.abc import Iterator, Mapping

from samtune.data.checks.findings import Level
from samtune.data.geo.ground import find_meeting
from samtune.data.source import Source


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
