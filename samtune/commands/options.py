"""What the commands share: parsing flags into one-line errors, reading settings, choosing a device."""

import argparse
import logging
import re
import warnings
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml

from samtune.errors import UserError
from samtune.models.backend import Sam


def parse_known(
    parser: argparse.ArgumentParser, arguments: list[str]
) -> tuple[argparse.Namespace, list[str]]:
    """Parse a command's own options; what begins with `--data.` is returned as it is.

    Raises:
        UserError: an option is unknown or wrong.
    """
    others, data = _take_data(arguments)
    try:
        options, rest = parser.parse_known_args(others)
    except argparse.ArgumentError as error:
        raise UserError(f"{parser.prog}: {error}") from error
    except SystemExit as error:
        if not error.code:  # --help
            raise
        raise UserError(f"{parser.prog}: something is missing (see --help)") from error
    if rest:
        hint = _list_hint(arguments, rest[0]) or "see --help"
        raise UserError(f"{parser.prog}: unknown option {rest[0]} ({hint})")
    return options, data


def _take_data(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Part the `--data.` flags with their values from the rest."""
    others: list[str] = []
    data: list[str] = []
    is_value = False
    for argument in arguments:
        is_flag = argument.startswith("--data.")
        (data if is_flag or is_value else others).append(argument)
        is_value = is_flag and "=" not in argument
    return others, data


def _list_hint(arguments: list[str], unknown: str) -> str:
    """How a list is written, where a `--data.` flag was given one with blanks; else empty."""
    place = arguments.index(unknown)
    flag = arguments[max(0, place - 2)]
    if not flag.startswith("--data.") or "=" in flag or unknown.startswith("-"):
        return ""
    values = takewhile(lambda word: not word.startswith("--"), arguments[place - 1 :])
    return f"a list is one value: {flag} '[{','.join(values)}]'"


def parse_alone(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parse the options of a command that takes no `--data.` settings.

    Raises:
        UserError: an option is unknown or wrong.
    """
    options, rest = parse_known(parser, arguments)
    if rest:
        raise UserError(f"{parser.prog}: unknown option {rest[0]} (see --help)")
    return options


def read_settings(file: Path) -> dict[str, Any]:
    """Settings of a YAML file: a config, or the `config.yaml` of a run.

    Raises:
        UserError: there is none, or it is no YAML mapping.
    """
    try:
        settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not YAML: {one_line(str(error))}") from error
    if not isinstance(settings, dict):
        raise UserError(f"{file} holds no settings")
    return settings


def tile_of(sam: Sam, given: int | None) -> int:
    """The side of tiles or windows: given by `--tile`, or as in training; 0 is the whole image."""
    return sam.view.tile if given is None else given


def one_line(message: str) -> str:
    """The first sentences of a parser's message, without its listing of alternatives."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    return re.sub(r"\s+", " ", " ".join(lines[:3]))[:500]


def parse_numbers(text: str, lengths: tuple[int, ...], flag: str) -> list[float]:
    """Numbers of a flag, separated by commas.

    Raises:
        UserError: they are others, or not so many.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in lengths:
        wanted = " or ".join(map(str, lengths))
        raise UserError(f"{flag} {text}: expected {wanted} numbers with commas and no spaces")
    return numbers


def choose_device(name: str) -> torch.device:
    """`auto` takes a GPU where there is one.

    Raises:
        UserError: the device is unknown or not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device '{name}' cannot be used: {one_line(str(error))}") from error
    return device


def quieten() -> None:
    """Silence what the libraries say of their own workings; warnings about the run stay."""
    transformers.utils.logging.disable_progress_bar()
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        r".*args parameter is intended to run from within Python.*",
        r".*in eval mode at the start of training.*",
        r".*does not have many workers.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*is_gradient_checkpointing.*",
        r".*The number of training batches.*",
        r".*LeafSpec.*",
        r".*GPU available but not used.*",
        r".*does not have a `.*` method.*",
    ):
        warnings.filterwarnings("ignore", message=text)
