"""`bench`: time and memory of models on your own images."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import write_json
from samtune.ranges import Count, Positive
from samtune.tasks import benching
from samtune.tasks.arguments import task
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.wording import counted, duration

# How often `fit` sees each image without a budget, and what people wait for, seconds
_EPOCHS, _PATIENCE = 20, 3600


@dataclass(frozen=True)
class Bench(Result):
    """Figures of each model.

    Attributes:
        figures: by model: load_seconds, encode_seconds, decode_seconds, click_seconds,
            images_per_second, extra_mb (beyond the loaded model), step_mb (of a training step),
            step_seconds (`None` where the step does not fit, or the model was tuned already),
            parameters, image_size.
        num_images: of the tuning that the advice is about.
        file: they were written to.
    """

    figures: dict[str, dict[str, float | None]]
    num_images: int
    file: Path | None = None

    @property
    def headline(self) -> str:
        """What fits this machine, in a sentence or two."""
        return advice(self.figures, self.num_images)

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "models": [
                {
                    "model": model, "parameters": _whole(r["parameters"]),
                    "input": _whole(r["image_size"]), "load s": r["load_seconds"],
                    "encode s": r["encode_seconds"], "click s": r["click_seconds"],
                    "prompts s": r["decode_seconds"], "images a second": r["images_per_second"],
                    "extra MB": _whole(r["extra_mb"]), "step s": r["step_seconds"],
                    "step MB": _whole(r["step_mb"]),
                }
                for model, r in self.figures.items()
            ]
        }  # fmt: skip


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


@task
def bench(
    models: Sequence[str | Path | Run],
    *,
    images: str | Path,
    max_images: Positive = 8,
    num_prompts: Positive = 8,
    out: str | Path | None = None,
    num_images: Positive = 100,
    image_size: Count = 0,
    device: str = "auto",
) -> Bench:
    """Measure time and memory of models on your own images, and say which fits your machine.

    Each model is measured in a process of its own: seconds to encode an image, to answer a click and
    all prompts, images a second from file to masks, the memory needed beyond the model itself, and
    seconds and memory of a training step (one image, its boxes and a correction of each, LoRA as
    `fit` has it).

    Args:
        models: registry names, runs, folders, files, hub ids.
        images: a folder, or one image.
        max_images: how many of them at most.
        num_prompts: boxes that each image is asked with.
        out: JSON file for the figures.
        num_images: training images of the tuning that the advice is about.
        image_size: side of the square input of base models; 0 takes their own.
        device: cpu, cuda, cuda:1, auto.

    Raises:
        UserError: there is no image, or a model cannot be measured.
    """
    benching.find_images(Path(images), max_images)
    flags = {
        "images": str(images), "max_images": max_images, "num_prompts": num_prompts,
        "image_size": image_size, "device": device,
    }  # fmt: skip
    figures = {str(model): _in_own_process(str(model), flags) for model in models}
    file = None if out is None else Path(out)
    if file is not None:
        write_json(file, figures)
    return Bench(figures, num_images, file)


def advice(figures: Mapping[str, Mapping[str, float | None]], num_images: int) -> str:
    """Which of the models fits the machine, and what a tuning with it takes.

    Args:
        figures: as `Bench` has them.
        num_images: training images of that tuning, each of which is seen 20 times, as `fit` does
            without a budget.
    """
    seconds = {
        model: found["step_seconds"] * num_images * _EPOCHS
        for model, found in figures.items()
        if found["step_seconds"] is not None
    }
    what = f"a tuning on {counted(num_images, 'image')}, each seen {_EPOCHS} times,"
    if not seconds:
        return (
            "A training step fits with none of these models: take a smaller model, a smaller "
            "--image_size, or samtune fit --auto true."
        )
    quick = [model for model in seconds if seconds[model] <= _PATIENCE]
    chosen = max(quick, key=lambda model: figures[model]["parameters"] or 0) if quick else ""
    taken = chosen or min(seconds, key=lambda model: seconds[model])
    its = figures[taken]
    told = (
        f"{what} takes about {duration(seconds[taken])} and {_gigabytes(its['step_mb'])}; opening an "
        f"image takes {its['encode_seconds']:.2g} s, a click in it {its['click_seconds']:.2g} s."
    )
    if not chosen:
        return (
            f"None of these tunes {counted(num_images, 'image')} within an hour here: with {taken}, "
            f"the quickest, {told} Take a GPU, fewer images or a budget (samtune fit --budget 30m)."
        )
    best = "the largest of these that tunes within an hour here: " if len(figures) > 1 else ""
    return f"Take {taken}, {best}{told}" if best else f"With {taken}, {told}"


def _gigabytes(megabytes: float | None) -> str:
    return f"{(megabytes or 0) / 1024:.1f} GB beyond the model"


def _in_own_process(model: str, flags: Mapping[str, Any]) -> dict[str, float | None]:
    command = [sys.executable, "-m", benching.__name__, json.dumps({"model": model, **flags})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed: out of memory?"])[-1]
        raise UserError(f"{model}: {reason.removeprefix('samtune: ')}")
    found: dict[str, float | None] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
