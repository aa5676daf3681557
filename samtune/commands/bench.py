"""`samtune bench MODEL ... --images FOLDER`: time and memory of models on your own images.

Each model is measured in a process of its own: seconds to encode an image and to answer prompts, images
a second from file to masks, and the memory that takes beyond the loaded model.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from samtune.commands.options import choose_device, parse_alone, quieten
from samtune.data.image_io import IMAGE_SUFFIXES
from samtune.errors import UserError
from samtune.files import make_folder
from samtune.inference.image_reading import read_as_trained


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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samtune bench", description=__doc__, exit_on_error=False)
    parser.add_argument("models", nargs="+", help="registry names, runs, folders, files, hub ids")
    parser.add_argument("--images", required=True, type=Path, help="a folder, or one image")
    parser.add_argument("--num-images", type=int, default=8, help="how many of them (default: 8)")
    parser.add_argument("--boxes", type=int, default=8, help="prompts for each image (default: 8)")
    parser.add_argument("--image-size", type=int, default=0, help="of base models; 0: their own")
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, auto")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options = parse_alone(_parser(), arguments)
    if options.child:
        print(json.dumps(measure(options.models[0], options)))
        return
    find_images(options.images, options.num_images)
    if options.out:
        make_folder(options.out.parent)
    results = {model: _in_own_process(model, options) for model in options.models}
    print(to_markdown(results))
    if options.out:
        options.out.write_text(json.dumps(results, indent=2) + "\n")


def _in_own_process(model: str, options: argparse.Namespace) -> dict[str, float]:
    flags = [
        "--images", str(options.images), "--num-images", str(options.num_images),
        "--boxes", str(options.boxes), "--image-size", str(options.image_size),
        "--device", options.device, "--child",
    ]  # fmt: skip
    command = [sys.executable, "-m", "samtune.cli", "bench", model, *flags]
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
    if path.is_file():
        return [path]
    files = sorted(f for f in path.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise UserError(f"there are no images in {path} (looked for {', '.join(IMAGE_SUFFIXES)})")
    return files[:count]


def measure(model: str, options: argparse.Namespace) -> dict[str, float]:
    """Figures of one model, after one image that nobody times."""
    import torch

    from samtune.inference.predictor import SamPredictor
    from samtune.models.loading import load_model

    torch.set_flush_denormal(True)
    device = choose_device(options.device)
    start = time.perf_counter()
    sam = load_model(model, image_size=options.image_size or None, device=device)
    loading = time.perf_counter() - start
    predictor, files = SamPredictor(sam), find_images(options.images, options.num_images)
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(options.boxes, 2, 2, generator=generator).sort(1).values
    boxes = (corners.reshape(-1, 4) * (sam.image_size - 1)).to(device)
    times: dict[str, list[float]] = {"encode": [], "decode": [], "whole": []}

    def run(file: Path) -> None:
        begun = time.perf_counter()
        image = read_as_trained(sam, file)
        read = time.perf_counter()
        predictor.set_image(image)
        encoded = _now(device.type)
        predictor.predict_torch(None, None, boxes)
        ended = _now(device.type)
        for name, value in zip(
            times, (encoded - read, ended - encoded, ended - begun), strict=True
        ):
            times[name].append(value)

    if device.type == "cuda":
        torch.cuda.set_device(device)
    memory = extra_memory(lambda: run(files[0]), device.type)
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


def to_markdown(results: dict[str, dict[str, float]]) -> str:
    """One row for each model."""
    lines = [
        "| model | parameters | input | load s | encode s | prompts s | images a second | extra MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, r in results.items():
        lines.append(
            f"| {model} | {r['parameters'] / 1e6:.1f}M | {r['image_size']:.0f} "
            f"| {r['load_seconds']:.2f} | {r['encode_seconds']:.3f} | {r['decode_seconds']:.3f} "
            f"| {r['images_per_second']:.2f} | {r['extra_mb']:.0f} |"
        )
    return "\n".join(lines)
