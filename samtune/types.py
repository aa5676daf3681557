"""The few dataclasses that travel through samtune.

Shape legend, used in every docstring:

    B  images of a batch            K  objects of a batch, packed over its images
    N  points of one prompt         M  mask candidates of one object (3, or 1)
    H, W  size of the original image        S  side of the model's square input
    h, w  size of the decoder's output (S / 4)      T  side of the square training targets
    L  layers of a label map (1, unless objects overlap)

Frames: *original* is pixels of the image as it was given, *input* is pixels of the model's input
after resizing (and padding) as its `InputFrame` says. Pixel coordinates are indices
(the centre of the top-left pixel is (0, 0)); boxes are inclusive, `x1` is the last column inside.
Frames change only in `geometry.py`.
"""

# torch takes seconds to import, and help is printed without it
from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from samtune.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

ImageArray = NDArray[np.uint8]
LabelArray = NDArray[np.int32]
MaskArray = NDArray[np.bool_]
FloatArray = NDArray[np.float32]
# Class of what counts neither as object nor as background, where a source keeps it
IGNORED_CLASS = "(ignored)"
# Class of pixels of no object, and of objects without a class, where every pixel has one
BACKGROUND, UNNAMED_CLASS = "background", "object"
Stretch = Literal["none", "percentile", "auto"]


@dataclass(frozen=True)
class InputFrame:
    """The square input of a model, and how an image gets there.

    Attributes:
        side: S, pixels.
        keeps_aspect: the longest side becomes S and the rest is padding right and below (SAM);
            otherwise both sides become S (SAM 2, SAM 3).
        mean, std: of the pixel values (0..255) of each channel, by which they are normalised.
    """

    side: int
    keeps_aspect: bool = True
    mean: tuple[float, float, float] = (123.675, 116.28, 103.53)
    std: tuple[float, float, float] = (58.395, 57.12, 57.375)

    def grid(self, side: int) -> Grid:
        """So many cells by so many over the input, such as those of targets and mask prompts."""
        return Grid(self, side)


@dataclass(frozen=True)
class Grid:
    """Square cells over the whole (padded) input.

    Attributes:
        frame: of the input.
        side: how many cells there are along each side; a cell is S / side pixels of the input.
    """

    frame: InputFrame
    side: int


@dataclass(frozen=True)
class Window:
    """Part of an image or a scene, pixels."""

    y: int
    x: int
    height: int
    width: int

    @property
    def hw(self) -> tuple[int, int]:
        return self.height, self.width

    @property
    def ranges(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns, as rasterio takes them."""
        return (self.y, self.y + self.height), (self.x, self.x + self.width)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an array."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)

    def holds(self, box_xyxy: NDArray[Any]) -> bool:
        """Whether a box (or a point as a box) lies inside, boxes inclusive."""
        x0, y0, x1, y1 = box_xyxy
        is_below = self.y - 0.5 <= y0 and y1 <= self.y + self.height - 0.5
        return bool(is_below and self.x - 0.5 <= x0 and x1 <= self.x + self.width - 0.5)


@dataclass
class Sample:
    """One image with its objects, as a source reads it (original frame).

    Attributes:
        image_id: unique within the source.
        image: (H, W, 3) uint8 RGB.
        labels: (L, H, W) int32, 0 is background, any other value an object id. An id lies on one
            layer only; objects that overlap lie on different layers.
        classes: object id -> class name.
        group: what must not be torn apart by a split (patient, slide, scene).
    """

    image_id: str
    image: ImageArray
    labels: LabelArray
    classes: dict[int, str] = field(default_factory=dict)
    group: str = ""


@dataclass
class Prompt:
    """The prompt for one object; `None` parts are absent.

    Attributes:
        point_coords: (N, 2) float32 xy.
        point_labels: (N,) int64, 1 is inside the object, 0 outside.
        box_xyxy: (4,) float32.
        mask_input: (h, w) float32 logits, always in the input frame.
    """

    point_coords: FloatArray | None = None
    point_labels: NDArray[np.int64] | None = None
    box_xyxy: FloatArray | None = None
    mask_input: FloatArray | None = None

    @property
    def num_points(self) -> int:
        return 0 if self.point_coords is None else len(self.point_coords)

    @property
    def signature(self) -> tuple[int, bool, bool]:
        """What must be equal for prompts to be decoded together without padding."""
        return self.num_points, self.box_xyxy is not None, self.mask_input is not None

    @property
    def is_single(self) -> bool:
        """Whether it is one point or one box or one mask: ambiguous, so that SAM answers thrice."""
        return self.num_points + (self.box_xyxy is not None) + (self.mask_input is not None) == 1

    def require_inside(self, hw: tuple[int, int], where: str) -> None:
        """Refuse a prompt that lies outside its image of height and width `hw`.

        Raises:
            UserError: a point or a corner does.
        """
        for part in (self.box_xyxy, self.point_coords):
            for x, y in [] if part is None else part.reshape(-1, 2).tolist():
                if not (-0.5 <= x <= hw[1] and -0.5 <= y <= hw[0]):
                    size = f"{hw[1]}x{hw[0]} pixels"
                    raise UserError(f"the prompt {x:g},{y:g} lies outside {where} ({size})")

    def with_point(self, xy: tuple[float, float], label: int) -> Prompt:
        """Return a copy with one more point."""
        coords = np.asarray([xy], np.float32)
        labels = np.asarray([label], np.int64)
        if self.point_coords is not None and self.point_labels is not None:
            coords = np.concatenate([self.point_coords, coords])
            labels = np.concatenate([self.point_labels, labels])
        return replace(self, point_coords=coords, point_labels=labels)


@dataclass
class Prompts:
    """Prompts of K objects with one signature, in the input frame.

    Attributes:
        point_coords: (K, N, 2) float xy.
        point_labels: (K, N) int.
        boxes_xyxy: (K, 4) float.
        mask_inputs: (K, 1, h, w) float logits.
    """

    point_coords: Tensor | None = None
    point_labels: Tensor | None = None
    boxes_xyxy: Tensor | None = None
    mask_inputs: Tensor | None = None

    def __len__(self) -> int:
        for value in (self.point_coords, self.boxes_xyxy, self.mask_inputs):
            if value is not None:
                return len(value)
        return 0

    def require_one_number(self) -> None:
        """Refuse parts that are of unequal numbers of objects, or points without labels.

        Raises:
            UserError: they are.
        """
        if (self.point_coords is None) != (self.point_labels is None):
            raise UserError("points and their labels belong together: one of them is missing")
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        numbers = {name: len(part) for name, part in parts.items() if part is not None}
        if len(set(numbers.values())) > 1:
            told = ", ".join(f"{name} of {number}" for name, number in numbers.items())
            raise UserError(f"prompts of unequal numbers of objects ({told}): give each the same")
        if self.point_coords is not None and self.point_labels is not None:
            points, labels = tuple(self.point_coords.shape), tuple(self.point_labels.shape)
            if points != (*labels, 2):
                raise UserError(
                    f"points have the shape {points} and labels {labels}: expected (K, N, 2) and (K, N)"
                )

    def __getitem__(self, index: slice | Tensor) -> Prompts:
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return Prompts(**{k: v if v is None else v[index] for k, v in parts.items()})


@dataclass
class Features:
    """What an encoder has made of B images: activations between two blocks, or image embeddings.

    Attributes:
        main: (B, ...); image embeddings are (B, C, h/4, w/4).
        details: (B, ...) each, what the family needs besides: finer maps (SAM 2, SAM 3), an early
            block's answer (SAM-HQ).
    """

    main: Tensor
    details: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.main)

    def __getitem__(self, index: slice | Tensor) -> Features:
        return Features(self.main[index], tuple(detail[index] for detail in self.details))

    def to(self, *arguments: Any, **settings: Any) -> Features:
        """Move or convert all tensors, as `Tensor.to`."""
        parts = [part.to(*arguments, **settings) for part in (self.main, *self.details)]
        return Features(parts[0], tuple(parts[1:]))


@dataclass
class MaskPrediction:
    """What the decoder answers for K objects.

    Attributes:
        low_res_logits: (K, M, h, w), not thresholded, input frame.
        iou_scores: (K, M), the IoU that the model expects of each mask.
        object_logits: (K,), above 0 where the model finds an object at all (SAM 2, SAM 3); `None`
            for families that do not say.
    """

    low_res_logits: Tensor
    iou_scores: Tensor
    object_logits: Tensor | None = None


@dataclass(frozen=True)
class ObjectKey:
    """Names one object of one source, for seeding and for tables."""

    image_id: str
    object_id: int
    class_name: str = ""


@dataclass
class Batch:
    """B images and their K objects, packed.

    Attributes:
        pixel_values: (B, 3, S, S) float32, normalised and padded; in training without the images whose
            features are kept.
        image_index: (K,) int64, the image of each object.
        targets: (K, T, T) uint8, the share of each cell that the object covers, times 255.
        valid: (B, T, T) bool, False on the padding.
        prompts: K first prompts per protocol, input frame; training has the one key `"first"`.
        keys: K object names.
        seed: with the object's key, seeds the correction clicks.
        entries: B names under which features of the images are kept; empty without a cache.
        kept: B features (1, ...) of the frozen part of the encoder; `None` where they are not kept.
    """

    pixel_values: Tensor
    image_index: Tensor
    targets: Tensor
    valid: Tensor
    prompts: dict[str, list[Prompt]]
    keys: list[ObjectKey]
    seed: tuple[int, ...] = (0,)
    entries: list[str] = field(default_factory=list)
    kept: list[Features | None] = field(default_factory=list)

    def _map_tensors(self, function: Any) -> Self:
        from torch import Tensor

        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        moved = {k: function(v) for k, v in parts.items() if isinstance(v, Tensor)}
        return replace(self, **moved)

    def to(self, device: torch.device | str, **kwargs: Any) -> Self:
        return self._map_tensors(lambda value: value.to(device, **kwargs))

    def pin_memory(self) -> Self:
        return self._map_tensors(lambda value: value.pin_memory())
