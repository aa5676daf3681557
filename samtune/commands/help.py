"""Help of a command, made of the signature and docstring of its task: what people change first."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args, get_origin

from docstring_parser import parse as parse_docstring

from samtune.commands.flags import SHORT, Flag, flags_of
from samtune.tasks.arguments import is_sequence, members

# Settings of groups that `--help` shows; `--help-all` shows the others too.
_FIRST_BY_GROUP = {
    "data": (
        "path", "format", "labels", "stretch", "window", "bands", "tile", "windows", "group_column",
        "augment", "recipe", "max_objects", "batch_size", "num_workers", "cache.mode",
    ),
    "model": (
        "mode", "lora.rank", "lora.encoder", "lora.last_blocks", "decoder", "optim.lr",
        "num_corrections", "quantize", "with_checkpointing",
    ),
    "trainer": (
        "max_epochs", "max_steps", "accumulate_grad_batches", "check_val_every_n_epoch", "devices",
        "precision",
    ),
    "logging": ("wandb",),
}  # fmt: skip
FIRST = frozenset(f"{group}.{name}" for group, names in _FIRST_BY_GROUP.items() for name in names)
# Commands whose settings of groups are among what is changed first.
_OF_TRAINING = ("fit", "cache", "init")
_WIDTH = 100


def help_text(
    task: Callable[..., Any], command: str, extra: Mapping[str, str], everything: bool
) -> str:
    """What `--help` (or `--help-all`) prints."""
    flags = flags_of(task)
    documented = parse_docstring(inspect.getdoc(task) or "")
    about = [documented.short_description or "", documented.long_description or ""]
    named = [flag for flag in flags if flag.is_positional]
    usage = " ".join(_usage(flag) for flag in named)
    lines = [f"usage: samtune {command} {usage} [options]".replace("  ", " "), ""]
    for paragraph in "\n\n".join(filter(None, about)).split("\n\n"):
        lines += [*textwrap.wrap(" ".join(paragraph.split()), _WIDTH), ""]
    shown = [f for f in flags if everything or "." not in f.name or f.name in FIRST]
    if command not in _OF_TRAINING:
        shown = [flag for flag in shown if everything or "." not in flag.name]
    group = ""
    for flag in shown:
        first = flag.name.split(".")[0] if "." in flag.name else ""
        if first != group:
            lines.append("")
            group = first
        lines += _described(flag)
    lines += [_line(f"--{name}", text) for name, text in extra.items()]
    hidden = dict.fromkeys(f.name.split(".")[0] for f in flags if f not in shown)
    if hidden:
        more = ", ".join(f"--{name}.*" for name in hidden)
        lines += ["", f"More settings ({more}): samtune {command} --help-all"]
    return "\n".join(lines)


def _usage(flag: Flag) -> str:
    name = flag.name.upper() + (" ..." if flag.is_list else "")
    return name if flag.is_required else f"[{name}]"


def _described(flag: Flag) -> list[str]:
    name = flag.name.upper() if flag.is_positional else f"--{flag.name}"
    if flag.name in SHORT:
        name = f"{SHORT[flag.name]}, {name}"
    return [_line(name, text_of(flag))]


def text_of(flag: Flag) -> str:
    """What a flag does, with its choices and its default."""
    text = flag.text
    choices = [str(c) for m in _choices(flag.kind) for c in get_args(m)]
    if choices and not all(choice in text for choice in choices):
        text = f"{text.rstrip('.')} ({', '.join(choices)})"
    if "default" not in text and _tells(flag.default):
        text = f"{text.rstrip('.')} (default: {_shown(flag.default)})"
    return text


def _choices(kind: Any) -> list[Any]:
    inner = [arg for m in members(kind) if is_sequence(m) for arg in get_args(m)]
    return [m for m in (*members(kind), *inner) if get_origin(m) is Literal]


def _tells(default: Any) -> bool:
    return default is not inspect.Parameter.empty and default not in (None, "", (), [], False)


def _shown(default: Any) -> str:
    if isinstance(default, list | tuple):
        return " ".join(map(_shown, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _line(name: str, text: str) -> str:
    indent = 30
    wrapped = textwrap.wrap(text, _WIDTH - indent) or [""]
    head = f"  {name}"
    lines = (
        [f"{head:<{indent}}{wrapped[0]}"]
        if len(head) < indent - 1
        else [head, " " * indent + wrapped[0]]
    )
    return "\n".join([*lines, *(" " * indent + line for line in wrapped[1:])]).rstrip()
