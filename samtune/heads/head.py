"""What every dense head is: a network with its targets, its loss, its score and its decoding.

A head stands beside SAM: it reads what the encoder made of a view of an image, and what it says of
each cell of the view's grid becomes objects or classes. The encoder belongs to all heads and to the
prompts alike. A new head is one file with one class, and a line in `table.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from samtune.heads.network import STRIDE, DenseDecoder, Encoded
from samtune.types import Features, FloatArray, LabelArray

# By name, of one view: (t, t) arrays; stacked to (B, t, t) tensors in a batch
Targets = dict[str, NDArray[Any]]
Batched = Mapping[str, Tensor]


class DenseHead(nn.Module, ABC):
    """Maps over a view, and what they mean.

    Args:
        encoded: what the encoder gives.
        settings: of the head, as JSON holds them: `tile` and whatever the head needs besides.
    """

    name: ClassVar[str]
    # what the activated maps are, in a sentence
    meaning: ClassVar[str]
    # the field's name of its score on whole images, and where a table of images has it (nowhere: "")
    measure: ClassVar[str]
    column: ClassVar[str] = ""
    # whether its views follow the size of objects, and what its classes are weighed by, if it has any
    follows_objects: ClassVar[bool] = False
    weighed_by: ClassVar[Literal["", "pixels", "objects"]] = ""

    def __init__(self, encoded: Encoded, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.encoded, self.settings = encoded, dict(settings)
        self.network = DenseDecoder(encoded, self.num_maps)

    @property
    def tile(self) -> int:
        """Side of the views in which images are looked at, pixels; 0 is the whole image."""
        return int(self.settings["tile"])

    @property
    def grid_side(self) -> int:
        """Cells t of the maps along a side."""
        return self.encoded.side // STRIDE

    @property
    @abstractmethod
    def num_maps(self) -> int:
        """Channels of the network's answer."""

    def forward(self, pixel_values: Tensor, features: Features) -> Tensor:
        """(B, maps, S/2, S/2) before any activation, of (B, 3, S, S) and their features."""
        maps: Tensor = self.network(pixel_values, features)
        return maps

    @classmethod
    @abstractmethod
    def targets(
        cls, labels: LabelArray, classes: Mapping[int, str], settings: Mapping[str, Any]
    ) -> Targets:
        """What the maps should be.

        Args:
            labels: (L, t, t) objects on the grid of the maps, 0 where there are none.
            classes: object id -> class name.
            settings: of the head.
        """

    @abstractmethod
    def loss(self, maps: Tensor, targets: Batched, valid: Tensor) -> dict[str, Tensor]:
        """`loss` and its parts.

        Args:
            maps: (B, maps, t, t).
            targets: (B, t, t) each.
            valid: (B, t, t) bool: cells that count: in the image, and not ignored.
        """

    @abstractmethod
    def score(self, maps: FloatArray, targets: Targets, valid: NDArray[np.bool_]) -> float:
        """How good the answer (maps, t, t) to one view is, 0 to 1; cheap, to choose a moment by."""

    @abstractmethod
    def activate(self, maps: Tensor) -> Tensor:
        """Maps (B, maps, t, t) as what can be averaged where views overlap."""

    def changed(self, **settings: Any) -> Self:
        """The same head with other settings of its decoding, in place."""
        self.settings |= settings
        return self


class NamingHead(DenseHead):
    """A head with a map for each class; the settings name them in their order."""

    @property
    def classes(self) -> list[str]:
        """By number of their map."""
        return list(self.settings["classes"])

    @property
    def num_maps(self) -> int:
        return len(self.classes)
