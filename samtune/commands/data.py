"""`samtune data COMMAND`: work on data sets.

check     look at a data set before training: what is there, and what would spoil the result
convert   write a data set as COCO, label maps, YOLO or labelme
fetch     fetch a known data set and arrange it for training
"""

import argparse
import json
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from samtune.commands.data_fetch import fetch
from samtune.commands.evaluation_options import build_data
from samtune.commands.options import parse_known, quieten, read_settings
from samtune.data.check import CheckResult
from samtune.data.check import check as look
from samtune.data.datamodule import SamDataModule
from samtune.data.splits import SPLITS
from samtune.data.writing import WRITERS, Target, Writer
from samtune.errors import UserError
from samtune.evaluation.report.tables import markdown_table
from samtune.files import replacing_folder
from samtune.models.registry import REGISTRY


def main(arguments: list[str]) -> None:
    quieten()
    commands = {"check": check, "convert": convert, "fetch": fetch}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    if arguments[0] not in commands:
        raise UserError(
            f"there is no command 'data {arguments[0]}': choose from {', '.join(commands)}"
        )
    commands[arguments[0]](arguments[1:])


def _check_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune data check",
        description="Look at a data set before training. Exit code 1 if something must be put right. "
        "Any --data. setting says how to read.",
        exit_on_error=False,
    )
    parser.add_argument("source", help="a fit config, or what data.path could be")
    parser.add_argument("--image-size", type=int, default=0, help="of the model (default: 1024)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def check(arguments: list[str]) -> None:
    """Run `samtune data check SOURCE`.

    Raises:
        SystemExit: with code 1, after errors were found.
    """
    options, data_arguments = parse_known(_check_parser(), arguments)
    path = Path(options.source)
    is_config = (
        path.is_file() and path.suffix in (".yaml", ".yml") and "model" in read_settings(path)
    )
    given = [] if is_config else ["--data.path", options.source]
    data = build_data(None, options.source if is_config else None, [*given, *data_arguments])
    if data.format == "procedural":
        raise UserError("drawn scenes need no check: name a data set")
    side = options.image_size or (_input_side(read_settings(path)) if is_config else 1024)
    sizes = data.split_sizes()
    sources = {split: data.whole_source(split) for split in SPLITS if sizes.get(split)}
    result = look(sources, side, data.read_settings.stretch, data.min_area, data.tile)
    print(json.dumps(result.as_dict(), indent=2) if options.json else _told(result, side))
    if result.verdict == "errors":
        raise SystemExit(1)


def _input_side(settings: dict[str, Any]) -> int:
    model = settings.get("model") or {}
    spec = REGISTRY.get(str(model.get("base", "")))
    return int(model.get("image_size") or (spec.image_size if spec else 1024))


def _told(result: CheckResult, side: int) -> str:
    head = ["split", "images", "objects", "without objects", f"too small at {side} px",
            "objects an image", "area (px)", "sizes"]  # fmt: skip
    lines = [
        [split, str(its.num_images), str(its.num_objects), str(its.num_without_objects),
         str(its.num_too_small), _range(its.objects_per_image), _range(its.area_quantiles),
         ", ".join(list(its.sizes)[:3]) + (" ..." if len(its.sizes) > 3 else "")]
        for split, its in result.splits.items()
    ]  # fmt: skip
    findings = [f"{finding.level.upper()}: {finding.text}" for finding in result.findings]
    return "\n".join([markdown_table(head, lines), *findings, result.verdict])


def _range(quantiles: list[float]) -> str:
    """Smallest, median and largest."""
    return "-" if not quantiles else " / ".join(f"{quantiles[n]:.0f}" for n in (0, 2, 4))


def _convert_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune data convert",
        description="Write a data set in another format. Splits are kept; images are copied as they "
        "are, tiles and slices of volumes become 8-bit PNG. Any --data. setting says how to read "
        "(--data.labels, --data.tile, ...).",
        exit_on_error=False,
    )
    parser.add_argument("source", help="what data.path could be")
    parser.add_argument("--to", choices=get_args(Target), required=True, help="the format")
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    return parser


def convert(arguments: list[str]) -> None:
    """Run `samtune data convert SOURCE --to FORMAT --out FOLDER`.

    Raises:
        UserError: the folder is there already, or a format cannot hold the objects.
    """
    options, data_arguments = parse_known(_convert_parser(), arguments)
    if options.out.exists():
        raise UserError(f"{options.out} is there already: name a new folder")
    data = build_data(None, None, ["--data.path", options.source, *data_arguments])
    with replacing_folder(options.out) as folder:
        counts = _write_all(data, WRITERS[options.to](folder, is_cut=bool(data.tile)))
    told = ", ".join(f"{split} {images} images with {objects} objects"
                     for split, (images, objects) in counts.items())  # fmt: skip
    print(f"{options.out}: {told}")


def _write_all(data: SamDataModule, writer: Writer) -> dict[str, tuple[int, int]]:
    counts: dict[str, Any] = {}
    sizes = data.split_sizes()
    for split in SPLITS:
        if not sizes.get(split):
            continue
        source = data.source(split)
        num_objects = 0
        for index in tqdm(range(len(source)), desc=split, unit="image", disable=None):
            sample = source.read(index)
            writer.add(split, source.records[index], sample)
            num_objects += sum(len(set(layer.ravel().tolist()) - {0}) for layer in sample.labels)
        counts[split] = (len(source), num_objects)
    writer.finish()
    return counts
