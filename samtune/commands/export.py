"""`samtune export MODEL --to TARGET --out FOLDER`: take a model to where it is used.

adapter      PEFT's folder, which PEFT and transformers load
hf           transformers' folder, the adapter merged
official     the authors' .pth, the adapter merged
onnx         encoder and decoder, for any runtime
annotation   for AnyLabeling and X-AnyLabeling

Everything is loaded again and compared with the model before the folder appears, which holds a model
card too.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from samtune.commands.evaluation_options import build_data, find_run
from samtune.commands.options import parse_known, quieten, read_settings
from samtune.commands.scale import scale_of
from samtune.data.source import Source
from samtune.errors import UserError, require
from samtune.evaluation.report.tables import to_markdown
from samtune.export.adapter import export_adapter, find_hub_id
from samtune.export.annotation import export_annotation
from samtune.export.card import Facts, write_card
from samtune.export.exported import ExportSettings
from samtune.export.hf import export_hf
from samtune.export.official import export_official
from samtune.export.onnx import export_onnx
from samtune.export.push import listing, push, require_target
from samtune.files import read_json, replacing_folder
from samtune.models.backend import Sam
from samtune.models.loading import load_model, tuned_sha256

TARGETS = {
    "adapter": export_adapter, "hf": export_hf, "official": export_official, "onnx": export_onnx,
    "annotation": export_annotation,
}  # fmt: skip
_WITH_ONNX = ("onnx", "annotation")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune export", description=__doc__, exit_on_error=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="--data.path FOLDER and other settings of data say on what int8 is measured.",
    )  # fmt: skip
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument(
        "--to", required=True, choices=list(TARGETS), metavar="TARGET", dest="target"
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FOLDER", help="a new folder")
    parser.add_argument("--name", help="of the model (default: the run's)")
    parser.add_argument(
        "--scale", type=float, help="how strongly to apply the tuning (1: all of it)"
    )
    parser.add_argument("--int8", action="store_true", help="8-bit encoder (onnx, annotation)")
    parser.add_argument(
        "--max-images", type=int, default=10, help="to measure int8 and tools on (default: 10)"
    )
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    parser.add_argument("--license", default="", help="of your weights (default: the base's)")
    parser.add_argument(
        "--datasets", nargs="+", default=[], metavar="ID", help="on the Hub, for the card"
    )
    parser.add_argument("--push", metavar="USER/NAME", help="upload to the Hugging Face Hub")
    parser.add_argument("--private", action="store_true", help="of a new repository there")
    parser.add_argument("--dry-run", action="store_true", help="list what --push would upload")
    return parser


def main(arguments: list[str]) -> None:
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    _require_sense(options, data_arguments)
    run = find_run(Path(options.model))
    name = options.name or _name_of(run or Path(options.model))
    source, min_area = _validation_images(options, run, data_arguments)
    settings = ExportSettings(name, options.int8, source, options.max_images, min_area)
    sam = load_model(options.model, options.checkpoint)
    if options.scale is not None:
        scale_of(sam).settle(options.scale)
    facts = _facts(options, run, sam, name)
    with replacing_folder(options.out) as folder:
        exported = TARGETS[options.target](sam, folder, settings)
        write_card(folder, sam, exported, facts)
    for line in (*exported.checks, *(f"NOTE: {note}" for note in exported.notes)):
        print(line)
    print(f"{options.model} is now {options.out}, with its model card in README.md")
    _push(options)


def _require_sense(options: argparse.Namespace, data_arguments: list[str]) -> None:
    if options.out.exists():
        raise UserError(f"{options.out} exists already: give another name")
    if options.int8 and options.target not in _WITH_ONNX:
        raise UserError(f"--int8 is for --to onnx and annotation, not for {options.target}")
    if data_arguments and options.target not in _WITH_ONNX:
        raise UserError(
            f"{data_arguments[0]} is for --to onnx and annotation, not for {options.target}: nothing "
            "is measured there"
        )
    if options.scale is not None and not 0 <= options.scale < float("inf"):
        raise UserError(f"--scale {options.scale:g}: scales are 0 or more")
    if options.max_images < 1:
        raise UserError(f"--max-images is {options.max_images}: give a whole number from 1 up")
    if options.name and not re.fullmatch(_NAME, options.name):
        raise UserError(f"--name {options.name}: use letters, digits, '.', '_' and '-'")
    if options.push:
        require_target(options.push, options.dry_run)
    elif options.dry_run or options.private:
        raise UserError("--dry-run and --private go with --push USER/NAME")
    if options.target in _WITH_ONNX:
        for package in ("onnx", "onnxruntime"):
            require(package, "onnx")


def _name_of(path: Path) -> str:
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name).strip("-._")[:96]
    return found or "model"


def _validation_images(
    options: argparse.Namespace, run: Path | None, data_arguments: list[str]
) -> tuple[Source | None, int]:
    """Where a loss is measured: the run's validation split, if its data are (still) there."""
    is_measured = options.int8 or options.target == "annotation"
    if not data_arguments and not (run and is_measured):
        return None, 10
    try:
        data = build_data(run, None, data_arguments)
        return data.source("val"), data.min_area
    except UserError as error:
        if data_arguments:
            raise
        print(
            f"NOTE: the loss is measured on drawn scenes, for the run's data cannot be had: {error}"
        )
        return None, 10


def _facts(options: argparse.Namespace, run: Path | None, sam: Sam, name: str) -> Facts:
    settings = read_settings(run / "config.yaml") if run else {}
    return Facts(
        name=name,
        target=options.target,
        base=sam.base,
        hub_id=find_hub_id(sam.base),
        settings=settings,
        results=_results(run, sam) if run else "",
        license=options.license,
        datasets=options.datasets,
        terms=_terms(settings),
        scale=options.scale,
        is_tuned=sam.is_adapted or bool(sam.thresholds or sam.calibration),
    )


def _results(run: Path, sam: Sam) -> str:
    """What `samtune evaluate` found of these very weights."""
    path = run / "evaluation" / "results.json"
    if not path.exists():
        return ""
    results = read_json(path)
    try:
        about = results["about"]
        if about["weights_sha256"] != tuned_sha256(sam):
            return (
                "The run was evaluated with other weights than these (another scale, or before it was "
                "trained again): evaluate this export."
            )
        return _told(results)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): run samtune evaluate again") from error


def _told(results: dict[str, Any]) -> str:
    about = results["about"]
    parts = [results["headline"], to_markdown(results["protocols"])]
    if results["warnings"]:
        parts.append("\n".join(f"- WARNING: {warning}" for warning in results["warnings"]))
    if results["general"]:
        what = f"What was lost elsewhere ({results['general']['name']}):"
        parts += [what, to_markdown(results["general"]["protocols"])]
    parts.append(
        f"Measured by `samtune evaluate` in PyTorch, before the export, on the {about['split']} split "
        f"of `{Path(str(about['data'])).name}` (sha256 of its pixels and labels "
        f"`{about['data_sha256']}`), seed {about['seed']}. Differences are tuned minus base."
    )
    return "\n\n".join(parts)


def _terms(settings: dict[str, Any]) -> str:
    """What `samtune data fetch` wrote of the data's licence beside them."""
    path = (settings.get("data") or {}).get("path")
    file = Path(str(path)) / "README.txt"
    if not path or not file.is_file():
        return ""
    text = file.read_text(encoding="utf-8", errors="replace")
    return text[:4000] if "\nlicence:" in text else ""


def _push(options: argparse.Namespace) -> None:
    if not options.push:
        return
    if options.dry_run:
        print(f"would be uploaded to https://huggingface.co/{options.push}:")
        print(listing(options.out))
        return
    message = f"{options.target} export of samtune"
    print(f"uploaded to {push(options.out, options.push, options.private, message)}")
