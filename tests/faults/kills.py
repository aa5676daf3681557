"""Kill a command at a moment that nobody chose, and start it again: what comes of it in the end."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.calls import words_of, written

# What is killed: all that is long, or leaves files that others rely on
KILLED = (
    "fit", "resume", "convert", "evaluate", "compare", "calibrate", "thresholds", "scale",
    "learning-curve", "predict", "segment", "segment a scene", "segment-volume", "search a volume",
    "prelabel", "cache", "export", "export onnx", "export hf", "export official",
    "export annotation", "open",
)  # fmt: skip
COMMAND = ["-m", "samtune.cli"]
# A child that needs longer has hung
_LIMIT = 600.0


@dataclass
class Undisturbed:
    """What a call leaves when nobody disturbs it.

    Attributes:
        seconds: it took.
        same: bytes of the files that are the same each time.
        names: of all files.
    """

    seconds: float
    same: dict[str, bytes]
    names: set[str]


class Killing:
    """Kills calls in folders of their own.

    Args:
        inputs: what calls read, as `write_inputs` makes it.
        folder: where copies of it may lie.
        seed: of the moments.
    """

    def __init__(self, inputs: Path, folder: Path, seed: int) -> None:
        self.inputs, self.folder, self.rng = inputs, folder, random.Random(seed)
        self._known: dict[str, Undisturbed] = {}

    def undisturbed(self, call: str) -> Undisturbed:
        """Two calls that nobody disturbs; what differs between them tells nothing."""
        if call not in self._known:
            found = []
            for _ in range(2):
                place = self._place()
                began = time.monotonic()
                self._let_end(call, place)
                found.append((time.monotonic() - began, written(place)))
            (_, first), (_, second) = found
            seconds = min(each[0] for each in found)
            same = {name: content for name, content in first.items() if second.get(name) == content}
            self._known[call] = Undisturbed(seconds, same, set(first) & set(second))
        return self._known[call]

    def kill(self, call: str, times: int = 1) -> tuple[int, str]:
        """Kill a call so many times, each at a moment of its length, then let it end.

        Returns:
            How many of the kills met it at work, and what was wrong in the end; empty for nothing.
        """
        expected, place, met = self.undisturbed(call), self._place(), 0
        for _ in range(times):
            child = self._start(call, place)
            try:
                child.wait(self.rng.uniform(0.1, 1.0) * expected.seconds)
            except subprocess.TimeoutExpired:
                met += 1
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            if child.returncode == 0:  # it was quicker this time
                break
        if child.returncode:
            child = self._start(call, place)
            told = child.communicate(timeout=_LIMIT)[1]
            # killed after the last file and before its end: what is there is compared
            if child.returncode and "is there already: give another --out" not in told:
                return met, f"code {child.returncode}: {told.strip()[-300:]}"
        return met, self._differences(expected, written(place))

    @staticmethod
    def _differences(expected: Undisturbed, found: dict[str, bytes]) -> str:
        left = sorted(name for name in found if name.endswith(".tmp") or ".partial/" in name)
        missing = sorted(expected.names - found.keys())
        more = sorted(found.keys() - expected.names - set(left))
        other = sorted(
            n for n, content in expected.same.items() if found.get(n, content) != content
        )
        parts = (
            ("left behind", left),
            ("missing", missing),
            ("more", more),
            ("other bytes", other),
        )
        return "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in parts if names)

    def _place(self) -> Path:
        place = self.folder / "place"
        shutil.rmtree(place, ignore_errors=True)
        return Path(shutil.copytree(self.inputs, place))

    def _start(self, call: str, place: Path) -> "subprocess.Popen[str]":
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(
            [sys.executable, *_command(call, place)],
            cwd=place, env=environment, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def _let_end(self, call: str, place: Path) -> None:
        child = self._start(call, place)
        told = child.communicate(timeout=_LIMIT)[1]
        assert child.returncode == 0, f"{call} undisturbed: {told.strip()[-500:]}"


def _command(call: str, place: Path) -> list[str]:
    """What is started; a fit with a state on disk is gone on with by `resume`, as it says itself."""
    if (
        call == "open"
    ):  # which ends when somebody closes the page: here, when all is clicked through
        return ["-m", "tests.faults.clicking", "pictures", "out/open"]
    return [*COMMAND, *_words(call, place)]


def _words(call: str, place: Path) -> list[str]:
    if call.startswith("export "):
        target = call.split()[1]
        return ["export", "run", "--to", target, "--max_images", "1", "--out", f"out/{target}"]
    if call == "fit" and (place / "out" / "fit" / "checkpoints" / "last.ckpt").exists():
        return ["resume", "out/fit"]
    return words_of(call)
