"""What a run rests on, written down when it begins: splits, settings, versions of packages.

Data change, and with them what is drawn: whoever measures a run, or goes on with it, takes what stands
here, and is told of what is otherwise now.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import write_json
from samtune.parsing import read_json

FILE = "run.json"
_PACKAGES = ("samtune", "torch", "transformers", "peft", "pytorch-lightning", "numpy", "pillow")
# Sections and settings that may be otherwise when a run goes on: they say where things lie, how long
# it takes, and what is told; what is learned by the next step is the same
_FREE = {
    "run", "base", "checkpoint", "budget", "early_stopping", "checkpoint_steps", "auto", "check",
    "choose", "trainer", "logging", "data.path", "data.split_folder", "data.num_workers",
    "data.on_error", "data.cache", "model.objects_per_chunk", "model.with_checkpointing",
}  # fmt: skip


@dataclass(frozen=True)
class RunRecord:
    """What a run rests on.

    Attributes:
        settings: all of them, as they were when it began.
        splits: image ids by split; empty for drawn pictures.
        versions: of the packages that compute.
        is_finished: whether it came to its end.
        took: `seconds` of the clock, `cpu_seconds` of it and its readers (beside other work the clock
            says little of what a training costs), and `steps`; of its last part, where it was resumed.
    """

    settings: Mapping[str, Any]
    splits: Mapping[str, list[str]]
    versions: Mapping[str, str]
    is_finished: bool = False
    took: Mapping[str, float] = field(default_factory=dict)

    def save(self, run: Path) -> None:
        write_json(run / FILE, asdict(self))

    def finish(self, run: Path, took: Mapping[str, float]) -> None:
        """Note that the run came to its end, and what it took."""
        replace(self, is_finished=True, took=took).save(run)

    def changed_versions(self) -> list[str]:
        """Packages that are of another version now, in words."""
        now = versions()
        return [
            f"{name} {was} -> {now.get(name, 'none')}"
            for name, was in self.versions.items()
            if now.get(name) != was
        ]

    def require_same(
        self, settings: Mapping[str, Any], run: Path, section: str | None = None
    ) -> None:
        """Refuse settings that a run cannot go on with: what was learned so far came from others.

        Args:
            settings: as they are now.
            run: folder of the run.
            section: that alone is compared.

        Raises:
            UserError: there are some; the message names them.
        """
        mine = {section: self.settings[section]} if section else self.settings
        before, now = (dict(_flat(json.loads(json.dumps(e)))) for e in (mine, settings))
        # what another version of samtune has no setting for was its default
        names = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
        if names := [name for name in names if not _is_free(name)]:
            told = ", ".join(f"{name} {before[name]} -> {now[name]}" for name in names[:3])
            raise UserError(
                f"{run} began with other settings than its config.yaml holds now ({told}), and what it "
                "learned came from those: put them back, or tune on from its result by samtune fit "
                f"--base {run} with a --run of its own"
            )


def _is_free(name: str) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:count]) in _FREE for count in range(1, len(parts) + 1))


def _flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested settings under their full names."""
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        # names of classes are one value
        if isinstance(value, Mapping) and all(key.isidentifier() for key in value):
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found


def watch() -> Callable[[], dict[str, float]]:
    """Begins to measure time; what it returns says how many seconds it is since then."""

    def now() -> tuple[float, float]:
        times = os.times()
        return time.monotonic(), sum(times[:4])  # of this process and of those that have ended

    begun = now()

    def taken() -> dict[str, float]:
        seconds, cpu_seconds = (after - before for after, before in zip(now(), begun, strict=True))
        return {"seconds": round(seconds, 1), "cpu_seconds": round(cpu_seconds, 1)}

    return taken


def versions() -> dict[str, str]:
    """Of the packages that compute."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def read_record(run: Path | None) -> RunRecord | None:
    """The record of a run; `None` without one, as in runs of before samtune 0.3.

    Raises:
        UserError: it is damaged.
    """
    if run is None or not (run / FILE).exists():
        return None
    content = read_json(run / FILE)
    try:
        record = RunRecord(**content)
        splits = {str(name): [str(each) for each in ids] for name, ids in record.splits.items()}
        return replace(
            record, splits=splits, versions=dict(record.versions), settings=dict(record.settings)
        )
    except (TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{run / FILE} is damaged: {error}") from error
