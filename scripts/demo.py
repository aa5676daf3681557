"""The main job, start to end, on a real satellite image: what `scripts/demo` runs after its set-up."""

import argparse
import shutil
import sys
from pathlib import Path

from samtune.cli import main as samtune

ROOT = Path(__file__).parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "demo")
    parser.add_argument("--budget", default="", help="of tuning, such as 30s (default: 120 steps)")
    options = parser.parse_args()
    data, run = options.out / "data", options.out / "run"
    if code := _make_data(data):
        return code
    shutil.rmtree(run, ignore_errors=True)
    return _run_steps(data, run, options.budget)


def _make_data(data: Path) -> int:
    if not data.exists():
        return samtune(["fetch", "buildings_sample", "--out", str(data), "--yes"])
    return 0


def _run_steps(data: Path, run: Path, budget: str) -> int:
    config = ["--config", str(data / "config.yaml")]
    protocols = ["--protocols", "box", "point", "clicks_3"]
    steps = {
        "1. fine-tuning": [
            "fit", *config, "--run", str(run), *(["--budget", budget] if budget else []),
        ],
        "2. base against tuned on the held-out blocks": ["evaluate", str(run), *protocols],
    }  # fmt: skip
    for title, arguments in steps.items():
        print(f"\n== {title}\n$ samtune {' '.join(arguments)}")
        sys.stdout.flush()
        if code := samtune(arguments):
            return code
    print(
        "\nThe blocks are of one scene: this shows how samtune works and measures, and what a few "
        "labelled buildings bring for the rest of that scene."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
