"""`dataset.json` of nnU-Net and of the Medical Segmentation Decathlon: what labels and channels mean.

nnU-Net's `labels` maps names to values, or, for regions that overlap, names to lists of values; the
Decathlon's maps values to names. `channel_names` (once `modality`) maps numbers of channels to names
(https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md and region_based_training.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.parsing import read_json

FILE = "dataset.json"
_IGNORED = "ignore"


@dataclass(frozen=True)
class DatasetJson:
    """What the file says.

    Attributes:
        class_names: of label values; of regions by their numbers from 1, in the file's order.
        regions: values of each region, in that order; empty where a value is a class.
        ignored: label values that are to be left out.
        channels: names of the channels by their numbers.
    """

    class_names: dict[int, str] = field(default_factory=dict)
    regions: tuple[tuple[int, ...], ...] = ()
    ignored: tuple[int, ...] = ()
    channels: dict[int, str] = field(default_factory=dict)


def read_dataset_json(folder: Path) -> DatasetJson:
    """Read the file of a folder; without one nothing is known.

    Raises:
        UserError: a label is neither a number nor a list of numbers.
    """
    file = folder / FILE
    content = read_json(file) if file.is_file() else {}
    content = content if isinstance(content, dict) else {}
    labels = {name: values for name, values in _labels(content.get("labels"), file) if any(values)}
    ignored = labels.pop(_IGNORED, ())
    regions = tuple(tuple(values) for values in labels.values())
    channels = content.get("channel_names") or content.get("modality")
    about = dict(_by_number(channels)) if isinstance(channels, dict) else {}
    if any(len(values) > 1 for values in regions):
        return DatasetJson(dict(enumerate(labels, start=1)), regions, tuple(ignored), about)
    names = {values[0]: name for name, values in labels.items()}
    return DatasetJson(names, (), tuple(ignored), about)


def channel_names(image: Path) -> dict[int, str]:
    """Names of the channels of an image in a folder beside the file."""
    return read_dataset_json(image.parent.parent).channels


def _labels(labels: Any, file: Path) -> list[tuple[str, list[int]]]:
    """Each name with its values, whichever of them is the key; what is to be ignored is called so."""
    found = []
    for key, value in labels.items() if isinstance(labels, dict) else ():
        if isinstance(value, str) and key.isdigit():
            key, value = value, int(key)
        elif isinstance(value, str) and value.isdigit():
            value = int(value)
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            raise UserError(
                f"{file} gives the label {key!r} as {value!r}: expected a number, or a list of numbers "
                "for a region of several"
            )
        found.append((_IGNORED if key.lower() == _IGNORED else key, values))
    return found


def _by_number(names: Mapping[str, Any]) -> list[tuple[int, str]]:
    return sorted((int(key), str(name)) for key, name in names.items() if str(key).isdigit())
