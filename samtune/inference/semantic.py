"""The class of every pixel of an image by the semantic head."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from samtune.heads.semantic import SemanticHead
from samtune.inference.head_maps import find_head, maps_of
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
        self.sam = sam
        self.head = find_head(sam, SemanticHead.name)

    @property
    def classes(self) -> Sequence[str]:
        """By number; 0 is background."""
        return tuple(self.head.classes)

    def maps(self, image: ImageArray) -> FloatArray:
        """How likely each class is (classes, H, W), of an image that is stretched already.

        Raises:
            UserError: the model answers with NaN.
        """
        return maps_of(self.sam, self.head, image)

    def labels(self, image: ImageArray) -> tuple[LabelArray, NDArray[np.float32]]:
        """(H, W) numbers of classes, and how likely each pixel's is."""
        labels, sure = self.head.decode(self.maps(image))
        return labels, sure
