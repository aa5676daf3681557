"""`samtune data convert SOURCE --to FORMAT --out FOLDER`: write a data set in another format."""

import argparse
from pathlib import Path
from typing import Any, get_args

from tqdm import tqdm

from samtune.commands.evaluation_options import build_data
from samtune.commands.options import parse_known
from samtune.data.datamodule import SamDataModule
from samtune.data.splits import SPLITS
from samtune.data.writing import WRITERS, Target, Writer
from samtune.errors import UserError
from samtune.files import replacing_folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "samtune data convert",
        description="Write a data set in another format. Splits are kept; images are copied as they "
        "are, also out of tars and tables; tiles and slices of volumes become 8-bit PNG. Any --data. "
        "setting says how to read (--data.labels, --data.tile, ...).",
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
    options, data_arguments = parse_known(_parser(), arguments)
    if options.out.exists():
        raise UserError(f"{options.out} is there already: name a new folder")
    data = build_data(None, None, ["--data.path", options.source, *data_arguments])
    with replacing_folder(options.out) as folder:
        counts = _write_all(data, WRITERS[options.to](folder))
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
            file = None if source.is_part else source.image_file(index)
            writer.add(split, source.records[index], sample, file)
            num_objects += sum(len(set(layer.ravel().tolist()) - {0}) for layer in sample.labels)
        counts[split] = (len(source), num_objects)
    writer.finish()
    return counts
