"""Time and memory of samtune beside plain transformers + peft, and segment_anything where it imports.

    scripts/benchmark [--model vit_b] [--device cuda] [--only decoder] [--out benchmark.json]

Each figure comes from a process of its own: memory is what the first call takes beyond the loaded
model, time is the median of the calls after it. Weights are random; neither depends on them. Ratios
within one run are what counts: seconds differ from machine to machine.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS, PLAIN, OFFICIAL = "samtune", "transformers", "segment_anything"
# segment_anything's procedure on samtune's network
REFERENCE = "reference"
TASKS_FILE = Path(__file__).parent / "benchmark_tasks.py"


@dataclass(frozen=True)
class Bar:
    """`task` of samtune against `against`: at most so much of the time and of the extra memory."""

    task: str
    against: tuple[str, str]
    seconds: float | None = None
    memory: float | None = None


BARS = (
    Bar("encoder", (PLAIN, "encoder"), 1.0, 0.30),
    Bar("lora", (PLAIN, "lora"), 0.75, 0.45),
    Bar("lora checkpointed", (PLAIN, "lora"), None, 0.20),
    Bar("decoder 32", (PLAIN, "decoder 32"), 0.7, 0.5),
    Bar("automatic masks", (PLAIN, "automatic masks"), 0.6),
    Bar("automatic masks", (REFERENCE, "automatic masks"), 0.6),
    Bar("last 4 cached", (OURS, "last 4"), 0.75),
    Bar("last 2 cached", (OURS, "last 2"), 0.45),
    Bar("decoder only cached", (OURS, "decoder only"), 0.02),
)
TASKS: dict[str, tuple[str, ...]] = {
    "encoder": (PLAIN, OFFICIAL, OURS),
    "lora": (PLAIN, OURS),
    "lora checkpointed": (PLAIN, OURS),
    "last 4": (PLAIN, OURS),
    "last 4 cached": (OURS,),
    "last 2": (OURS,),
    "last 2 cached": (OURS,),
    "decoder only": (OURS,),
    "decoder only cached": (OURS,),
    "decoder 1": (PLAIN, OFFICIAL, OURS),
    "decoder 8": (PLAIN, OFFICIAL, OURS),
    "decoder 32": (PLAIN, OFFICIAL, OURS),
    "decoder 128": (PLAIN, OURS),
    "automatic masks": (PLAIN, REFERENCE, OURS),
    "images": (OURS,),
    "start-up": (OURS,),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/benchmark", description=__doc__)
    parser.add_argument("--model", default="vit_b", help="registry name of a SAM (default: vit_b)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--side", type=int, default=0, help="input side; 0: the model's own")
    parser.add_argument("--repeat", type=int, default=3, help="timed calls")
    parser.add_argument("--boxes", type=int, default=8, help="prompts of a training step")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--only", nargs="+", default=[], help=f"any of: {', '.join(TASKS)}")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    return parser.parse_args()


def main() -> None:
    options = parse()
    tasks = options.only or list(TASKS)
    if unknown := [task for task in tasks if task not in TASKS]:
        raise SystemExit(f"there is no task {unknown[0]}: choose from {', '.join(TASKS)}")
    has_official = find_spec(OFFICIAL) is not None
    results: dict[str, dict[str, Any]] = {}
    for task in tasks:
        for variant in TASKS[task]:
            if variant != OFFICIAL or has_official:
                results.setdefault(task, {})[variant] = figure(variant, task, options)
                print(f"{task}, {variant}: {results[task][variant]}", file=sys.stderr)
    about = describe(options)
    print(to_markdown(results, about))
    if options.out:
        options.out.write_text(json.dumps({"about": about, "results": results}, indent=2) + "\n")


def figure(variant: str, task: str, options: argparse.Namespace) -> dict[str, Any]:
    """One figure from a process of its own."""
    settings = json.dumps({k: v for k, v in vars(options).items() if k not in ("only", "out")})
    command = [sys.executable, str(TASKS_FILE), variant, task, settings]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip() or "killed").splitlines()[-1]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def describe(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    import transformers

    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    processor = names[0].split(":")[1].strip() if names else platform.processor()
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else processor
    settings = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD", "OMP_NUM_THREADS")
    return {
        "model": options.model,
        "side": options.side or "native",
        "device": device,
        "boxes": options.boxes,
        "threads": options.threads or torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "allocator": {name: os.environ[name] for name in settings if name in os.environ}
        or "glibc's own settings",
    }


def to_markdown(results: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    lines = [", ".join(f"{key}: {value}" for key, value in about.items()), ""]
    lines += ["| task | variant | seconds | extra MB | |", "|---|---|---|---|---|"]
    for task, variants in results.items():
        for variant, found in variants.items():
            more = "; ".join(
                f"{k}: {v:.2f}" if isinstance(v, float) else f"{k}: {v}"
                for k, v in found.items()
                if k not in ("seconds", "memory_mb")
            )
            seconds = f"{found['seconds']:.3f}" if "seconds" in found else ""
            memory = f"{found['memory_mb']:.0f}" if "memory_mb" in found else ""
            lines.append(f"| {task} | {variant} | {seconds} | {memory} | {more} |")
    lines += ["", "| bar | of | time | at most | memory | at most |", "|---|---|---|---|---|---|"]
    for bar in BARS:
        ours = results.get(bar.task, {}).get(OURS, {})
        other = results.get(bar.against[1], {}).get(bar.against[0], {})
        if "seconds" in ours and "seconds" in other:
            cells = [
                _ratio(ours, other, "seconds", bar.seconds),
                _ratio(ours, other, "memory_mb", bar.memory),
            ]
            lines.append(f"| {bar.task} | {' '.join(bar.against)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(ours: dict[str, float], other: dict[str, float], key: str, bar: float | None) -> str:
    ratio = ours[key] / max(other[key], 1e-9)
    if bar is None:
        return f"{ratio:.2f} | -"
    return f"{ratio:.2f} | {bar}{'' if ratio <= bar else ' MISSED'}"


if __name__ == "__main__":
    main()
