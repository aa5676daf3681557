"""`samtune learning-curve CONFIG`: would more data help?

Tunes on 1, 5, 10, ... training images, several times each with other images and another start, and
evaluates every run on the same test images. All runs take as many steps as the one with all images
would, so that sizes differ in nothing but data. A run that is done is not done again: start the
command anew to go on where it was interrupted, or with more sizes or seeds. What the command does
not know is handed to samtune fit (--data.path FOLDER, --trainer.max_epochs 5 ...). Each run keeps its
best step by the whole validation split, whatever its size; the interval is over test images, for the
mean of the seeds.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.commands.evaluate import evaluate
from samtune.commands.evaluate import parser as evaluate_parser
from samtune.commands.fit import FitCLI, fit, parse
from samtune.commands.options import quieten
from samtune.errors import UserError
from samtune.evaluation.learning import CurvePoint, learning_curve, would_more_help
from samtune.evaluation.report.plots import Series, line_chart
from samtune.evaluation.report.short_page import Chart, write_short_page
from samtune.evaluation.report.tables import interval_text, markdown_table
from samtune.files import read_json, write_json
from samtune.prompts.protocols import find_protocols

_HEAD = ("protocol", "images", "base mIoU", "tuned mIoU", "lowest and highest seed", "difference",
         "95% interval")  # fmt: skip
# How often each run is validated, to keep its best step.
_NUM_VALIDATIONS = 8


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune learning-curve", description=__doc__, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("config", help="a fit config")
    parser.add_argument("--sizes", default="1,5,10,50,all", help="numbers of training images")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each size")
    parser.add_argument("--protocols", nargs="+", default=["box", "point"], metavar="NAME")
    parser.add_argument(
        "--out", type=Path, help="folder of runs and curve (default: runs/CONFIG-curve)"
    )
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, settings = _parse(arguments)
    folder = options.out or Path("runs") / f"{Path(options.config).stem}-curve"
    find_protocols(options.protocols)
    plan = parse(["--config", options.config, *settings, "--run", str(folder / "plan")])
    sizes = _sizes(options.sizes, len(plan.datamodule.whole_source("train")))
    steps = _num_steps(plan, len(plan.datamodule.source("train")))
    print(f"{len(sizes) * options.seeds} runs of {steps} steps each, sizes {sizes}: {folder}")
    _keep_plan(folder, plan, settings, steps)
    files: dict[int, list[Path]] = {}
    for size in sizes:
        for seed in range(options.seeds):
            files.setdefault(size, []).append(
                _run(options, settings, folder, size, seed, steps, plan)
            )
            _tell(learning_curve(files), folder)
    print(f"report: {folder / 'curve.html'}")


def _keep_plan(folder: Path, plan: FitCLI, settings: list[str], steps: int) -> None:
    """Note what all runs of a folder have in common, and that what was begun is gone on with.

    Raises:
        UserError: the folder holds a curve of other settings, or there are no test images.
    """
    data = plan.datamodule
    text = Path(str(plan.config["config"][0])).read_text(encoding="utf-8")
    content = {
        "config": text,
        "settings": settings,
        "steps": steps,
        "test_images": [record.image_id for record in data.source("test").records],
    }
    file = folder / "plan.json"
    if file.exists():
        before = read_json(file)
        differing = [name for name in content if before.get(name) != content[name]]
        if differing:
            raise UserError(
                f"{folder} holds a curve with other {' and '.join(differing)}: give another --out, or "
                "the same settings to go on with it"
            )
    write_json(file, content)


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    try:
        options, settings = _parser().parse_known_args(arguments)
    except argparse.ArgumentError as error:
        raise UserError(f"samtune learning-curve: {error}") from error
    except SystemExit as error:
        if not error.code:  # --help
            raise
        raise UserError("samtune learning-curve: name a fit config (see --help)") from error
    if options.seeds < 1:
        raise UserError(f"--seeds is {options.seeds}: give a whole number from 1 up")
    for flag in ("--run", "--seed_everything", "--data.train_images", "--trainer.max_steps"):
        if any(setting.split("=")[0] == flag for setting in settings):
            raise UserError(f"samtune learning-curve sets {flag} itself: leave it out")
    return options, settings


def _sizes(text: str, num_images: int) -> list[int]:
    """Sizes in rising order, each once; `all` and what is more are all images.

    Raises:
        UserError: a size is no number.
    """
    sizes = set()
    for part in text.split(","):
        if part.strip() == "all":
            sizes.add(num_images)
        elif part.strip().isdigit() and int(part) > 0:
            sizes.add(min(int(part), num_images))
        else:
            raise UserError(f"--sizes {text}: give numbers from 1 up and 'all', such as 1,5,10,all")
    return sorted(sizes)


def _num_steps(plan: FitCLI, num_images: int) -> int:
    """Steps of the run with all images."""
    trainer = plan.trainer
    if trainer.max_steps > 0:
        return int(trainer.max_steps)
    if not trainer.max_epochs or trainer.max_epochs < 0:
        raise UserError("set trainer.max_epochs or trainer.max_steps in the config")
    images = plan.datamodule.batch_size * max(1, trainer.world_size)
    batches = -(-num_images // images)
    return int(trainer.max_epochs * -(-batches // trainer.accumulate_grad_batches))


def _run(
    options: argparse.Namespace, settings: list[str], folder: Path, size: int, seed: int,
    steps: int, plan: FitCLI,
) -> Path:  # fmt: skip
    """Tune and evaluate once, or go on with what is there; returns `objects.csv`."""
    run = folder / f"images{size}-seed{seed}"
    objects = run / "evaluation" / "objects.csv"
    if objects.exists() and _was_asked(run, options.protocols):
        return objects
    if not (run / "finished").exists():
        if (run / "checkpoints" / "last.ckpt").exists():
            fit(["--resume", str(run)])
        else:
            fit(_fit_arguments(options, settings, run, size, seed, steps, plan))
        (run / "finished").touch()
    flags = [str(run), "--general", "none", "--gallery", "0", "--protocols", *options.protocols]
    evaluate(evaluate_parser().parse_args(flags), [], ["samtune", "evaluate", *flags])
    return objects


def _was_asked(run: Path, protocols: list[str]) -> bool:
    """Whether a run was evaluated with these protocols."""
    asked = read_json(run / "evaluation" / "results.json")["protocols"]
    return [protocol.name for protocol in find_protocols(protocols)] == list(asked)


def _fit_arguments(
    options: argparse.Namespace, settings: list[str], run: Path, size: int, seed: int,
    steps: int, plan: FitCLI,
) -> list[str]:  # fmt: skip
    config = run / "config.yaml"
    if config.exists():  # begun, but nothing to go on from
        config.unlink()
    accumulate = plan.trainer.accumulate_grad_batches
    every = max(1, steps * accumulate // _NUM_VALIDATIONS)
    split_seed = plan.datamodule.split_settings.seed  # the same test images for all
    return [
        "--config", options.config, *settings, "--run", str(run), "--seed_everything", str(seed),
        "--data.split_seed", str(split_seed), "--data.train_images", str(size),
        "--trainer.max_steps", str(steps), "--trainer.max_epochs", "-1",
        "--trainer.check_val_every_n_epoch", "null", "--trainer.val_check_interval", str(every),
        "--checkpoint_steps", str(max(1, every // accumulate)),
    ]  # fmt: skip


def _tell(curves: dict[str, list[CurvePoint]], folder: Path) -> None:
    lines = [
        [protocol, str(p.num_images), f"{p.base:.3f}", f"{p.tuned:.3f}",
         f"{min(p.by_seed):.3f} to {max(p.by_seed):.3f}", f"{p.difference.mean:+.3f}",
         interval_text(p.difference.ci95)]
        for protocol, points in curves.items()
        for p in points
    ]  # fmt: skip
    sentence = would_more_help(curves)
    content: dict[str, Any] = {
        "headline": sentence,
        "curves": {name: [asdict(point) for point in points] for name, points in curves.items()},
    }
    write_json(folder / "curve.json", content)
    charts = [
        Chart(_chart(points), f"mIoU by number of training images ({protocol})")
        for protocol, points in curves.items()
    ]
    write_short_page(folder / "curve.html", "Would more data help?", sentence, _HEAD, lines, charts)
    print(markdown_table(_HEAD, lines))
    print(sentence)


def _chart(points: list[CurvePoint]) -> str:
    """Sizes at equal distances; the band is the interval of the difference, laid on the base."""
    places = [float(number) for number in range(len(points))]
    intervals = [point.difference.ci95 or (point.difference.mean,) * 2 for point in points]
    series = [
        Series("base", "base", places, [point.base for point in points]),
        Series(
            "tuned, with 95% interval of the difference", "tuned", places,
            [point.tuned for point in points],
            [p.base + low for p, (low, _) in zip(points, intervals, strict=True)],
            [p.base + high for p, (_, high) in zip(points, intervals, strict=True)],
        ),
    ]  # fmt: skip
    ticks = [(place, str(point.num_images)) for place, point in zip(places, points, strict=True)]
    return line_chart(series, "images", "mIoU", ticks)
