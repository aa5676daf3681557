"""Write docs/reference from the signatures and docstrings: what is said there is said nowhere else.

    python scripts/reference.py [--out docs/reference]

Tasks and settings come from `samtune.cli.COMMANDS`, classes from `samtune.__all__`. `scripts/docs`
calls it, and a test holds that what is committed is what it writes.
"""

import argparse
import inspect
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

from docstring_parser import Docstring
from docstring_parser import parse as parse_docstring

import samtune
from samtune.cli import COMMANDS, Command
from samtune.commands.flags import Flag, flags_of
from samtune.commands.help import text_of

ROOT = Path(__file__).parents[1]
_WIDTH = 100
_NOTE = "<!-- Written by scripts/reference.py: change the docstrings, not this file. -->"
_TASKS = """\
# Every task

A task is a function and a command with the same names: `samtune fit my_data --budget 5m` is
`samtune.fit("my_data", budget="5m")`. (`models` is a command alone.)
Names with a dot are [settings](settings.md), which a config file, a flag and Python share.
"""
_SETTINGS = """\
# Every setting

A setting is written in three ways, which mean the same: `--data.tile 256` on the command line,
`data: {tile: 256}` in a config, `data={"tile": 256}` in Python. [Tasks](tasks.md) say which groups they
take.
"""
_PYTHON = """\
# Python

What `import samtune` offers besides the [tasks](tasks.md), for a program of your own.
"""


def pages() -> dict[str, str]:
    """Names and texts of all pages."""
    written = {
        "tasks.md": [_TASKS, _table_of_tasks(), *map(_task_section, COMMANDS)],
        "settings.md": [_SETTINGS, *_setting_sections()],
        "python.md": [_PYTHON, *map(_class_section, _public_names())],
    }
    return {name: "\n\n".join([_NOTE, *(p.strip() for p in parts)]) + "\n"
            for name, parts in written.items()}  # fmt: skip


def _function_of(command: Command) -> Callable[..., Any]:
    module, _, function = command.task.partition(":")
    task: Callable[..., Any] = getattr(import_module(f"samtune.tasks.{module}"), function or module)
    return task


def _table_of_tasks() -> str:
    rows = [
        (command.text, f"[`samtune {name}`](#samtune-{name})", _call(_function_of(command)))
        for name, command in COMMANDS.items()
    ]
    return _table(("to", "command", "function"), rows)


def _call(task: Callable[..., Any]) -> str:
    """A function with what must be given, or goes without a name; empty for a command alone."""
    if task.__name__ not in samtune.__all__:
        return ""
    shown = [
        parameter.name + ("=" if parameter.kind is parameter.KEYWORD_ONLY else "")
        for parameter in inspect.signature(task).parameters.values()
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.default is parameter.empty
    ]
    return f"`{task.__name__}({', '.join(shown)})`"


def _task_section(name: str) -> str:
    command = COMMANDS[name]
    task = _function_of(command)
    documented = parse_docstring(inspect.getdoc(task) or "")
    flags = flags_of(task)
    plain = [flag for flag in flags if "." not in flag.name]
    groups = dict.fromkeys(flag.name.split(".")[0] for flag in flags if "." in flag.name)
    rows = [(_shown_name(flag), _cell(text_of(flag))) for flag in plain]
    rows += [(f"`--{extra}`", f"{text} (command line alone)")
             for extra, text in command.extra.items()]  # fmt: skip
    links = ", ".join(f"[`{group}`](settings.md#{group})" for group in groups)
    parts = [
        f"## samtune {name}",
        *_described(documented),
        _table(("argument", "what it does"), rows),
    ]
    parts += [f"Settings: {links}."] if links else []
    return "\n\n".join([*parts, *_endings(documented)])


def _shown_name(flag: Flag) -> str:
    name = f"`{flag.name}`" if flag.is_positional else f"`--{flag.name}`"
    return f"{name}, needed" if flag.is_required else name


def _setting_sections() -> list[str]:
    groups: dict[str, dict[str, Flag]] = {}
    takers: dict[str, dict[str, None]] = {}
    for name, command in COMMANDS.items():
        for flag in flags_of(_function_of(command)):
            group, _, rest = flag.name.partition(".")
            if rest:
                groups.setdefault(group, {}).setdefault(flag.name, flag)
                takers.setdefault(group, {})[name] = None
    return [_setting_section(group, takers[group], groups[group].values()) for group in groups]


def _setting_section(group: str, takers: Iterable[str], flags: Iterable[Flag]) -> str:
    named = ", ".join(f"[{name}](tasks.md#samtune-{name})" for name in takers)
    rows = [(f"`{flag.name}`", _cell(text_of(flag))) for flag in flags]
    return "\n\n".join(
        [f"## {group}", f"Taken by {named}.", _table(("setting", "what it does"), rows)]
    )


def _public_names() -> list[str]:
    tasks = {_function_of(command).__name__ for command in COMMANDS.values()}
    return [name for name in samtune.__all__ if name not in tasks]


def _class_section(name: str) -> str:
    thing = getattr(samtune, name)
    if not callable(thing):
        return f"## {name}\n\nBy name: {', '.join(f'`{each}`' for each in thing)}."
    documented = parse_docstring(inspect.getdoc(thing) or "")
    parts = [f"## {name}", _code(name, thing), *_described(documented), *_parameters(documented)]
    if inspect.isclass(thing):
        parts += [_method(thing, method) for method in _own_methods(thing)]
    return "\n\n".join([*parts, *_endings(documented)])


def _own_methods(kind: type) -> list[str]:
    """Documented methods of a class that samtune wrote, not those of torch or Lightning."""
    found = []
    for name, member in inspect.getmembers(kind, inspect.isfunction):
        is_ours = member.__module__.startswith("samtune.")
        if is_ours and not name.startswith("_") and member.__doc__:
            found.append(name)
    return found


def _method(kind: type, name: str) -> str:
    documented = parse_docstring(inspect.getdoc(getattr(kind, name)) or "")
    return f"- **`{name}`**: {_line(documented.short_description)}"


def _code(name: str, thing: Any) -> str:
    names = [_argument(each) for each in inspect.signature(thing).parameters.values()]
    call = f"samtune.{name}({', '.join(names)})"
    if len(call) > _WIDTH:  # as ruff, which formats code in pages too
        call = f"samtune.{name}(\n" + "".join(f"    {each},\n" for each in names) + ")"
    return f"```python\n{call}\n```"


def _argument(parameter: inspect.Parameter) -> str:
    kinds: dict[Any, str] = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}
    stars = kinds.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return f"{stars}{parameter.name}"
    return f"{parameter.name}={_default(parameter.default)}"


def _default(value: Any) -> str:
    """A default as it may be written; an object's own text could hold an address of memory."""
    is_plain = value is None or isinstance(value, str | int | float | bool | tuple | Path)
    if isinstance(value, str | Path):
        return f'"{value}"'
    return repr(value) if is_plain else "..."


def _described(documented: Docstring) -> list[str]:
    texts = (documented.short_description, documented.long_description)
    paragraphs = "\n\n".join(filter(None, texts)).split("\n\n")
    return [part if part.startswith("    ") else _line(part) for part in paragraphs if part.strip()]


def _parameters(documented: Docstring) -> list[str]:
    rows = [(f"`{each.arg_name}`", _cell(each.description or "")) for each in documented.params]
    return [_table(("name", "what it is"), rows)] if rows else []


def _endings(documented: Docstring) -> list[str]:
    found = []
    if documented.returns and documented.returns.description:
        found.append(f"Returns: {_line(documented.returns.description)}")
    found += [f"Raises `{each.type_name}`: {_line(each.description)}" for each in documented.raises]
    return found


def _line(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|").replace("<", "&lt;")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "reference")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
