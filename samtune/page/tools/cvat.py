"""CVAT: functions that its agent runs, and what its serverless functions are asked.

Functions: https://docs.cvat.ai/docs/api_sdk/sdk/auto-annotation. Serverless: serverless/pytorch/
facebookresearch/sam of https://github.com/cvat-ai/cvat. CVAT counts from the outer corner of the
top-left pixel.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from samtune.errors import UserError, require
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import mask_to_polygons, mask_to_runs
from samtune.page.answering import Candidate
from samtune.page.tools.asked import Asked
from samtune.page.tools.clicks import prompt_of
from samtune.page.tools.pictures import from_base64
from samtune.types import ImageArray

Pair = tuple[float, float]


class Question(msgspec.Struct):
    """What CVAT asks a serverless interactor."""

    image: str
    pos_points: list[Pair] = []
    neg_points: list[Pair] = []
    obj_bbox: list[Pair] = []


class Interactor:
    """Answers clicks with a mask.

    Args:
        asked: the network.
    """

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def answer(self, question: Question) -> dict[str, Any]:
        """`mask`: rows of the whole image, 0 and 255.

        Raises:
            UserError: the image or the prompt is none.
        """
        image = self._asked.reading.read(from_base64(question.image))
        box = question.obj_bbox
        if box and len(box) != 2:
            raise UserError(f"obj_bbox has {len(box)} corners: expected the first and the last")
        found = self.mask(image, question.pos_points, question.neg_points, box)
        hw = (image.shape[0], image.shape[1])
        mask = np.zeros(hw, np.bool_) if found is None else found.mask.whole(hw)
        return {"mask": (mask.astype(int) * 255).tolist()}

    def mask(
        self, image: ImageArray, inside: Sequence[Pair], outside: Sequence[Pair],
        box: Sequence[Pair],
    ) -> Candidate | None:  # fmt: skip
        """The mask of an object in an image (H, W, 3); points and box (two corners) as CVAT counts."""
        points = [(x, y, True) for x, y in inside] + [(x, y, False) for x, y in outside]
        corners = [*box[0], *box[1]] if box else None
        prompt = prompt_of(points, corners, (image.shape[0], image.shape[1]))
        return self._asked.mask(image, prompt)


def points_of(mask: PlacedMask) -> list[float]:
    """A mask as CVAT's `points`: runs of its box, row by row and beginning with 0, and the box."""
    height, width = mask.part.shape
    last = (mask.left + width - 1, mask.top + height - 1)
    return [*map(float, [*mask_to_runs(mask.part.T), mask.left, mask.top, *last])]


class ClickFunction:
    """An interactor: points inside and outside, a box, or both."""

    def __init__(self, asked: Asked) -> None:
        self._cvat, self._models = _cvat_sdk()
        self._asked, self._interactor = asked, Interactor(asked)
        self.spec = self._cvat.InteractionFunctionSpec(
            min_pos_points=0, min_neg_points=0, min_bounding_boxes=0
        )

    def detect(self, context: Any, image: Image.Image, prompts: Any) -> list[Any]:
        box = prompts.bounding_box or ()
        pixels = _pixels(image, self._asked)
        found = self._interactor.mask(pixels, prompts.pos_points, prompts.neg_points, box)
        if found is None:
            return []
        confidence = self._models.AttributeValRequest(
            spec_id=int(self._cvat.InteractionResultAttributes.CONFIDENCE),
            value=f"{min(1.0, max(0.0, found.score)):.4f}",
        )
        shape = self._cvat.InteractionResultShape
        return [shape(type="mask", points=points_of(found.mask), attributes=[confidence])]


class SearchFunction:
    """A detector: everything that an automatic search finds."""

    def __init__(self, asked: Asked, label: str) -> None:
        (self._cvat, _), self._asked = _cvat_sdk(), asked
        self.spec = self._cvat.DetectionFunctionSpec(labels=[self._cvat.label_spec(label, 0)])

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        least = context.conf_threshold or 0.0
        shapes = []
        for found in self._asked.everything(_pixels(image, self._asked)):
            if found.score < least:
                continue
            if context.conv_mask_to_poly:
                corner = np.array([found.mask.left, found.mask.top])
                rings = mask_to_polygons(found.mask.part)
                shapes += [self._cvat.polygon(0, (r + corner).ravel().tolist()) for r in rings]
            else:
                shapes.append(self._cvat.mask(0, points_of(found.mask)))
        return shapes


def _pixels(image: Image.Image, asked: Asked) -> ImageArray:
    """(H, W, 3) of what CVAT has read, as the network is to see it."""
    return asked.reading.stretched(np.asarray(image.convert("RGB")))


def _cvat_sdk() -> tuple[Any, Any]:
    """`cvat_sdk.auto_annotation` and `cvat_sdk.models`.

    Raises:
        UserError: they are not installed, or too old to know functions that answer clicks.
    """
    sdk = require("cvat_sdk.auto_annotation", "cvat"), require("cvat_sdk.models", "cvat")
    if not hasattr(sdk[0], "InteractionFunctionSpec"):
        raise UserError(
            "this cvat-sdk knows no functions that answer clicks: pip install -U cvat-cli"
        )
    return sdk
