"""Settings that come with weights from elsewhere: what would run code, or run for ever, is refused."""

import re
from collections.abc import Iterator, Mapping
from math import inf
from pathlib import Path
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from samtune.errors import UserError
from samtune.parsing import read_json

# Kernels of attention that transformers itself holds; other names are fetched from the hub and run
_ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_ATTENTION_KEYS = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal")
# Settings of an adapter that PEFT matches as regular expressions with the names of all layers
_PATTERNS = (
    "target_modules", "exclude_modules", "layers_pattern", "modules_to_save", "rank_pattern",
    "alpha_pattern", "target_parameters",
)  # fmt: skip
_LONGEST_PATTERN, _MOST_REPEATS = 2000, 3
# What may be repeated: one character, of whatever kind
_SINGLE = ("LITERAL", "NOT_LITERAL", "IN", "ANY", "CATEGORY")


def require_known_attention(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration of transformers that names attention kernels to be fetched and run.

    Raises:
        UserError: it does.
    """
    for key, value in _walk(config):
        if key in _ATTENTION_KEYS and value not in (None, *_ATTENTION):
            raise UserError(
                f"the config.json of '{name}' asks for the attention kernel {str(value)[:80]!r}, which "
                f"would be fetched and run: set {key} to {', '.join(_ATTENTION)}, or leave it out"
            )


def require_bounded_patterns(folder: Path) -> None:
    """Refuse an adapter whose patterns for names of layers could take for ever to match.

    Raises:
        UserError: its adapter_config.json has such a pattern, or is no mapping.
    """
    file = folder / "adapter_config.json"
    config = read_json(file)
    if not isinstance(config, Mapping):
        raise UserError(f"{file} holds no settings of an adapter")
    for name in _PATTERNS:
        for pattern in _texts(config.get(name)):
            if len(pattern) > _LONGEST_PATTERN or _num_repeats(pattern) > _MOST_REPEATS:
                raise UserError(
                    f"{file}: {name} has the pattern {pattern[:60]!r}, which could take for ever to "
                    f"match: at most {_MOST_REPEATS} of * and + one after another, and no repeated "
                    "group, are allowed; name the layers instead"
                )


def _num_repeats(pattern: str) -> float:
    """How many open repetitions follow on each other at most; infinite where one holds another.

    The time to match a name of n letters grows like n to that power.
    """
    try:
        return _repeats_of(parser.parse(pattern))
    except (re.error, RecursionError, OverflowError):
        return 0 if pattern == re.escape(pattern) else inf


def _repeats_of(items: Any) -> float:
    return sum(_repeats_in(str(kind), content) for kind, content in items)


def _repeats_in(kind: str, content: Any) -> float:
    if kind.endswith("_REPEAT"):
        _, most, inner = content
        if most <= 1:  # what may be there or not
            return _repeats_of(inner)
        return 1 if len(inner) == 1 and str(inner[0][0]) in _SINGLE else inf
    if kind == "BRANCH":
        return max(_repeats_of(each) for each in content[1])
    if kind in ("SUBPATTERN", "ASSERT", "ASSERT_NOT", "ATOMIC_GROUP"):
        return _repeats_of(content[-1] if kind != "ATOMIC_GROUP" else content)
    return inf if "GROUPREF" in kind else 0


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):  # of a mapping its keys are patterns
        yield from (each for each in value if isinstance(each, str))


def _walk(config: Any) -> Iterator[tuple[str, Any]]:
    """All settings with their names, nested ones too."""
    if isinstance(config, Mapping):
        for key, value in config.items():
            yield str(key), value
            yield from _walk(value)
    elif isinstance(config, list):
        for each in config:
            yield from _walk(each)
