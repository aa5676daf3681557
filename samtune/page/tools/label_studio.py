"""Label Studio's ML backend protocol: clicks of a task become regions, in percent of the image.

Requests and answers: https://labelstud.io/guide/ml_create and label_studio_ml/api.py of
https://github.com/HumanSignal/label-studio-ml-backend; regions: https://labelstud.io/guide/export.
Label Studio's (0, 0) is the outer corner of the top-left pixel, samtune's is its centre.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from samtune.data.annotation_shapes import box_corners, rotated
from samtune.data.brush_code import encode_brush
from samtune.errors import UserError
from samtune.masks import mask_to_polygons
from samtune.page.answering import Candidate
from samtune.page.tools.asked import Asked
from samtune.page.tools.clicks import prompt_of
from samtune.page.tools.label_config import Control, LabelConfig, read_config
from samtune.page.tools.pictures import Pictures
from samtune.types import ImageArray, Prompt

Plain = dict[str, Any]
# Shapes that a person may click with
_POINT, _BOX = "keypoint", "rectangle"


class Task(msgspec.Struct):
    """A row of the project."""

    data: Plain = {}


class Region(msgspec.Struct):
    """A click or a box that a person has made with a smart tool."""

    type: str
    value: Plain
    original_width: int
    original_height: int
    to_name: str = ""
    is_positive: bool | int = True
    image_rotation: float | None = 0
    item_index: int | None = None

    @property
    def kind(self) -> str:
        return self.type.lower().removesuffix("labels")

    @property
    def label(self) -> str:
        labels = self.value.get(self.type)
        return str(labels[0]) if isinstance(labels, list) and labels else ""

    @property
    def hw(self) -> tuple[int, int]:
        return self.original_height, self.original_width

    @property
    def place(self) -> tuple[str, int]:
        """Which image it is on, and which page."""
        return self.to_name, self.item_index or 0


class _Context(msgspec.Struct):
    result: list[Region] = []


class _Params(msgspec.Struct):
    context: _Context | None = None


class Question(msgspec.Struct):
    """What Label Studio asks at /predict."""

    tasks: list[Task] = []
    label_config: str | None = None
    params: _Params | None = None

    @property
    def regions(self) -> list[Region]:
        context = None if self.params is None else self.params.context
        return [] if context is None else context.result


class LabelStudio:
    """Answers what Label Studio asks.

    Args:
        asked: the network.
        pictures: that may be read.
        finds_everything: tasks in which nobody has clicked are answered with all that is found.
    """

    def __init__(self, asked: Asked, pictures: Pictures, finds_everything: bool = False) -> None:
        self._asked, self._pictures = asked, pictures
        self._finds_everything = finds_everything

    @property
    def version(self) -> Plain:
        return {"model_version": self._asked.name}

    def predict(self, question: Question) -> Plain:
        """Regions for each task: of a click's object, or of all that is found.

        Raises:
            UserError: the image cannot be had, or the question makes no sense.
        """
        config = read_config(question.label_config or "<View/>")
        if question.regions:
            if len(question.tasks) != 1:
                raise UserError(f"clicks are of one task, but there are {len(question.tasks)}")
            found = [self._of_clicks(question.tasks[0], config, question.regions)]
        elif self._finds_everything:
            found = [self._of_everything(task, config) for task in question.tasks]
        else:
            found = []
        return {"results": found}

    def _of_clicks(self, task: Task, config: LabelConfig, regions: Sequence[Region]) -> Plain:
        last = regions[-1]
        control = config.answer_to(last.label, last.to_name)
        image = self._image(task, config.key_of(control.image), last.item_index)
        hw = (image.shape[0], image.shape[1])
        # those on other images of the task, and on its other pages, are of other objects
        its = [each for each in regions if each.place == last.place]
        for region in its:
            _require_as_seen(region, hw)
        found = self._asked.mask(image, _prompt_of(its, hw))
        made = () if found is None else regions_of(found, control, last.label, hw, last.item_index)
        return self._prediction(list(made))

    def _of_everything(self, task: Task, config: LabelConfig) -> Plain:
        control = config.answer_to("")
        image, made = self._image(task, config.key_of(control.image), None), list[Plain]()
        label = control.labels[0] if len(control.labels) == 1 else ""
        if control.has_labels and not label:
            raise UserError(
                f"{control.name!r} has {len(control.labels)} labels, and which of them all that is "
                "found has cannot be told: leave one, or click on each object"
            )
        for found in self._asked.everything(image):
            made += regions_of(found, control, label, (image.shape[0], image.shape[1]))
        return self._prediction(made)

    def _image(self, task: Task, key: str, page: int | None) -> ImageArray:
        link = task.data.get(key)
        if isinstance(link, list):
            place = page or 0
            link = link[place] if 0 <= place < len(link) else None
        if not isinstance(link, str):
            raise UserError(f"the task has no image under {key!r}")
        return self._pictures.read(link)

    def _prediction(self, made: list[Plain]) -> Plain:
        scores = [each["score"] for each in made]
        return {"result": made, "score": float(np.mean(scores)) if made else 0.0, **self.version}


def regions_of(
    found: Candidate, control: Control, label: str, hw: tuple[int, int], page: int | None = None
) -> Iterator[Plain]:
    """A mask as Label Studio's regions: polygons one a part, all else one.

    Args:
        found: original frame.
        control: by which it is given.
        label: of the object.
        hw: of the image.
        page: of the task's images that it is on.
    """
    head = {
        "from_name": control.name, "to_name": control.image, "type": control.type,
        "original_width": hw[1], "original_height": hw[0], "image_rotation": 0,
        "score": min(1.0, max(0.0, found.score)), "readonly": False,
        **({} if page is None else {"item_index": page}),
    }  # fmt: skip
    for value in _shapes(found, control.kind, hw):
        yield {"id": uuid.uuid4().hex[:10], **head, "value": value | control.value(label)}


def _shapes(found: Candidate, kind: str, hw: tuple[int, int]) -> Iterator[Plain]:
    share = 100 / np.array([hw[1], hw[0]])
    if kind == "brush":
        yield {"format": "rle", "rle": encode_brush(found.mask.whole(hw))}
    elif kind == "polygon":
        for ring in mask_to_polygons(found.mask.part):
            corners = (ring + np.array([found.mask.left, found.mask.top])) * share
            yield {"points": corners.tolist(), "closed": True}
    else:
        box = found.mask.box
        assert box is not None, "an empty mask is no region"
        (x, y), (right, bottom) = (box[:2] * share).tolist(), ((box[2:] + 1) * share).tolist()
        yield {"x": x, "y": y, "width": right - x, "height": bottom - y, "rotation": 0}


def _prompt_of(regions: Sequence[Region], hw: tuple[int, int]) -> Prompt:
    """Clicks in their order, and the last box."""
    points, box = list[tuple[float, float, bool]](), None
    for region in regions:
        if region.kind not in (_POINT, _BOX):
            raise UserError(
                f"what is made with {region.type!r} says nothing here: click with a smart "
                "KeyPointLabels or RectangleLabels"
            )
        try:
            if region.kind == _POINT:
                points.append((*_corner(region, hw), bool(region.is_positive)))
            else:
                box = _box(region, hw)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"a {region.kind} is damaged: {error}") from error
    return prompt_of(points, box, hw)


def _corner(region: Region, hw: tuple[int, int]) -> tuple[float, float]:
    return float(region.value["x"]) * hw[1] / 100, float(region.value["y"]) * hw[0] / 100


def _box(region: Region, hw: tuple[int, int]) -> tuple[float, float, float, float]:
    """What holds a rectangle, which may be turned about its first corner."""
    x, y = _corner(region, hw)
    width = float(region.value["width"]) * hw[1] / 100
    height = float(region.value["height"]) * hw[0] / 100
    turned = float(region.value.get("rotation") or 0)
    corners = rotated(box_corners(x, y, x + width, y + height), turned, (x, y))
    (x0, y0), (x1, y1) = corners.min(0).tolist(), corners.max(0).tolist()
    return x0, y0, x1, y1


def _require_as_seen(region: Region, hw: tuple[int, int]) -> None:
    """Raises UserError: Label Studio shows the image in another size, or turned."""
    if region.hw != hw:
        raise UserError(
            f"Label Studio shows {region.hw[1]}x{region.hw[0]} pixels, but the image is "
            f"{hw[1]}x{hw[0]}: clicks would lie elsewhere"
        )
    if region.image_rotation:
        raise UserError("the image is turned in Label Studio: turn it back there")
