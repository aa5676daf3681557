"""Names of classes from the attributes of features, of whatever type these are."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Where QuPath writes the class of an object: {"name": ..., "color": [...]}, or the parts of its name,
# {"names": ["Tumor", "Positive"]}, which QuPath itself shows as "Tumor: Positive".
QUPATH_COLUMN = "classification"


def class_names(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Texts of a column; empty for NULL, beside which whole numbers and booleans come as floats.

    Of an object with a `name`, as QuPath writes classes, that is the name; a list is its parts.

    Args:
        values: (N,) of the column.
        dtype: as the file has it.
    """
    if dtype == "bool":
        names = ["" if _is_null(value) else str(bool(value)) for value in values]
    else:
        names = [_text(value) for value in values]
    return np.array([*names, None], object)[:-1]  # lists of one length would become a table


def is_named_object(value: Any) -> bool:
    """Whether a value is an object that has a name."""
    return _name_in(value) is not None


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple, np.ndarray)):
        return ", ".join(_text(part) for part in value)
    if _is_null(value):
        return ""
    name = _name_in(value)
    return str(_whole(value)) if name is None else name


def _name_in(value: Any) -> str | None:
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, dict):
        return None
    parts = value.get("names")
    if isinstance(parts, list) and parts and all(isinstance(part, str) for part in parts):
        return ": ".join(parts)
    name = value.get("name")
    return name if isinstance(name, str) else None


def _is_null(value: Any) -> bool:
    return value is None or bool(value != value)  # NaN, and dates that are none


def _whole(value: Any) -> Any:
    is_whole = isinstance(value, (float, np.floating)) and float(value).is_integer()
    return int(value) if is_whole else value
