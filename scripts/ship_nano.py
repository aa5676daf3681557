"""Make the `nano` that ships out of its training runs: weights, log and loss curve.

    python scripts/ship_nano.py runs/pretrain_encoder runs/pretrain runs/pretrain_clicks

The weights are those of the last run's last step, where its learning rate has fallen to nothing, in
half precision.
"""

import argparse
import csv
import sys
from pathlib import Path

import torch
from safetensors.torch import save

from samtune.files import write_bytes, write_text
from samtune.models.loading import load_model
from samtune.models.lora import merge
from samtune.models.weights import ASSETS

COLUMNS = ("train/loss", "train/miou", "val/box_miou", "val/point_miou")
SHOWN = {"train/miou": "#999999", "val/box_miou": "#0072b2", "val/point_miou": "#d55e00"}
WIDTH, HEIGHT, MARGIN = 720, 300, 44
# Training rows are single batches: the curve shows means over so many of them
SMOOTHING = 15

Row = dict[str, float]


def write_weights(run: Path) -> Path:
    sam = load_model(run / "checkpoints" / "last.ckpt")
    merge(sam)
    state = {
        name: value.half().contiguous().clone() for name, value in sam.core.state_dict().items()
    }
    lost = max(float((value - state[name].float()).abs().max())
               for name, value in sam.core.state_dict().items())  # fmt: skip
    print(f"rounding to half precision moves a weight by {lost:.1e} at most")
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise SystemExit("a weight does not fit half precision")
    path = ASSETS / "nano.safetensors"
    write_bytes(path, save(state))
    return path


def read_log(runs: list[Path]) -> list[Row]:
    """Rows of all runs, steps counted on from run to run."""
    rows: list[Row] = []
    for run in runs:
        start = rows[-1]["step"] + 1 if rows else 0
        with (run / "metrics.csv").open(newline="") as file:
            for line in csv.DictReader(file):
                values = {name: float(line[name]) for name in COLUMNS if line.get(name)}
                rows.append({"step": start + int(line["step"]), **values})
    return rows


def write_log(rows: list[Row], path: Path) -> None:
    lines = [",".join(("step", *COLUMNS))]
    for row in rows:
        cells = [f"{row[name]:.4f}" if name in row else "" for name in COLUMNS]
        lines.append(",".join((str(int(row["step"])), *cells)))
    write_text(path, "\n".join(lines) + "\n")


def write_curve(rows: list[Row], path: Path) -> None:
    """An SVG of mIoU over steps."""
    last = rows[-1]["step"]
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="sans-serif" font-size="12">'
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']  # fmt: skip
    for level in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = _y(level)
        parts.append(f'<path d="M{MARGIN} {y}H{WIDTH - MARGIN}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4}" text-anchor="end">{level:g}</text>')
    for number, (name, colour) in enumerate(SHOWN.items()):
        points = _smoothed([(row["step"], row[name]) for row in rows if name in row],
                           SMOOTHING if name.startswith("train") else 1)  # fmt: skip
        line = " ".join(f"{_x(step, last):.1f},{_y(value):.1f}" for step, value in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = MARGIN + 150 * number
        parts.append(f'<text x="{x}" y="{HEIGHT - 6}" fill="{colour}">{name}</text>')
    parts.append(f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 6}" text-anchor="end">'
                 f"step {int(last)}</text></svg>")  # fmt: skip
    write_text(path, "\n".join(parts) + "\n")


def _x(step: float, last: float) -> float:
    return MARGIN + (WIDTH - 2 * MARGIN) * step / last


def _y(value: float) -> float:
    return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value


def _smoothed(points: list[tuple[float, float]], size: int) -> list[tuple[float, float]]:
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [
        (sum(step for step, _ in group) / len(group), sum(value for _, value in group) / len(group))
        for group in groups
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, help="training runs, first to last")
    options = parser.parse_args()
    path = write_weights(options.runs[-1])
    rows = read_log(options.runs)
    write_log(rows, ASSETS / "nano_training.csv")
    write_curve(rows, ASSETS / "nano_training.svg")
    sam = load_model("nano")
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, sha256 of the weights {sam.base.sha256}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
