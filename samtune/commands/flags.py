"""The command line of a task, made of its signature and docstring: nothing is written twice.

A parameter is a flag of its own name (a dash is read as an underscore), a group of settings has one for
each of them (`--data.tile`), and parameters before the `*` go without a flag. What is not given is not
handed on, so that the task's own defaults count.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Literal, get_args, get_origin

import yaml
from docstring_parser import parse as parse_docstring

from samtune.errors import UserError, first_line
from samtune.parsing import parse_yaml
from samtune.tasks.arguments import hints_of, is_sequence, members
from samtune.tasks.settings import closest, convert, default_of, section_fields

# Parameters that only Python can give
_NO_FLAGS = ("ask", "agree", "command")
SHORT = {"out": "-o"}


@dataclass(frozen=True)
class Flag:
    """A flag.

    Attributes:
        name: with the group's before a dot.
        kind: type of its value.
        default: `inspect.Parameter.empty` where it must be given.
        text: what it does.
        is_positional: it goes without its name.
    """

    name: str
    kind: Any
    default: Any
    text: str
    is_positional: bool = False

    @property
    def is_list(self) -> bool:
        """Whether it takes several words; what may be one value too takes one, such as `[0,1]`."""
        return all(map(is_sequence, members(self.kind)))

    @property
    def is_required(self) -> bool:
        return self.default is inspect.Parameter.empty


def flags_of(task: Callable[..., Any]) -> list[Flag]:
    """All flags of a task, in the order of its signature."""
    return list(_flags(task))


def _flags(task: Callable[..., Any]) -> Iterator[Flag]:
    texts, hints = _texts(task), hints_of(task)
    for name, parameter in inspect.signature(task).parameters.items():
        if name in _NO_FLAGS:
            continue
        kind = hints[name]
        is_positional = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        if is_positional or not (group := _group(name, kind)):
            yield Flag(name, kind, parameter.default, texts.get(name, ""), is_positional)
        if group := _group(name, kind):
            yield from _of_group(name, group)


def _group(name: str, kind: Any) -> Any:
    """The settings dataclass that a parameter takes, if it takes one."""
    members = [each for each in get_args(kind) if isinstance(each, type) and is_dataclass(each)]
    groups = [each for each in members if each.__name__.endswith(("Settings", "Options", "Rule"))]
    groups += [each for each in members if each.__name__ == "Reading"]
    return groups[0] if groups else None


def _of_group(prefix: str, group: Any) -> Iterator[Flag]:
    texts = _texts(group)
    for each, kind in section_fields(group):
        name = f"{prefix}.{each.name}"
        if is_dataclass(kind):
            yield from _of_group(name, kind)
        else:
            yield Flag(name, kind, default_of(each), texts.get(each.name, ""))


def _texts(documented: Any) -> dict[str, str]:
    """What a docstring says of parameters or fields, or of common ones the glossary."""
    found: dict[str, str] = {}
    for each in (*_GLOSSARY, documented):
        for parameter in parse_docstring(inspect.getdoc(each) or "").params:
            text = " ".join((parameter.description or "").split())
            if not text.startswith("as of `"):
                found[parameter.arg_name] = text
    return found


def _glossary() -> tuple[Callable[..., Any], ...]:
    from samtune.tasks.evaluate import evaluate
    from samtune.tasks.fit import fit

    return fit, evaluate


_GLOSSARY = _glossary()


def parse(
    task: Callable[..., Any], command: str, arguments: Sequence[str], extra: Mapping[str, str]
) -> dict[str, Any]:
    """Arguments of a command as those of its task; those of `extra` (flags without a value) too.

    Raises:
        UserError: a flag is unknown, lacks its value, or has one of another kind.
    """
    flags = flags_of(task)
    words = _Words(flags, extra)
    try:
        words.read(arguments)
        nested: dict[str, Any] = dict.fromkeys(words.switches, True)
        for flag in flags:
            if flag.name in words.values:
                _put(nested, flag, _value(flag, words.values[flag.name]))
            elif flag.is_required:
                shown = flag.name.upper() if flag.is_positional else f"--{flag.name}"
                raise UserError(f"{shown} is missing (see --help)")
    except UserError as error:
        told = str(error).replace("(see --help", f"(see samtune {command} --help")
        raise UserError(told) from error
    return nested


@dataclass
class _Words:
    """Words of a command line, by the flag that they belong to.

    argparse would do, but for what people type: it takes `-600,1500` for an option, lets a switch
    swallow the next word, the last of two lists win, and refuses what comes before and after a flag.
    """

    flags: list[Flag]
    extra: Mapping[str, str]
    values: dict[str, list[str]] = field(default_factory=dict)
    switches: list[str] = field(default_factory=list)

    def read(self, words: Sequence[str]) -> None:
        """Sort all words."""
        rest, free = list(words), list[str]()
        while rest:
            word = rest.pop(0)
            if word == "--":  # from here on nothing is an option, whatever it begins with
                free, rest = [*free, *rest], []
            elif not _is_option(word):
                free.append(word)
            else:
                name, equals, value = word.lstrip("-").partition("=")
                self._take(name, [value] if equals else None, rest)
        self._place(free)

    def _take(self, word: str, value: list[str] | None, rest: list[str]) -> None:
        """Give an option its words."""
        name = {short.lstrip("-"): full for full, short in SHORT.items()}.get(word, word)
        name = name.replace("-", "_")
        known = {flag.name: flag for flag in self.flags if not flag.is_positional}
        if name in self.extra and value is None:
            self.switches.append(name)
        elif name not in known:
            like = closest(name, [*known, *self.extra])
            raise UserError(f"unknown option --{name}{like} (see --help)")
        elif known[name].is_list:
            count = next((n for n, w in enumerate(rest) if _is_option(w)), len(rest))
            taken = rest[:count] if value is None else value
            self.values.setdefault(name, []).extend(taken)
            del rest[: count if value is None else 0]
        elif value is None and _is_bool(known[name].kind):
            is_said = bool(rest) and rest[0].lower() in ("true", "false", "null")
            self.values[name] = [rest.pop(0) if is_said else "true"]
        elif value is None and (not rest or _is_option(rest[0])):
            raise UserError(f"--{name} lacks its value (see --help)")
        else:
            self.values[name] = [rest.pop(0)] if value is None else value

    def _place(self, free: list[str]) -> None:
        """Give words without a flag to the parameters that go without."""
        for flag in self.flags:
            if free and flag.is_positional:
                self.values[flag.name] = free if flag.is_list else [free[0]]
                free = [] if flag.is_list else free[1:]
        if free:
            raise UserError(
                f"unexpected {free[0]!r} (see --help; a list is one value or several: 1 2 3 or "
                "'[1,2,3]')"
            )


def _is_option(word: str) -> bool:
    """Whether a word begins an option; `-600,1500` is a value."""
    return len(word) > 1 and word[0] == "-" and not (word[1].isdigit() or word[1] == ".")


def _put(nested: dict[str, Any], flag: Flag, value: Any) -> None:
    *groups, last = flag.name.split(".")
    place = nested
    for group in groups:
        inner = place.setdefault(group, {})
        if isinstance(inner, str):  # the path of the data, given without a flag
            inner = place[group] = {"path": inner}
        place = inner
    if last in place:
        raise UserError(f"--{flag.name} is given twice: {place[last]!r} and {value!r}")
    place[last] = value


def _is_bool(kind: Any) -> bool:
    return members(kind) == (bool,)


def _value(flag: Flag, given: list[str]) -> Any:
    """The words of a flag as its type.

    Raises:
        UserError: it is none of it.
    """
    if flag.is_list:
        return _list(flag, given)
    return _single(flag.kind, given[0], flag.name)


def _list(flag: Flag, words: Sequence[str]) -> Any:
    (kind,) = (m for m in members(flag.kind) if is_sequence(m))
    inner = get_args(kind)[0]
    if len(words) == 1 and words[0].startswith("["):
        return _of_yaml(_yaml(words[0], flag.name), inner, flag.name)
    if len(words) == 1 and words[0] in ("null", "none") and type(None) in get_args(flag.kind):
        return None
    if is_sequence(inner):  # boxes and points
        number = get_args(inner)[0]
        return [[_single(number, part, flag.name) for part in w.split(",")] for w in words]
    if len(words) == 1 and "," in words[0] and inner is not str:
        words = words[0].split(",")
    return [_single(inner, word, flag.name) for word in words]


def _of_yaml(given: Any, inner: Any, name: str) -> list[Any]:
    """A list that is written as in YAML; its parts are read as if they stood alone."""
    if not is_sequence(inner):
        return [_single(inner, str(each), name) for each in given]
    if not all(isinstance(each, list) for each in given):
        raise UserError(f"--{name} is {given}: give a list of lists, such as [[1, 2], [3, 4]]")
    number = get_args(inner)[0]
    return [[_single(number, str(part), name) for part in each] for each in given]


def _single(kind: Any, text: str, name: str) -> Any:
    kinds = members(kind)
    if any(get_origin(m) is dict or m is dict for m in kinds):
        return _yaml(text, name)
    if text.startswith("[") and (lists := [m for m in kinds if is_sequence(m)]):
        return _of_yaml(_yaml(text, name), get_args(lists[0])[0], name)
    plain = [m for m in kinds if m in (int, float, bool) or get_origin(m) is Literal]
    if any(m not in plain for m in kinds):  # text, paths, models
        value = _yaml(text, name) if plain and _is_number(text) else text
        return None if text == "null" and type(None) in get_args(kind) else value
    return convert(text, kind, f"--{name}")


def _yaml(text: str, name: str) -> Any:
    try:
        return parse_yaml(text)
    except yaml.YAMLError as error:
        raise UserError(f"--{name} is {text!r}: {first_line(error)}") from error


def _is_number(text: str) -> bool:
    return text.lstrip("+-").replace(".", "", 1).isdigit()
