"""A classifier of one's own in place of the class head: a Python function, or an ONNX file.

It is fed with cut-outs: each mask's box with a margin, as (h, w, 3) uint8 RGB.
"""

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError, first_line, require
from samtune.heads.classes import softmax
from samtune.masks import mask_to_box
from samtune.types import ImageArray, MaskArray
from samtune.wording import counted

# (cut-outs, their masks) -> for each the probability of each class by name
Classify = Callable[[list[ImageArray], list[MaskArray]], Sequence[dict[str, float]]]
# Of a box's longer side, on every side; cut-outs of an ONNX file at once
_MARGIN, _TOGETHER = 0.25, 64


def open_classifier(name: str) -> Classify:
    """A classifier by name: `FILE.onnx`, `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

    A function takes a list of cut-outs and a list of their (h, w) masks, and gives for each a mapping
    of class names to probabilities. An ONNX file takes (N, 3, S, S) float32 RGB from 0 to 1 and gives
    (N, classes) logits; its metadata hold `classes`, a JSON list of their names.

    Raises:
        UserError: there is no such file or function, or it is none of these.
    """
    if name.endswith(".onnx"):
        return _OnnxClassifier(Path(name))
    place, _, function = name.rpartition(":")
    if not place:
        raise UserError(
            f"classifier is {name}: give FILE.onnx, FILE.py:FUNCTION or MODULE:FUNCTION"
        )
    try:
        found = getattr(_module(place), function)
    except (ImportError, AttributeError, SyntaxError, OSError) as error:
        raise UserError(
            f"the classifier {name} cannot be imported ({first_line(error)})"
        ) from error
    if not callable(found):
        raise UserError(f"the classifier {name} is no function")
    return found  # type: ignore[no-any-return]


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        return importlib.import_module(place)
    spec = importlib.util.spec_from_file_location(Path(place).stem, place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def classify(
    classifier: Classify, image: ImageArray, masks: Sequence[MaskArray]
) -> list[dict[str, float]]:
    """What a classifier says of K masks (H, W) that are not empty.

    Raises:
        UserError: it answers with something else than K mappings of names to probabilities.
    """
    cuts = [_cut(image, mask) for mask in masks]
    answers = list(classifier([cut for cut, _ in cuts], [mask for _, mask in cuts])) if cuts else []
    for answer in answers:
        values = list(answer.values()) if isinstance(answer, dict) else []
        if not values or not np.isfinite(np.asarray(values, np.float64)).all():
            raise UserError(f"the classifier answers {answer!r}: give class names with numbers")
    if len(answers) != len(masks):
        raise UserError(
            f"the classifier gives {counted(len(answers), 'answer')} to {counted(len(masks), 'mask')}"
        )
    return answers


def _cut(image: ImageArray, mask: MaskArray) -> tuple[ImageArray, MaskArray]:
    box = mask_to_box(mask)
    assert box is not None, "an empty mask is of no class"
    x0, y0, x1, y1 = (int(value) for value in box)
    margin = round(_MARGIN * max(x1 - x0 + 1, y1 - y0 + 1))
    place = (
        slice(max(0, y0 - margin), y1 + 1 + margin), slice(max(0, x0 - margin), x1 + 1 + margin),
    )  # fmt: skip
    return image[place], mask[place]


class _OnnxClassifier:
    """Cut-outs, resized to the file's input, as one of its batches.

    Raises:
        UserError: the file cannot be run, or says not what its classes are.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise UserError(f"there is no classifier {path}")
        runtime: Any = require("onnxruntime", "onnx")
        try:
            self._session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            self._input = self._session.get_inputs()[0]
            self._side = int(self._input.shape[-1])
            told = self._session.get_modelmeta().custom_metadata_map
            self.classes = [str(each) for each in json.loads(told["classes"])]
        except Exception as error:  # whatever the bytes make of it
            raise UserError(
                f"{path} is no classifier ({first_line(error)}): it needs an input (N, 3, S, S) of a "
                "fixed S, and its metadata a JSON list 'classes'"
            ) from error

    def __call__(self, images: list[ImageArray], masks: list[MaskArray]) -> list[dict[str, float]]:
        found: list[dict[str, float]] = []
        for start in range(0, len(images), _TOGETHER):
            part = [self._input_of(image) for image in images[start : start + _TOGETHER]]
            (logits, *_) = self._session.run(None, {self._input.name: np.stack(part)})
            if logits.shape != (len(part), len(self.classes)):
                raise UserError(
                    f"the classifier gives {logits.shape} for {len(part)} cut-outs and "
                    f"{counted(len(self.classes), 'class', 'classes')}"
                )
            found += [
                dict(zip(self.classes, row, strict=True))
                for row in softmax(np.asarray(logits, np.float64)).tolist()
            ]
        return found

    def _input_of(self, image: ImageArray) -> NDArray[np.float32]:
        resized = cv2.resize(image, (self._side, self._side), interpolation=cv2.INTER_AREA)
        return np.asarray(resized.transpose(2, 0, 1) / 255, np.float32)
