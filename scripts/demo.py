"""The main job, start to end, on real nuclei: what `scripts/demo` runs after its set-up."""

import argparse
import shutil
import sys
from pathlib import Path

from samtune.cli import main as samtune

ROOT = Path(__file__).parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "demo")
    parser.add_argument("--budget", default="", help="of tuning, such as 30s (default: 100s)")
    options = parser.parse_args()
    data, run = options.out / "data", options.out / "run"
    if code := _make_data(data):
        return code
    shutil.rmtree(run, ignore_errors=True)
    return _run_steps(data, run, options.budget)


def _make_data(data: Path) -> int:
    if not data.exists():
        return samtune(["fetch", "nuclei_sample", "--out", str(data), "--yes"])
    return 0


def _run_steps(data: Path, run: Path, budget: str) -> int:
    fit = [
        "fit",
        "--config",
        str(ROOT / "configs" / "microscopy" / "demo.yaml"),
        "--data.path",
        str(data),
    ]
    fit += ["--run", str(run)]
    fit += ["--budget", budget] if budget else []
    base = [
        "evaluate",
        "nano",
        "--config",
        str(ROOT / "configs" / "microscopy" / "demo.yaml"),
        "--data.path",
    ]
    steps = {
        "1. what the base model does on the held-out tiles": [
            *base, str(data), "--protocols", "box", "point", "--out", str(run.parent / "base"),
        ],
        "2. fine-tuning": fit,
        "3. base against tuned on the held-out tiles": ["evaluate", str(run)],
    }  # fmt: skip
    for title, arguments in steps.items():
        print(f"\n== {title}\n$ samtune {' '.join(arguments)}")
        sys.stdout.flush()
        if code := samtune(arguments):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
