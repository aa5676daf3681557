"""`samtune data check SOURCE`: a look at the data before training, in the terminal and on a page."""

import argparse
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from samtune.commands.evaluation_options import build_data
from samtune.commands.options import choose_device, parse_known, read_settings
from samtune.data.checks.check import CheckResult
from samtune.data.checks.check import check as look
from samtune.data.datamodule import SamDataModule
from samtune.data.source import Source, Subset
from samtune.data.splits import SPLITS
from samtune.errors import UserError
from samtune.evaluation.compare import compare
from samtune.evaluation.contestants import BASE, Contestants
from samtune.evaluation.report.data_page import (
    draw_batch,
    facts_table,
    score_sentence,
    write_data_page,
)
from samtune.evaluation.report.tables import markdown_table
from samtune.evaluation.settings import EvaluationSettings
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.models.registry import REGISTRY
from samtune.prompts.protocols import find_protocols

_DEFAULT_MODEL = "nano"
# Before a fit, so many images of each split are looked at, for so many seconds.
_FEW_IMAGES, _FEW_SECONDS = 24, 10.0
_PICTURES = 8


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune data check",
        description="Look at a data set before training. Exit code 1 if something must be put right. "
        "Any --data. setting says how to read.",
        exit_on_error=False,
    )
    parser.add_argument("source", help="a fit config, or what data.path could be")
    parser.add_argument("--image-size", type=int, default=0, help="of the model (default: its own)")
    parser.add_argument(
        "--model",
        default="",
        help=f"that is to be tuned (default: the config's, or {_DEFAULT_MODEL})",
    )
    parser.add_argument(
        "--score-images", type=int, default=8, help="that the base is scored on; 0: none"
    )
    parser.add_argument(
        "--page", type=Path, help="HTML page (default: runs/checks/NAME-PLACE.html)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def check(arguments: list[str]) -> None:
    """Run `samtune data check SOURCE`.

    Raises:
        SystemExit: with code 1, after errors were found.
    """
    options, data_arguments = parse_known(_parser(), arguments)
    path = Path(options.source)
    is_config = _is_config(path)
    given = [] if is_config else ["--data.path", options.source]
    data = build_data(None, options.source if is_config else None, [*given, *data_arguments])
    if data.format == "procedural":
        raise UserError("drawn scenes need no check: name a data set")
    model = _model_settings(read_settings(path) if is_config else {}, options)
    side = input_side(model["base"], model["image_size"])
    result = look(
        _sources(data), side, data.read_settings.stretch, data.min_area, data.tile,
        on_error=data.on_error,
    )  # fmt: skip
    score, pictures = _shown(data, model, options.score_images, result)
    page = options.page or Path("runs") / "checks" / f"{_page_name(path)}.html"
    write_data_page(page, str(data.path), result, side, score, pictures)
    told = {**result.as_dict(), "base_score": score, "page": str(page)}
    print(json.dumps(told, indent=2) if options.json else _told(result, side, score, page))
    if result.verdict == "errors":
        raise SystemExit(1)


def check_before_fit(data: SamDataModule, side: int) -> None:
    """A short check: warnings are printed, errors stop.

    Args:
        data: of the run.
        side: of the model's input, pixels.

    Raises:
        UserError: something must be put right.
    """
    if data.format == "procedural":
        return
    result = look(
        _sources(data), side, data.read_settings.stretch, data.min_area, data.tile,
        most=_FEW_IMAGES, seconds=_FEW_SECONDS, on_error=data.on_error,
    )  # fmt: skip
    errors = [finding.text for finding in result.findings if finding.level == "error"]
    for finding in result.findings:
        if finding.level == "warning":
            print(f"WARNING: {finding.text}")
    if errors:
        raise UserError(
            f"the data: {'; '.join(errors[:3])} (samtune data check tells more; --check false trains "
            "all the same)"
        )


def _is_config(path: Path) -> bool:
    return path.is_file() and path.suffix in (".yaml", ".yml") and "model" in read_settings(path)


def _page_name(path: Path) -> str:
    """The data's own name, and some letters of their place: many folders are called `data`."""
    place = path.resolve()
    digest = hashlib.sha256(os.fsencode(place)).hexdigest()
    name = re.sub(r"[^\w.-]+", "_", place.stem)
    return f"{name}-{digest[:6]}"


def _sources(data: SamDataModule) -> dict[str, Source]:
    sizes = data.split_sizes()
    return {split: data.whole_source(split) for split in SPLITS if sizes.get(split)}


def _model_settings(settings: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    model = settings.get("model") or {}
    return {
        "base": options.model or str(model.get("base") or _DEFAULT_MODEL),
        "checkpoint": "" if options.model else str(model.get("checkpoint") or ""),
        "image_size": options.image_size or model.get("image_size"),
    }


def input_side(base: str, image_size: int | None) -> int:
    """Side of the input of a model that is not loaded yet, pixels."""
    spec = REGISTRY.get(base)
    return int(image_size or (spec.image_size if spec else 1024))


def _shown(
    data: SamDataModule, model: dict[str, Any], num_images: int, result: CheckResult
) -> tuple[dict[str, Any], list[Any]]:
    """What the base scores on a sample, and pictures of the first batch; why not, where it cannot."""
    if any(finding.text.startswith("cannot be read:") for finding in result.findings):
        return {"reason": "some images cannot be read"}, []
    try:
        sam = load_model(model["base"], model["checkpoint"], model["image_size"] or None,
                         choose_device("auto"))  # fmt: skip
        return _score(data, sam, num_images), draw_batch(data, sam, _PICTURES)
    except UserError as error:
        return {"reason": str(error)}, []


def _score(data: SamDataModule, sam: Sam, num_images: int) -> dict[str, Any]:
    """mIoU of the base by protocol, on images evenly spread over the validation split."""
    sizes = data.split_sizes()
    split = next((name for name in ("val", "train", "test") if sizes.get(name)), "")
    if not split or not num_images:
        return {"reason": "no images were asked for"}
    source = data.source(split)
    places = np.unique(np.linspace(0, len(source) - 1, num_images).astype(int)).tolist()
    settings = EvaluationSettings(tuple(find_protocols(["box", "point"])), min_area=data.min_area)
    rows = compare(Contestants(sam, False), Subset(source, places), settings, what="base").rows
    ious = {name: [row.scores[BASE].iou for row in rows if row.protocol == name]
            for name in dict.fromkeys(row.protocol for row in rows)}  # fmt: skip
    return {
        "model": sam.base.name,
        "split": split,
        "num_images": len(places),
        "num_objects": max((len(values) for values in ious.values()), default=0),
        "miou": {name: round(float(np.mean(values)), 4) for name, values in ious.items()},
    }


def _told(result: CheckResult, side: int, score: dict[str, Any], page: Path) -> str:
    head, lines = facts_table(result, side)
    findings = [f"{finding.level.upper()}: {finding.text}" for finding in result.findings]
    return "\n".join(
        [
            markdown_table(head, lines),
            score_sentence(score),
            *findings,
            f"page: {page}",
            result.verdict,
        ]
    )
