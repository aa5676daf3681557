"""The error that a user can cause, and the message for a missing optional package."""

import importlib
from types import ModuleType


class UserError(ValueError):
    """Something the user can put right: a path, a file, a setting.

    The message says what was found, what was expected and what to do. The command line prints it
    as one line and exits with code 2; any other exception is a defect and keeps its traceback.
    What names, damaged files and libraries put into it may be long, of several lines, or no text to
    print: lines are joined, the middle of more than a thousand characters is left out, and what
    cannot be seen (control characters, halves of characters) is written as in Python.
    """

    def __init__(self, message: object = "") -> None:
        text = " ".join(line.strip() for line in str(message).splitlines() if line.strip())
        text = "".join(map(_seen, text))
        super().__init__(text if len(text) <= 1000 else f"{text[:600]} ... {text[-300:]}")


def _seen(character: str) -> str:
    return character if character.isprintable() else ascii(character)[1:-1]


def require(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Args:
        module: name to import, for example `"rasterio"`.
        extra: the extra of samtune that installs it, for example `"geo"`.

    Raises:
        UserError: the package is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"this needs the package '{module}', which is not installed ({error}): "
            f"pip install 'samtune[{extra}]'"
        ) from error


def first_line(error: object) -> str:
    """What an error of a library says in its first line, or the error's name if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:500]
