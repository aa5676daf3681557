"""What nnU-Net and the Medical Segmentation Decathlon write: numbered channels, and `dataset.json`.

ID_0000, ID_0001, ... are the channels of one image, whose labels are called ID. nnU-Net's `labels` maps
names to values, or, for regions that overlap, names to lists of values; the Decathlon's maps values to
names. `channel_names` (once `modality`) maps numbers of channels to names
(https://github.com/MIC-DKFZ/nnUNet, documentation/dataset_format.md and region_based_training.md).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.objects import stack_layers
from samtune.errors import UserError
from samtune.parsing import read_json

FILE = "dataset.json"
# Folders of images and of their labels, and the split that they are of where there are both
FOLDERS = (("imagesTr", "labelsTr", "train"), ("imagesTs", "labelsTs", "test"))
_CHANNEL = re.compile(r"(.+)_(\d{4})")
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


def channel_of(stem: str) -> tuple[str, int] | None:
    """The image and the number of the channel that a name such as ID_0001 says; `None` of others."""
    match = _CHANNEL.fullmatch(stem)
    return None if match is None else (match[1], int(match[2]))


def require_all_channels(first: Path, numbers: Sequence[int]) -> None:
    """Refuse channels with a gap: those behind it would be taken for others.

    Args:
        first: the file of the first one.
        numbers: of all that are there, in order.
    """
    if list(numbers) != list(range(len(numbers))):
        lacking = next(n for n in range(len(numbers)) if n not in numbers)
        raise UserError(
            f"{first} and its other channels are numbered {', '.join(f'{n:04d}' for n in numbers)}: "
            f"channel {lacking:04d} is missing"
        )


def in_regions(layers: NDArray[Any], regions: Sequence[Sequence[int]], path: Path) -> NDArray[Any]:
    """Regions, numbered from 1, of the values that they are made of; they may overlap.

    Args:
        layers: (L, ...) values.
        regions: the values of each.
        path: the file that they are of.

    Raises:
        UserError: a value is in no region.
    """
    known = {0, *(value for region in regions for value in region)}
    if unknown := set(np.unique(layers).tolist()) - known:
        raise UserError(
            f"{path} holds the value {min(unknown)}, which {FILE} has in no region: expected "
            f"{', '.join(map(str, sorted(known)))}"
        )
    masks = (
        (number, np.asarray(np.isin(layers, region).any(axis=0)))
        for number, region in enumerate(regions, start=1)
    )
    return stack_layers(masks, layers.shape[1:], np.min_scalar_type(len(regions)))


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
