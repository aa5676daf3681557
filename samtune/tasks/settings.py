"""From plain values of any origin (YAML, flags, Python) to settings: one way, one kind of error.

Layers are laid over each other: a config file, what a run remembers, what is given. msgspec converts
("1e-3" of a flag becomes a number); what it does not know of is checked here.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from samtune.data.settings import DataSettings
from samtune.errors import UserError
from samtune.parsing import read_yaml
from samtune.ranges import MOST
from samtune.reading import Reading

Settings = TypeVar("Settings")
Layer = Mapping[str, Any]
# Data of a task: a folder or file, some settings, or all of them
DataLike = str | Path | Layer | DataSettings | None
_SECTIONS = ("data", "model", "trainer", "logging")
# Names that settings had in configs of samtune 0.1
MOVED = {
    "seed_everything": "seed", "model.base": "base", "model.checkpoint": "checkpoint",
    "model.image_size": "image_size",
}  # fmt: skip


def build(kind: type[Settings], name: str, *layers: Any) -> Settings:
    """Make settings of layers, the last of which wins; one that is settings already replaces all.

    Args:
        kind: a dataclass.
        name: of the section, which begins the name of a setting in errors.
        layers: mappings (nested ones are merged), settings, or `None`.

    Raises:
        UserError: a setting is unknown, or a value is of the wrong kind or makes no sense.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        if isinstance(layer, kind):
            merged = as_plain(layer)
        elif isinstance(layer, Mapping):
            require_known(kind, layer, name)
            merged = merge(merged, layer)
        elif layer is not None:
            raise UserError(f"{name} is {layer!r}: give its settings as a mapping")
    return cast(Settings, convert(merged, kind, name))


def convert(value: Any, kind: Any, name: str) -> Any:
    """A plain value as a type asks for it.

    Raises:
        UserError: it is of another kind, or makes no sense.
    """
    try:
        return msgspec.convert(_plain(value), kind, strict=False, dec_hook=_decode, str_keys=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        where, reason = _split(str(error), name)
        reason = _choices_of(_kind_at(kind, where[len(name) :])) or reason
        raise UserError(f"{where} is {_at(_plain(value), where, name)!r}: {reason}") from error


def _split(message: str, name: str) -> tuple[str, str]:
    """msgspec's message -> the setting's full name, and what is expected."""
    match = re.fullmatch(r"(.*?)(?: - at (?:`?key`? in )?`\$(.*)`)?", message, re.S)
    assert match is not None
    reason = _in_words(match[1].replace("`", "").replace("Expected ", "expected ").strip())
    place = re.sub(r"\[\.\.\.\]|\[\d+\]", "", match[2] or "")
    return f"{name}{place}".strip("."), reason


def _in_words(reason: str) -> str:
    """`expected int >= 1` -> `give a whole number of at least 1`."""
    match = re.fullmatch(r"expected (int|float) ([<>]=?) (\S+)", reason)
    if not match:
        return reason
    number = "a whole number" if match[1] == "int" else "a number"
    limit = match[3].removesuffix(".0")
    if abs(float(limit)) >= MOST:
        return "give a finite number"
    bounds = {">=": "of at least", ">": "above", "<=": "of at most", "<": "below"}
    return f"give {number} {bounds[match[2]]} {limit}"


def _kind_at(kind: Any, place: str) -> Any:
    """The type of a setting within settings."""
    for name in filter(None, place.split(".")):
        kind = get_type_hints(kind, include_extras=True).get(name) if is_dataclass(kind) else None
    return kind


def _choices_of(kind: Any) -> str:
    """What is expected where there is a choice; empty where there is none."""
    if kind is bool:
        return "expected true or false"
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    words = [str(word) for m in members if get_origin(m) is Literal for word in get_args(m)]
    numbers = [number for number in map(_number_of, members) if number]
    return f"choose from {', '.join([*words, *numbers])}" if words else ""


def _number_of(kind: Any) -> str:
    """What number a type stands for; empty if for none."""
    bare, *rest = get_args(kind) if get_origin(kind) is Annotated else (kind,)
    least = next((f" of at least {each.ge}" for each in rest if each.ge is not None), "")
    return f"a {'whole ' * (bare is int)}number{least}" if bare in (int, float) else ""


def _at(value: Any, where: str, name: str) -> Any:
    """What stands there."""
    for key in where[len(name) :].strip(".").split("."):
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return value


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str | Path):
        return Path(value)
    raise TypeError(f"expected {kind.__name__}")


def _plain(value: Any) -> Any:
    """Paths as text, settings as mappings, so that they can be merged and checked like all others."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_plain(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def as_plain(settings: Any) -> dict[str, Any]:
    """Settings as YAML can hold them."""
    return cast(dict[str, Any], _plain(asdict(settings)))


def merge(below: Layer, above: Layer) -> dict[str, Any]:
    """Mappings laid over each other, nested ones as well."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        # names of classes are one value: other ones are meant instead
        is_section = both and all(isinstance(k, str) for k in value)
        merged[key] = merge(merged[key], value) if is_section else value
    return merged


def require_known(kind: Any, layer: Layer, name: str) -> None:
    """Refuse a setting that there is none of: a slip would have no effect, and nobody told.

    Raises:
        UserError: there is one; the message names those that are like it.
    """
    known = {field.name: hint for field, hint in section_fields(kind)}
    for key, value in layer.items():
        full = f"{name}.{key}".strip(".")
        if full in MOVED:
            raise UserError(f"the setting {full} is called {MOVED[full]} now: write that instead")
        if key not in known:
            raise UserError(f"there is no setting {full}{closest(str(key), list(known))}")
        if is_dataclass(known[key]) and isinstance(value, Mapping):
            require_known(known[key], value, full)


def section_fields(kind: Any) -> Iterator[tuple[Any, Any]]:
    """Fields of a settings dataclass with their types, ranges included."""
    hints = get_type_hints(kind, include_extras=True)
    for field in fields(kind):
        yield field, hints[field.name]


def default_of(field: Any) -> Any:
    """The default of a dataclass field."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def closest(word: str, known: list[str]) -> str:
    """A hint at the known words that are like one; else at all of few."""
    from difflib import get_close_matches

    like = get_close_matches(word, known, 3, 0.6)
    if like:
        return f": did you mean {' or '.join(like)}?"
    return f": choose from {', '.join(sorted(known))}" if len(known) <= 12 else ""


def differing(settings: Any) -> dict[str, Any]:
    """What of settings is not the default, as a layer: what somebody meant when making them."""
    return {
        field.name: _plain(getattr(settings, field.name))
        for field in fields(settings)
        if getattr(settings, field.name) != default_of(field)
    }


def data_of(path: str | Path, data: DataLike) -> dict[str, Any]:
    """Settings of the data at a path."""
    if isinstance(data, DataSettings):
        return {**differing(data), "path": str(path)}
    return {"path": str(path), **(data_layer(data) or {})}


def on_files(below: Layer, above: Any) -> Layer:
    """A config's data section for the data that are given: drawn pictures would ignore files."""
    is_path = isinstance(above, Mapping) and "path" in above and "format" not in above
    return {**below, "format": "auto"} if is_path and below.get("format") == "drawn" else below


def data_layer(data: DataLike) -> Any:
    """The data of a task as a layer; a path alone stands for `{path: ...}`."""
    if isinstance(data, str | os.PathLike):
        return {"path": os.fspath(data)}
    return data


def read_settings(file: str | Path) -> dict[str, Any]:
    """Settings of a YAML file: a config, or the `config.yaml` of a run.

    Raises:
        UserError: there is none, or it or a section of it is no YAML mapping.
    """
    file = Path(file)
    settings = read_yaml(file)
    if not isinstance(settings, dict):
        raise UserError(f"{file} holds no settings")
    if isinstance(settings.get("data"), str):
        settings["data"] = data_layer(settings["data"])
    for name in _SECTIONS:
        if not isinstance(settings.get(name) or {}, Mapping):
            raise UserError(f"{file}: {name} is {settings[name]!r}: give its settings as a mapping")
    return settings


def require_reading(reading: Layer | Reading | None, used: Collection[str]) -> None:
    """Refuse settings of a reading that make no sense, before a model is loaded.

    Args:
        reading: as it was given.
        used: names of those that mean something for the task.

    Raises:
        UserError: one is unknown, makes no sense, or would have no effect.
    """
    if not isinstance(reading, Mapping):
        return
    build(Reading, "reading", reading)
    if idle := [name for name in reading if name not in used]:
        raise UserError(f"reading.{idle[0]} means nothing here: it can be {', '.join(used)}")


def reading_of(sam: Any, reading: Layer | Reading | None) -> Reading:
    """How a model's images are read: as in training, but for what is given.

    Raises:
        UserError: a setting is unknown, or makes no sense.
    """
    if reading is None or isinstance(reading, Reading):
        return reading or cast(Reading, sam.reading)
    require_known(Reading, reading, "reading")
    kinds = {field.name: hint for field, hint in section_fields(Reading)}
    given = {name: convert(v, kinds[name], f"reading.{name}") for name, v in reading.items()}
    return cast(Reading, sam.reading.changed(**given))
