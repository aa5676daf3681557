"""X-AnyLabeling's remote server: an image and marks in, polygons out, in pixels.

Requests and answers: app/schemas and docs/source/en/router.md of
https://github.com/CVHub520/X-AnyLabeling-Server, and services/auto_labeling/remote_server.py of
https://github.com/CVHub520/X-AnyLabeling, which sends whole pixels: the one that was clicked on.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from samtune.errors import UserError
from samtune.masks import mask_to_polygons
from samtune.page.answering import Candidate
from samtune.page.tools.asked import Asked
from samtune.page.tools.clicks import prompt_of
from samtune.page.tools.pictures import from_base64

Plain = dict[str, Any]
Point = tuple[float, float, bool]
# What the tool takes for "the class that is chosen", and the buttons that it shows
_LABEL = "AUTOLABEL_OBJECT"
_WIDGETS = (
    "button_add_point", "button_remove_point", "button_add_rect", "button_clear",
    "button_finish_object",
)  # fmt: skip


class Mark(msgspec.Struct):
    """A point (x, y) or a box (x0, y0, x1, y1), in pixels; label 0 is outside the object."""

    type: Literal["point", "rectangle"]
    data: list[float]
    label: Literal[0, 1] = 1


class _Params(msgspec.Struct):
    marks: list[Mark] = []


class Question(msgspec.Struct):
    """What the tool asks at /v1/predict."""

    model: str
    image: str
    params: _Params = msgspec.field(default_factory=_Params)


class XAnyLabeling:
    """Answers what X-AnyLabeling asks.

    Args:
        asked: the network.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def models(self) -> Plain:
        """What can be chosen in the tool."""
        model: Plain = {
            "display_name": self._asked.name,
            "widgets": [{"name": name, "value": None} for name in _WIDGETS],
            "params": {},
            "capabilities": {},
            "batch_processing_mode": None,
        }
        return {"success": True, "data": {self._asked.name: model}}

    def predict(self, question: Question) -> Plain:
        """Polygons of the object that is marked; of several boxes, those of each box's object.

        Raises:
            UserError: the model is another one, or the image or a mark is none.
        """
        if question.model != self._asked.name:
            raise UserError(f"there is no model {question.model!r}, but {self._asked.name!r}")
        shapes: list[Plain] = []
        if question.params.marks:
            image = self._asked.reading.read(from_base64(question.image))
            hw = (image.shape[0], image.shape[1])
            points, boxes = _sorted(question.params.marks)
            for box in boxes or [None]:
                prompt = prompt_of(_points_in(box, points, boxes), box, hw)
                if (found := self._asked.mask(image, prompt)) is not None:
                    shapes += _shapes(found)
        return {"success": True, "data": {"shapes": shapes, "description": "", "replace": False}}


def _points_in(
    box: list[float] | None, points: list[Point], boxes: Sequence[object]
) -> list[Point]:
    """Points of a box's object: of several boxes each has those that lie in it."""
    if box is None or len(boxes) < 2:
        return points
    x0, y0, x1, y1 = box
    return [each for each in points if x0 <= each[0] <= x1 and y0 <= each[1] <= y1]


def _sorted(marks: Sequence[Mark]) -> tuple[list[Point], list[list[float] | None]]:
    """Points and boxes, from the outer corner of the top-left pixel."""
    points, boxes = list[Point](), list[list[float] | None]()
    for mark in marks:
        if mark.type == "point" and len(mark.data) == 2:
            x, y = mark.data
            points.append((x + 0.5, y + 0.5, mark.label == 1))
        elif mark.type == "rectangle" and len(mark.data) == 4 and mark.label == 1:
            x0, y0, x1, y1 = mark.data
            boxes.append([min(x0, x1), min(y0, y1), max(x0, x1) + 1, max(y0, y1) + 1])
        else:
            raise UserError(
                f"a {mark.type} of {len(mark.data)} numbers with label {mark.label} says nothing: give "
                "points (2 numbers, label 1 or 0) or boxes (4 numbers, label 1)"
            )
    return points, boxes


def _shapes(found: Candidate) -> list[Plain]:
    """A closed polygon for each part, in pixels from the outer corner."""
    score = min(1.0, max(0.0, found.score))
    left, top = found.mask.left, found.mask.top
    made = []
    for ring in mask_to_polygons(found.mask.part):
        corners = [[float(x + left), float(y + top)] for x, y in [*ring, ring[0]]]
        made.append(
            {"label": _LABEL, "shape_type": "polygon", "points": corners, "score": score}
        )  # fmt: skip
    return made
