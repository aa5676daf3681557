"""What `bench` does in a process of its own: time and memory of one model."""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.tasks.opening import open_model

if TYPE_CHECKING:
    from torch import Tensor

    from samtune.models.backend import Sam


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
) -> dict[str, float | None]:
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
    begun = _now(sam.device.type)
    predictor.predict_torch(
        boxes[:1, None, :2], torch.ones(1, 1, dtype=torch.int64, device=sam.device), None
    )
    click = _now(sam.device.type) - begun
    parameters = float(sum(p.numel() for p in sam.core.parameters()))
    step, step_mb = training_step(sam, boxes)
    return {
        "load_seconds": loading,
        "encode_seconds": statistics.median(times["encode"]),
        "decode_seconds": statistics.median(times["decode"]),
        "click_seconds": click,
        "images_per_second": len(files) / sum(times["whole"]),
        "extra_mb": memory,
        "step_seconds": step,
        "step_mb": step_mb,
        "parameters": parameters,
        "image_size": float(sam.image_size),
    }


def training_step(sam: Sam, boxes: Tensor) -> tuple[float | None, float | None]:
    """Seconds and MB of a training step on one image, its boxes answered twice.

    Args:
        sam: a base; of what was tuned already nothing is measured.
        boxes: (K, 4), input frame.

    Returns:
        `None` for seconds that were not measured: the step would not fit the memory that is free.
    """
    import torch

    from samtune.models.lora import prepare_for_training
    from samtune.models.settings import LoraSettings
    from samtune.training.memory import USABLE_SHARE, MemoryPlan, estimate, free_memory
    from samtune.types import Prompts

    if not sam.is_base:
        return None, None
    try:
        prepare_for_training(sam, "lora", LoraSettings(), "lora")
    except UserError:  # an encoder without layers for LoRA
        prepare_for_training(sam, "decoder", LoraSettings())
    sam.train()
    needed = estimate(sam, False).total(MemoryPlan(1, 1, False, 0, len(boxes), 2))
    if needed > USABLE_SHARE * free_memory(sam.device):
        return None, needed / 2**20
    trained = [p for p in sam.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.0)
    image = torch.zeros(1, 3, sam.image_size, sam.image_size, device=sam.device)
    index = torch.zeros(len(boxes), dtype=torch.int64, device=sam.device)

    def step() -> None:
        features, prompts = sam.encode(image), Prompts(boxes_xyxy=boxes)
        rounds = [sam.decode(features, index, prompts, True).low_res_logits for _ in range(2)]
        torch.autograd.backward([torch.stack(rounds).mean()])
        optimizer.step()
        optimizer.zero_grad()

    memory = extra_memory(step, sam.device.type)
    begun = _now(sam.device.type)
    step()
    return _now(sam.device.type) - begun, memory


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
