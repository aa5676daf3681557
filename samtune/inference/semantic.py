"""The class of every pixel of an image by the semantic head."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError
from samtune.heads.semantic import SemanticHead
from samtune.heads.views import image_maps
from samtune.models.backend import Sam
from samtune.types import FloatArray, ImageArray, LabelArray


class ClassMapper:
    """What gives every pixel a class.

    Args:
        sam: with a head `semantic`.

    Raises:
        UserError: it has none.
    """

    def __init__(self, sam: Sam) -> None:
        if SemanticHead.name not in sam.heads:
            raise UserError(
                "the model has no head 'semantic': train one by samtune fit --model.head semantic "
                "with the model as --base"
            )
        self.sam = sam
        self.head: Any = sam.heads[SemanticHead.name]

    @property
    def classes(self) -> Sequence[str]:
        """By number; 0 is background."""
        return tuple(self.head.classes)

    def maps(self, image: ImageArray) -> FloatArray:
        """How likely each class is (classes, H, W), of an image that is stretched already.

        Raises:
            UserError: the model answers with NaN.
        """
        sam = self.sam
        found = image_maps(sam.encode_for_heads, self.head, image, sam.frame, sam.device)
        if not np.isfinite(found).all():
            raise UserError("the head answers with NaN: its weights or the encoder's are damaged")
        return found

    def labels(self, image: ImageArray) -> tuple[LabelArray, NDArray[np.float32]]:
        """(H, W) numbers of classes, and how likely each pixel's is."""
        labels, sure = self.head.decode(self.maps(image))
        return labels, sure
