"""What `segment_volume` is asked: prompts on slices, and the truth that answers are held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samtune.data.volumes.labels import LabelRules, Labels, read_volume_labels
from samtune.data.volumes.slices import SliceStack
from samtune.errors import UserError
from samtune.inference.volumes.carrying import Seed
from samtune.inference.volumes.seeds import read_seeds, require_object, seeds_from_labels
from samtune.prompts.prompt_files import build_prompt


@dataclass(frozen=True)
class VolumePrompts:
    """Where prompts come from; one way, or none for a search."""

    slice: int | None = None
    box: Sequence[float] | None = None
    points: Sequence[Sequence[float]] = ()
    name: str = ""
    file: Path | None = None
    labels: Path | None = None

    def seeds(self, volume: Path, stack: SliceStack, rules: LabelRules) -> list[Seed]:
        """Objects with their prompts; none without a prompt.

        Raises:
            UserError: prompts are given in two ways, or make no sense.
        """
        is_own = self.box is not None or bool(self.points) or self.slice is not None
        if sum([is_own, self.file is not None, self.labels is not None]) > 1:
            raise UserError(
                "give prompts in one way: slice with box or points, a file of prompts, from_labels"
            )
        if self.file is not None:
            return read_seeds(self.file)
        if self.labels is not None:
            return seeds_from_labels(read_volume_labels(self.labels, volume, rules), stack.axis)
        return [self._own()] if is_own else []

    def _own(self) -> Seed:
        if self.slice is None:
            raise UserError("box and points lie on a slice: give --slice N")
        where = f"slice {self.slice}"
        if any(len(point) not in (2, 3) for point in self.points):
            raise UserError(f"{where}: a point is X,Y or X,Y,LABEL")
        labels = [point[2] if len(point) == 3 else 1 for point in self.points]
        points = [list(point[:2]) for point in self.points] or None
        box = None if self.box is None else list(self.box)
        prompt = build_prompt(points, labels if points else None, box, where)
        require_object(prompt, where)
        return Seed(1, self.name or "1", self.slice, prompt)


def read_truth(
    truth: Path | None, volume: Path, rules: LabelRules, seeds: list[Seed]
) -> Labels | None:
    """Labels to measure against.

    Raises:
        UserError: they lack an object that is asked for.
    """
    if truth is None:
        return None
    if not seeds:
        raise UserError("truth goes with prompts: objects that are found have numbers of their own")
    labels = read_volume_labels(truth, volume, rules)
    missing = [seed.object_id for seed in seeds if not (labels.layers == seed.object_id).any()]
    if missing:
        raise UserError(
            f"{truth} has no label {missing[0]}: give the objects the ids that they have there "
            "('id' in the file of prompts)"
        )
    return labels
