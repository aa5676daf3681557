"""Rounds of tuning on what was accepted: what is known of them, and one in the background.

`rounds.json` beside the annotations has a row for each round, written by `samtune loop`, which runs in
a process of its own: clicks go on being answered meanwhile, and a failed round ends nothing.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from samtune.errors import UserError
from samtune.files import is_file, write_json
from samtune.parsing import read_json

ROUNDS_FILE = "rounds.json"
# How much a round stands back behind what the page is asked (Unix)
_NICE = 10


class Reached(msgspec.Struct, frozen=True):
    """Mean IoU over objects and kinds of prompts on the held-out images, with its 95% interval."""

    miou: float
    ci95: tuple[float, float] | None


class Start(msgspec.Struct, frozen=True):
    """What the first round goes on from.

    Attributes:
        model: a run, or a base.
        checkpoint: weights of the base, where it is a registry name with a file of its own; or empty.
        image_size: side of the base's input; 0 is its own.
    """

    model: str
    checkpoint: str = ""
    image_size: int = 0


class Round(msgspec.Struct, frozen=True):
    """One round.

    Attributes:
        number: from 1.
        run: folder of what it trained.
        model: that it went on from.
        is_used: whether what it trained is used from then on.
        sentence: what was found on the held-out images.
        seconds: that it took.
        trained_on, held_out: ids of the images.
        present, new: what the model before and after it reach on them.
        start: what the first round went on from.
    """

    number: int
    run: str
    model: str
    is_used: bool
    sentence: str
    seconds: float
    trained_on: list[str]
    held_out: list[str]
    present: Reached
    new: Reached
    start: Start


def read_rounds(folder: Path) -> list[Round]:
    """The rounds of a folder of annotations; none without the file.

    Raises:
        UserError: the file is damaged.
    """
    place = folder / ROUNDS_FILE
    if not is_file(place):
        return []
    try:
        return msgspec.convert(read_json(place), list[Round])
    except msgspec.ValidationError as error:
        raise UserError(f"{place} is damaged ({error}): delete it to begin anew") from error


def present_model(start: Start, rounds: list[Round]) -> str:
    """What is used now: what the last round that helped has trained, or the model itself.

    Rounds that began with another model do not count.
    """
    own = (each.run for each in reversed(rounds) if each.is_used and each.start == start)
    return next(own, start.model)


def write_rounds(folder: Path, rounds: list[Round]) -> None:
    write_json(folder / ROUNDS_FILE, msgspec.to_builtins(rounds))


class Tuning:
    """Starts rounds, one at a time.

    Args:
        folder: of the annotations.
        start: what the first round goes on from.
        seconds: that a round may take.
        is_over: called after each round, with it; not after one that failed.
    """

    def __init__(
        self, folder: Path, start: Start, seconds: int, is_over: Callable[[Round], None]
    ) -> None:
        self._folder, self._start, self.seconds, self._is_over = folder, start, seconds, is_over
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0
        self._failed = ""

    def start(self) -> None:
        """Begin a round.

        Raises:
            UserError: one is running.
        """
        with self._lock:
            if self._process is not None:
                raise UserError("a round is running already")
            start = self._start
            command = [
                sys.executable, "-m", "samtune.cli", "loop", str(self._folder),
                "--model", start.model, "--budget", f"{self.seconds}s",
                *(("--checkpoint", start.checkpoint) if start.checkpoint else ()),
                *(("--image_size", str(start.image_size)) if start.image_size else ()),
            ]  # fmt: skip
            self._failed, self._began = "", time.monotonic()
            self._process = subprocess.Popen(  # noqa: S603
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            _let_clicks_pass(self._process.pid)
        threading.Thread(target=self._wait, args=(self._process,), daemon=True).start()

    def stop(self) -> None:
        """End the round that runs, if one does; what it trained is not used."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def told(self) -> dict[str, Any]:
        """What the page shows of it."""
        seconds = time.monotonic() - self._began if self.is_running else 0.0
        return {
            "isRunning": self.is_running, "seconds": seconds, "ofSeconds": self.seconds,
            "failed": self._failed,
        }  # fmt: skip

    def _wait(self, process: subprocess.Popen[str]) -> None:
        _, errors = process.communicate()
        failed = ""
        if process.returncode < 0:
            failed = "the round was stopped"
        elif process.returncode:
            lines = [line for line in errors.splitlines() if line.strip()]
            failed = lines[-1].removeprefix("samtune: ") if lines else "the round failed"
        else:
            try:
                self._is_over(read_rounds(self._folder)[-1])
            except UserError as error:
                failed = str(error)
        with self._lock:
            self._failed, self._process = failed, None


def _let_clicks_pass(process: int) -> None:
    """A round computes on all cores: what the page is asked meanwhile comes first."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # it has ended at once
            own = os.getpriority(os.PRIO_PROCESS, process)
            os.setpriority(os.PRIO_PROCESS, process, own + _NICE)
