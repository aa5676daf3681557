"""`samtune convert MODEL OUT`: a plain transformers folder, or the official `.pth` file.

A tuned model's adapter is merged into its weights. OUT ending in .pth gives segment_anything's own
layout; anything else a transformers folder, whose config carries the decoder eps.
"""

import argparse
from pathlib import Path

from samtune.commands.options import parse_alone, quieten
from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.models.lora import merge
from samtune.models.saving import save_official, save_transformers


def main(arguments: list[str]) -> None:
    quieten()
    parser = argparse.ArgumentParser("samtune convert", description=__doc__, exit_on_error=False)
    parser.add_argument("model", help="run folder, checkpoint, adapter, or any base model")
    parser.add_argument("out", type=Path, help="FILE.pth, or a new folder")
    parser.add_argument("--checkpoint", help="official weights for a registry name")
    options = parse_alone(parser, arguments)
    if options.out.exists():
        raise UserError(f"{options.out} exists already: give another name")
    sam = load_model(options.model, options.checkpoint)
    merge(sam)
    if options.out.suffix in (".pth", ".pt"):
        save_official(sam, options.out)
    else:
        save_transformers(sam, options.out)
    print(f"{options.model} is now {options.out}")
