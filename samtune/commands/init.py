"""`samtune init FOLDER_OR_FILE`: look at the data, ask what it does not tell, write a config.

Any --data. setting that is given is kept as it is.
"""

import argparse
import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml

from samtune.commands.data_check import input_side
from samtune.commands.evaluation_options import build_data
from samtune.commands.init_choices import Ask, Choice, choose_data, choose_model, choose_tile
from samtune.commands.options import parse_known, quieten
from samtune.data.survey import Survey, survey
from samtune.errors import UserError
from samtune.files import write_text
from samtune.models.registry import REGISTRY


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("samtune init", description=__doc__, exit_on_error=False)
    parser.add_argument("source", help="folder or file with your images and masks")
    parser.add_argument("--out", type=Path, help="config to write (default: NAME.yaml)")
    parser.add_argument(
        "--base", default="", help="model to tune (default: vit_b, nano without a GPU)"
    )
    parser.add_argument("--yes", action="store_true", help="ask nothing, take what seems right")
    parser.add_argument("--overwrite", action="store_true", help="replace a config that is there")
    return parser


def main(arguments: list[str]) -> None:
    """Run `samtune init SOURCE`.

    Raises:
        UserError: the data cannot be read, or the config is there already.
    """
    quieten()
    options, data_arguments = parse_known(_parser(), arguments)
    source = Path(options.source)
    out = options.out or Path(f"{_name(source)}.yaml")
    if out.exists() and not options.overwrite:
        raise UserError(f"{out} is there already: give another --out, or --overwrite")
    base = options.base or ("vit_b" if torch.cuda.is_available() else "nano")
    if base not in REGISTRY and not Path(base).exists():
        raise UserError(
            f"there is no model '{base}': choose from {', '.join(REGISTRY)}, or a folder"
        )
    side = input_side(base, None)
    data = build_data(None, None, ["--data.path", str(source), *data_arguments])
    found = survey(data, side)
    chosen: list[Choice] = []
    if found.format == "geo" and not data.tile:  # how many windows there are hangs on their size
        tile = choose_tile(found, side)
        chosen = [Choice("data.tile", tile, "windows of the scene, pixels")]
        if tile <= data.tile_overlap:
            chosen.append(Choice("data.tile_overlap", tile // 4, "of neighbouring windows, pixels"))
        windows = [f"--{choice.name}={choice.value}" for choice in chosen]
        everything = ["--data.path", str(source), *data_arguments, *windows]
        found = survey(build_data(None, None, everything), side)
    print(_told(found))
    ask: Ask = _take_default if options.yes or not sys.stdin.isatty() else _ask
    given = _as_settings(data_arguments)
    choices = [
        Choice("data.path", str(source.resolve()), "your data"),
        *(Choice(name, value, "as given") for name, value in given.items()),
        *chosen,
        *choose_data(found, side, set(given), ask),
        *choose_model(base, found, torch.cuda.is_available()),
    ]
    write_text(out, config_text(out, found, choices))
    for choice in choices:
        if choice.is_off:
            setting = f"{choice.name} {choice.value}"
            print(f"NOTE: {setting} is commented out in {out}: take the # away {choice.reason}")
    place = shlex.quote(str(out))
    print(f"wrote {out}; next: samtune data check {place}   then: samtune fit --config {place}")


def _name(source: Path) -> str:
    return re.sub(r"[^\w-]+", "_", source.resolve().stem) or "config"


def _as_settings(arguments: list[str]) -> dict[str, Any]:
    """`--data.tile 512` and `--data.tile=512` as settings."""
    joined = " ".join(arguments)
    words = re.split(r"\s*(--data\.[\w.]+)[= ]?", joined)[1:]
    return {
        name.removeprefix("--"): yaml.safe_load(value or "true")
        for name, value in zip(words[::2], words[1::2], strict=True)
    }


def _told(found: Survey) -> str:
    sizes = ", ".join(f"{split} {size}" for split, size in found.sizes.items())
    first = found.seen[0]
    lines = [
        f"format: {found.format}; images: {sizes}{'' if found.is_split else ' (drawn)'}",
        f"files: {first.stored.num_channels} x {first.stored.dtype}, {first.hw[0]}x{first.hw[1]}; "
        f"seems to be: {found.modality or 'nothing that tells itself'}",
    ]
    notes = [*found.notes, *_doubts(found)]
    return "\n".join([*lines, *(f"NOTE: {note}" for note in notes)])


def _doubts(found: Survey) -> Iterator[str]:
    """What of the data is unusual, or lacking for training."""
    if not found.values:
        yield f"no objects were found in {len(found.seen)} images: are these the right masks?"
    if found.is_interpolated:
        yield "masks hold grey levels along their outlines (resized? JPEG?): all above 0 is object"
    if not found.sizes.get("train") or not found.sizes.get("val"):
        number = sum(found.sizes.values())
        yield (
            f"{number} image(s) are too few for a training and a validation split, and fit needs both: "
            "add images of other groups"
        )


def _take_default(question: str, answers: list[str], default: str) -> str:
    return default


def _ask(question: str, answers: list[str], default: str) -> str:
    """Ask until one of the answers is given; nothing takes the default."""
    while True:
        given = input(f"{question} [{'/'.join(answers)}] ({default}) ").strip() or default
        if given in answers:
            return given
        print(f"please one of: {', '.join(answers)}")


def config_text(out: Path, found: Survey, choices: list[Choice]) -> str:
    """YAML by section, a comment on each choice."""
    place = shlex.quote(str(out))
    lines = [f"# samtune fit --config {place}", "#", f"# By samtune init, for {found.format} data."]
    for section in ("model", "data", "trainer"):
        lines.append(f"{section}:")
        its = [(c.name.split(".")[1:], c) for c in choices if c.name.startswith(f"{section}.")]
        lines += _lines(its, 1)
    return "\n".join(lines) + "\n"


def _lines(choices: list[tuple[list[str], Choice]], depth: int) -> Iterator[str]:
    """Settings by the rest of their names; those that share a name's first part become one mapping."""
    by_name: dict[str, list[tuple[list[str], Choice]]] = {}
    for (name, *rest), choice in choices:
        by_name.setdefault(name, []).append((rest, choice))
    for name, inner in by_name.items():
        nested = [(rest, choice) for rest, choice in inner if rest]
        if nested:
            yield f"{'  ' * depth}{name}:"
            yield from _lines(nested, depth + 1)
        else:
            choice = inner[-1][1]
            line = f"{'  ' * depth}{'# ' * choice.is_off}{name}: {_as_yaml(choice.value)}"
            yield f"{line:<28} # {choice.reason}"


def _as_yaml(value: Any) -> str:
    is_word = isinstance(value, str) and re.fullmatch(r"[a-z_]\w*", value)
    return (
        str(value)
        if is_word and yaml.safe_load(value) == value
        else json.dumps(value, ensure_ascii=False)
    )
