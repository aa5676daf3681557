"""`init`: look at the data, ask what it does not tell, write a config."""

from __future__ import annotations

import json
import logging
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.files import write_text
from samtune.tasks.arguments import task
from samtune.tasks.opening import input_side, open_data
from samtune.tasks.results import Result, Rows
from samtune.tasks.settings import DataLike, data_of
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.data.checks.choices import Choice
    from samtune.data.checks.survey import Survey
    from samtune.data.datamodule import SamDataModule

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Proposal(Result):
    """A config that was written.

    Attributes:
        config: the file.
        choices: settings with their reasons, in its order.
    """

    config: Path
    choices: list[Choice]

    @property
    def headline(self) -> str:
        place = shlex.quote(str(self.config))
        return (
            f"wrote {self.config}; next: samtune check {place}   then: samtune fit --config {place}"
        )

    @property
    def tables(self) -> Mapping[str, Rows]:
        rows: Rows = [
            {"setting": c.name, "value": str(c.value), "reason": c.reason, "is on": not c.is_off}
            for c in self.choices
        ]
        return {"settings": rows}


@task
def init(
    source: str | Path,
    *,
    out: str | Path | None = None,
    base: str | Path = "",
    data: DataLike = None,
    overwrite: bool = False,
    ask: Callable[[str, list[str], str], str] | None = None,
) -> Proposal:
    """Look at your data and write a config for it, with a reason for each choice.

    Settings of the data that are given are kept as they are.

    Args:
        source: folder or file with your images and masks.
        out: config to write (default: NAME.yaml).
        base: model to tune (default: vit_b, nano without a GPU).
        data: settings of the data that are known.
        overwrite: replace a config that is there.
        ask: is put the questions that the data do not answer: (question, answers, default) -> answer;
            without it the default is taken.

    Raises:
        UserError: the data cannot be read, or the config is there already.
    """
    import torch

    from samtune.data.checks.choices import Choice, choose_data, choose_model, choose_scene_tile
    from samtune.data.checks.survey import survey
    from samtune.images.intensity import looking_on
    from samtune.models.registry import REGISTRY

    config = Path(out) if out else Path(f"{_name(Path(source))}.yaml")
    if config.exists() and not overwrite:
        raise UserError(f"{config} is there already: give another --out, or --overwrite")
    base = str(base) or ("vit_b" if torch.cuda.is_available() else "nano")
    if base not in REGISTRY and not Path(base).exists():
        raise UserError(
            f"there is no model '{base}': choose from {', '.join(REGISTRY)}, or a folder"
        )
    side, known = input_side(base), data_of(source, data)
    given = {name: value for name, value in known.items() if name != "path"}
    chosen = list[Choice]()
    with looking_on():  # how they are seen well is what is chosen here
        opened = open_data(None, data=known)
        found = survey(opened)
        # how many windows a scene has depends on their size
        if found.format == "geo" and not opened.tile:
            tile = choose_scene_tile(found, side)
            chosen.append(Choice("data.tile", tile, "windows of the scene, pixels"))
            known["tile"] = tile
            found = survey(open_data(None, data=known))
    kept = [Choice(name, value, "as given") for name, value in flat("data", given)]
    choices = [
        Choice("data.path", str(Path(source).resolve()), "your data"),
        *kept,
        *chosen,
        *choose_data(found, side, {choice.name for choice in kept}, ask or _take_default),
        *choose_model(base, found, torch.cuda.is_available()),
    ]
    write_text(config, config_text(config, found, choices))
    _tell(found, side, open_data(None, config))
    for choice in choices:
        if choice.is_off:
            setting = f"{choice.name} {choice.value}"
            log.info(
                "NOTE: %s is commented out in %s: take the # away %s",
                setting,
                config,
                choice.reason,
            )
    return Proposal(config, choices)


def _name(source: Path) -> str:
    return re.sub(r"[^\w-]+", "_", source.resolve().stem) or "config"


def flat(prefix: str, settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Nested settings under their full names."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
            yield from flat(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value


def _take_default(question: str, answers: list[str], default: str) -> str:
    return default


def _tell(found: Survey, side: int, data: SamDataModule) -> None:
    """What was seen, and what of it is unusual.

    Args:
        found: what was seen.
        side: of the model's input, pixels.
        data: as the config has them now.
    """
    counts = {split: size for split, size in data.split_sizes().items() if size}
    sizes = ", ".join(f"{split} {size}" for split, size in counts.items())
    first = found.seen[0]
    log.info(
        "format: %s; images: %s%s",
        found.format,
        sizes,
        "" if found.grouping.is_split else " (drawn)",
    )
    log.info(
        "the first image: %s of %s, %dx%d pixels; kind of images: %s",
        counted(first.stored.num_channels, "channel"), first.stored.dtype, *first.hw[::-1],
        found.modality or "not recognised (data.augment can name it)",
    )  # fmt: skip
    if data.split_sizes().get("train"):
        log.info(data.tell_epoch())
    tie, settings = found.grouping, data.settings
    is_tied = tie.is_split or tie.is_grouped or settings.group_column or settings.group_regex
    # slices and windows are tied by what they are parts of
    if counts and not is_tied and not data.whole_source(next(iter(counts))).is_part:
        log.info(
            "NOTE: all images are taken as independent: if several show one patient, slide or video, "
            "name the column of manifest.csv that says so, data.group_column"
        )
    for note in (*found.notes, *_doubts(found, side, data.tile)):
        log.info("NOTE: %s", note)


def _doubts(found: Survey, side: int, tile: int) -> Iterator[str]:
    """What of the data is unusual, or lacking for training."""
    from samtune.data.checks.sizes import tell_too_small

    if not found.values:
        where = counted(len(found.seen), "image")
        yield f"no objects were found in {where}: are these the right masks?"
    if found.is_interpolated:
        yield "masks hold grey levels along their outlines (resized? JPEG?): all above 0 is object"
    yield from tell_too_small("the images that were looked at", found.seen, side, tile)
    if not found.sizes.get("train") or not found.sizes.get("val"):
        number = sum(found.sizes.values())
        yield (
            f"{number} image(s) are too few for a training and a validation split, and fit needs both: "
            "add images of other groups"
        )


def config_text(out: Path, found: Survey, choices: list[Choice]) -> str:
    """YAML by section, a comment on each choice."""
    place = shlex.quote(str(out))
    lines = [f"# samtune fit --config {place}", "#", f"# By samtune init, for {found.format} data."]
    parted = [(choice.name.split("."), choice) for choice in choices]
    lines += _lines([each for each in parted if len(each[0]) == 1], 0)
    for section in ("model", "data", "trainer"):
        its = [(rest, choice) for (first, *rest), choice in parted if rest and first == section]
        if its:
            lines += [f"{section}:", *_lines(its, 1)]
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
    import yaml

    is_word = isinstance(value, str) and re.fullmatch(r"[a-z_]\w*", value)
    return (
        str(value)
        if is_word and yaml.safe_load(value) == value
        else json.dumps(value, ensure_ascii=False)
    )
