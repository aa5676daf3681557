"""Arguments of tasks, checked against their signatures: a slip is told before the work, in a line."""

import inspect
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from samtune.errors import UserError, as_fault
from samtune.tasks.settings import convert

Parameters = ParamSpec("Parameters")
Answer = TypeVar("Answer")


def task(function: Callable[Parameters, Answer]) -> Callable[Parameters, Answer]:
    """A capability: one value may stand for a list of one, and only what can be chosen is taken.

    What the command line reads has been checked by then; Python's own types are hints alone. What the
    system refuses (a name that no file can have, a full disk, a folder that is gone or is not ours) is
    the user's to put right, wherever in the work it comes.
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Answer:
        bound = inspect.signature(function).bind(*args, **kwargs)
        hints = hints_of(function)
        for name, value in bound.arguments.items():
            bound.arguments[name] = checked(value, hints.get(name), name)
        return _done(function, bound)

    return call


def _done(function: Callable[..., Answer], bound: inspect.BoundArguments) -> Answer:
    """What a task answers, once what it names has been seen to be there.

    Raises:
        UserError: the disk is full, memory ran out, or a folder has vanished.
    """
    from samtune.files import watching_folders
    from samtune.locks import claiming
    from samtune.tasks.telling import told_if_nobody_listens

    try:
        with told_if_nobody_listens(), claiming(), watching_folders():
            answer = function(*bound.args, **bound.kwargs)
    except (UserError, BrokenPipeError):
        raise
    except Exception as error:
        if (fault := as_fault(error)) is None:
            raise
        raise fault from error
    is_told = bool(getattr(answer, "not_written", ""))  # the result says that it has no file
    for path in [] if is_told else _places_of(answer):
        if not path.exists():
            raise UserError(
                f"{path} was written, but is gone: something has removed it, do it again"
            )
    return answer


def _places_of(answer: Any) -> list[Path]:
    """Files and folders that a result names."""
    values = [getattr(answer, each.name) for each in fields(answer)] if is_dataclass(answer) else []
    return [value for value in values if isinstance(value, Path)]


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Types of the parameters, with ranges; what is returned may be known to type checkers alone."""
    plain: Any = inspect.unwrap(function)
    copy = types.FunctionType(plain.__code__, plain.__globals__)
    copy.__annotations__ = {k: v for k, v in plain.__annotations__.items() if k != "return"}
    return get_type_hints(copy, include_extras=True)


def checked(value: Any, kind: Any, name: str) -> Any:
    """An argument as its parameter takes it.

    Raises:
        UserError: it is none of what can be chosen, or out of its range.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and has_range(kind):
        return convert(value, kind, name)
    sequence = next((each for each in members(kind) if is_sequence(each)), None)
    if sequence is None:
        _require_choice(value, members(kind), name)
        return value
    if isinstance(value, str | os.PathLike):
        value = [value]
    inner = get_args(sequence)
    for each in value or ():
        _require_choice(each, members(inner[0]) if inner else (), name)
    return value


def _require_choice(value: Any, kinds: tuple[Any, ...], name: str) -> None:
    choices = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    is_free = any(get_origin(kind) is not Literal for kind in kinds)
    if choices and not is_free and value is not None and value not in choices:
        raise UserError(f"{name} is {value!r}: choose from {', '.join(map(str, choices))}")


def members(kind: Any) -> tuple[Any, ...]:
    """Members of a union, but for `None`, without their ranges."""
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(m for each in get_args(kind) for m in members(each) if m is not type(None))
    return members(kind.__origin__) if get_origin(kind) is Annotated else (kind,)


def has_range(kind: Any) -> bool:
    """Whether a type, or a member of a union, is a number within bounds."""
    if get_origin(kind) in (Union, types.UnionType):
        return any(has_range(each) for each in get_args(kind))
    return get_origin(kind) is Annotated


def is_sequence(kind: Any) -> bool:
    """Whether a type, or a member of a union, is a list of something."""
    return any(get_origin(m) in (list, tuple, Sequence) or _is_abstract(m) for m in members(kind))


def _is_abstract(kind: Any) -> bool:
    origin = get_origin(kind)
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str
