"""`bench`: time and memory of models on your own images."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.files import write_json
from samtune.ranges import Count, Positive
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run


@dataclass(frozen=True)
class Bench(Result):
    """Figures of each model.

    Attributes:
        figures: by model: load_seconds, encode_seconds, decode_seconds, images_per_second, extra_mb
            (beyond the loaded model), parameters, image_size.
        file: they were written to.
    """

    figures: dict[str, dict[str, float]]
    file: Path | None = None

    @property
    def headline(self) -> str:
        fastest = max(self.figures, key=lambda model: self.figures[model]["images_per_second"])
        return (
            f"{fastest} is the fastest: {self.figures[fastest]['images_per_second']:.2f} images/s"
        )

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {
            "models": [
                {
                    "model": model, "parameters": int(r["parameters"]),
                    "input": int(r["image_size"]), "load s": r["load_seconds"],
                    "encode s": r["encode_seconds"], "prompts s": r["decode_seconds"],
                    "images a second": r["images_per_second"], "extra MB": round(r["extra_mb"]),
                }
                for model, r in self.figures.items()
            ]
        }  # fmt: skip


@task
def bench(
    models: Sequence[str | Path | Run],
    *,
    images: str | Path,
    max_images: Positive = 8,
    num_prompts: Positive = 8,
    out: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> Bench:
    """Measure time and memory of models on your own images.

    Each model is measured in a process of its own: seconds to encode an image and to answer prompts,
    images a second from file to masks, and the memory that takes beyond the loaded model.

    Args:
        models: registry names, runs, folders, files, hub ids.
        images: a folder, or one image.
        max_images: how many of them at most.
        num_prompts: boxes that each image is asked with.
        out: JSON file for the figures.
        image_size: side of the square input of base models; 0 takes their own.
        device: cpu, cuda, cuda:1, auto.

    Raises:
        UserError: there is no image, or a model cannot be measured.
    """
    find_images(Path(images), max_images)
    flags = {
        "images": str(images), "max_images": max_images, "num_prompts": num_prompts,
        "image_size": image_size, "device": device,
    }  # fmt: skip
    figures = {str(model): _in_own_process(str(model), flags) for model in models}
    file = None if out is None else Path(out)
    if file is not None:
        write_json(file, figures)
    return Bench(figures, file)


def _in_own_process(model: str, flags: Mapping[str, Any]) -> dict[str, float]:
    command = [sys.executable, "-m", __name__, json.dumps({"model": model, **flags})]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed: out of memory?"])[-1]
        raise UserError(f"{model}: {reason.removeprefix('samtune: ')}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def find_images(path: Path, count: int) -> list[Path]:
    """The first images of a folder, by name.

    Raises:
        UserError: there is none.
    """
    from samtune.images.naming import list_images

    return [path] if path.is_file() else list(list_images([path]).values())[:count]


def extra_memory(call: Callable[[], Any], device: str) -> float:
    """MB that a call takes at its peak beyond what was held before; on a CPU of the whole process."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - held) / 2**20
    before, peak, done = _resident(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], _resident())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        call()
    finally:  # or the thread would keep the process from ending
        done.set()
        thread.join()
    return max(0.0, peak[0] - before)


def _resident() -> float:
    """MB of memory that this process holds."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    import resource  # elsewhere only the highest value so far is known

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(
    model: str, images: str, max_images: int, num_prompts: int, image_size: int, device: str
) -> dict[str, float]:
    """Figures of one model, after one image that nobody times."""
    import torch

    from samtune.inference.predictor import SamPredictor

    start = time.perf_counter()
    sam = open_model(model, image_size=image_size, device=device)
    loading = time.perf_counter() - start
    predictor, files = SamPredictor(sam), find_images(Path(images), max_images)
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(num_prompts, 2, 2, generator=generator).sort(1).values
    boxes = (corners.reshape(-1, 4) * (sam.image_size - 1)).to(sam.device)
    times: dict[str, list[float]] = {"encode": [], "decode": [], "whole": []}

    def run(file: Path) -> None:
        begun = time.perf_counter()
        image = sam.reading.read(file)
        read = time.perf_counter()
        predictor.set_image(image)
        encoded = _now(sam.device.type)
        predictor.predict_torch(None, None, boxes)
        ended = _now(sam.device.type)
        parts = (encoded - read, ended - encoded, ended - begun)
        for name, value in zip(times, parts, strict=True):
            times[name].append(value)

    if sam.device.type == "cuda":
        torch.cuda.set_device(sam.device)
    memory = extra_memory(lambda: run(files[0]), sam.device.type)
    for part in times.values():
        part.clear()
    for file in files:
        run(file)
    return {
        "load_seconds": loading,
        "encode_seconds": statistics.median(times["encode"]),
        "decode_seconds": statistics.median(times["decode"]),
        "images_per_second": len(files) / sum(times["whole"]),
        "extra_mb": memory,
        "parameters": float(sum(p.numel() for p in sam.core.parameters())),
        "image_size": float(sam.image_size),
    }


def _now(device: str) -> float:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def _measure_alone(arguments: str) -> int:
    """What a process of its own does: one model, its figures as the last line."""
    try:
        sys.stdout.write(json.dumps(measure(**json.loads(arguments))) + "\n")
    except UserError as error:
        sys.stderr.write(f"samtune: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(_measure_alone(sys.argv[1]))
