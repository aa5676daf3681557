"""`AutomaticMaskGenerator`: segment_anything's, for base and tuned models of every family.

It answers with the masks of segment_anything's automatic_mask_generator.py, but for empty ones; a model
with a sharpener has them sharpened in the end, as a click there is. What it leaves out on the way
changes none of them: a mask whose predicted IoU is too low is never enlarged, what is enlarged lies in
memory a few at a time, of a mask only the bits in its box are kept, and run lengths are made of those
that stay in the end.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samtune.errors import UserError
from samtune.geometry import logits_to_original
from samtune.images.preprocess import resize_to_frame
from samtune.inference.ask import require_numbers
from samtune.inference.automatic.arguments import (
    build_grids,
    require_number,
    require_whole,
)
from samtune.inference.automatic.candidates import (
    Candidate,
    box_and_bits,
    thin_out,
    without_small_regions,
)
from samtune.inference.automatic.crops import CropBox, Grid, crop_area, crop_boxes, is_cut_off
from samtune.inference.automatic.sharpening import sharpen
from samtune.inference.predictor import SamPredictor
from samtune.masks import mask_to_runs
from samtune.models.backend import Sam
from samtune.models.mask_thresholds import MaskThresholds
from samtune.types import ImageArray, MaskArray, Prompts

OutputMode = Literal["binary_mask", "uncompressed_rle", "coco_rle"]

# Pixels of masks that are enlarged at once: on a CPU few, so that they stay in the cache.
_PIXELS_ON_CPU, _PIXELS_ON_GPU = 2**19, 2**26
# A box so near an edge of its crop is cut off there, pixels. Crops are beside the whole image, which
# has what they leave out; tiles are all there is.
_NEAR_CROP, _NEAR_TILE = 20, 4


class AutomaticMaskGenerator:
    """Find the masks of everything in an image, by asking at each point of a grid.

    Predicted IoU is what the IoU head says, also where the model is calibrated: a calibration is of
    prompts on objects, and points of a grid lie anywhere.

    `pred_iou_thresh`, `stability_score_thresh` and `box_nms_thresh` may be set later too.

    Args:
        model: from `load_model` or `sam_model_registry`.
        points_per_side: of the grid, also where `samtune thresholds` had another; `None` with
            `point_grids`.
        points_per_batch: points decoded at once.
        pred_iou_thresh: masks stay with a predicted IoU above it, 0 for all; without it what
            `samtune thresholds` found for this model, or else 0.88.
        stability_score_thresh: the same for the stability score, or else 0.95.
        stability_score_offset: by how much the threshold of the logits is moved up and down for it.
        box_nms_thresh: IoU of boxes above which the worse mask goes; the same, or else 0.7.
        crop_n_layers: layers of crops (4, 16, ...) that are searched besides the image.
        crop_nms_thresh: the same between crops, where the smaller crop wins.
        crop_overlap_ratio: how far crops overlap, as a share of the image's shorter side.
        crop_n_points_downscale_factor: by how much a layer's grid is coarser than that before it.
        point_grids: one (N, 2) grid of xy in 0..1 for each layer, instead of `points_per_side`.
        min_mask_region_area: holes and islands of fewer pixels are mended; 0 leaves them.
        output_mode: how masks are given: (H, W) booleans, run lengths, or COCO's compressed ones.

    Raises:
        UserError: an argument makes no sense.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float | None = None,
        stability_score_thresh: float | None = None,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float | None = None,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[NDArray[Any]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: OutputMode = "binary_mask",
    ) -> None:
        require_whole(
            1, points_per_batch=points_per_batch,
            crop_n_points_downscale_factor=crop_n_points_downscale_factor,
        )  # fmt: skip
        require_whole(0, crop_n_layers=crop_n_layers)
        if output_mode not in get_args(OutputMode):
            modes = ", ".join(get_args(OutputMode))
            raise UserError(f"output_mode is {output_mode!r}: choose from {modes}")
        self.predictor = SamPredictor(model)
        self.point_grids = build_grids(
            points_per_side, point_grids, crop_n_layers, crop_n_points_downscale_factor
        )
        fitted = model.thresholds.thresholds if model.thresholds else MaskThresholds()
        given = {
            "pred_iou_thresh": pred_iou_thresh,
            "stability_score_thresh": stability_score_thresh,
            "box_nms_thresh": box_nms_thresh,
        }
        own = {name: value for name, value in given.items() if value is not None}
        require_number(
            **own, stability_score_offset=stability_score_offset, crop_nms_thresh=crop_nms_thresh
        )
        require_number(
            0, crop_overlap_ratio=crop_overlap_ratio, min_mask_region_area=min_mask_region_area
        )
        if crop_overlap_ratio >= 1:
            raise UserError(f"crop_overlap_ratio is {crop_overlap_ratio}: give 0 to less than 1")
        chosen = replace(fitted, **own)
        self.pred_iou_thresh = chosen.pred_iou_thresh
        self.stability_score_thresh = chosen.stability_score_thresh
        self.box_nms_thresh = chosen.box_nms_thresh
        self.points_per_batch = points_per_batch
        self.stability_score_offset = stability_score_offset
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.min_mask_region_area = min_mask_region_area
        self.output_mode = output_mode

    @property
    def thresholds(self) -> MaskThresholds:
        """The three that `samtune thresholds` finds, as they are set now."""
        return MaskThresholds(
            self.pred_iou_thresh, self.stability_score_thresh, self.box_nms_thresh
        )

    @property
    def _pixels(self) -> int:
        """Of masks that are enlarged at once."""
        is_cpu = self.predictor.model.device.type == "cpu"
        return _PIXELS_ON_CPU if is_cpu else _PIXELS_ON_GPU

    def generate(self, image: ImageArray) -> list[dict[str, Any]]:
        """Masks of an image, best first within each crop.

        Args:
            image: (H, W, 3) uint8 RGB. It is stretched as the training images were.

        Returns:
            Per mask `segmentation` (see `output_mode`), `area` in pixels, `bbox` (x, y, width, height
            between the outermost pixels' centres, as segment_anything), `predicted_iou`,
            `point_coords` [[x, y]], `stability_score`, `crop_box` (x, y, width, height).

        Raises:
            UserError: the array has another shape or dtype, or the model answers with NaN.
        """
        found = self.search(self.predictor.stretched(image))
        return [self._record(candidate) for candidate in found]

    def search(self, image: ImageArray, tiles: Sequence[CropBox] = ()) -> list[Candidate]:
        """What `generate` finds, as boxes with the bits in them.

        Args:
            image: (H, W, 3) uint8 RGB, stretched already: a window of a scene, a slice of a volume.
            tiles: looked at in place of the whole image and the layers of crops, each with the first
                grid; (x0, y0, x1, y1) with the ends outside. An object that no tile sees whole is
                not found. What they find is thinned out as if it were of one image.

        Raises:
            UserError: the model answers with NaN.
        """
        found = self._search_tiles(image, tiles) if tiles else self._search_layers(image)
        if self.min_mask_region_area > 0:
            threshold = max(self.box_nms_thresh, self.crop_nms_thresh)
            found = without_small_regions(found, self.min_mask_region_area, threshold)
        return found

    def _search_tiles(self, image: ImageArray, tiles: Sequence[CropBox]) -> list[Candidate]:
        grid = self.point_grids[0]
        found = [
            each for tile in tiles for each in self._search_crop(image, tile, grid, _NEAR_TILE)
        ]
        return self._thinned(found)

    def _search_layers(self, image: ImageArray) -> list[Candidate]:
        layers = crop_boxes(image.shape[:2], self.crop_n_layers, self.crop_overlap_ratio)
        found: list[Candidate] = []
        for crops, grid in zip(layers, self.point_grids, strict=True):
            for crop in crops:
                found += self._search_crop(image, crop, grid, _NEAR_CROP)
        if len(layers) > 1:
            small_first = [1 / crop_area(candidate.crop_xyxy) for candidate in found]
            found = thin_out(found, small_first, self.crop_nms_thresh)
        return found

    def _search_crop(
        self, image: ImageArray, crop: CropBox, grid: Grid, near: int
    ) -> list[Candidate]:
        sam = self.predictor.model
        found = self._thinned(list(self.candidates(image, crop, grid, near, bool(sam.sharpeners))))
        if not sam.sharpeners:
            return found
        # two of one object may have become alike
        return self._thinned(sharpen(sam, image, crop, found, self._pixels))

    def _thinned(self, found: list[Candidate]) -> list[Candidate]:
        scores = [candidate.predicted_iou for candidate in found]
        return thin_out(found, scores, self.box_nms_thresh)

    @torch.no_grad()
    def candidates(
        self, image: ImageArray, crop: CropBox, grid: Grid, near: int = _NEAR_CROP,
        with_logits: bool = False,
    ) -> Iterator[Candidate]:  # fmt: skip
        """Masks of one crop that pass the thresholds, doubles included, in the order of the points.

        None is sharpened: that is done to those that stay in the end.

        Args:
            image: (H, W, 3) uint8, stretched already.
            crop: (x0, y0, x1, y1) with the ends outside.
            grid: (N, 2) xy in 0..1 of the crop.
            near: masks so near an edge of the crop that is none of the image are left out, pixels.
            with_logits: candidates have SAM's own logits too.
        """
        x0, y0, x1, y1 = crop
        predictor = self.predictor
        values = resize_to_frame(image[y0:y1, x0:x1], predictor.model.frame)
        predictor.set_torch_image(values[None].to(predictor.device), (y1 - y0, x1 - x0))
        points = grid * (x1 - x0, y1 - y0)
        for start in range(0, len(points), self.points_per_batch):
            part = points[start : start + self.points_per_batch]
            for mask, predicted_iou, stability, index, logits in self._ask(part):
                box, bits = box_and_bits(mask)
                box += (x0, y0, x0, y0)
                if not is_cut_off(box, crop, image.shape[:2], near):
                    x, y = (part[index] + (x0, y0)).tolist()
                    yield Candidate(
                        box, bits, image.shape[:2], predicted_iou, stability, (x, y), crop,
                        # a copy, or else each would hold those of all points
                        logits.to("cpu", torch.float16, copy=True) if with_logits else None,
                    )  # fmt: skip
        predictor.reset_image()

    def _ask(self, points: Grid) -> Iterator[tuple[MaskArray, float, float, int, Tensor]]:
        """Masks (H, W) of the current crop that pass: scores, number of the point, logits beside."""
        predictor, sam = self.predictor, self.predictor.model
        hw = predictor.original_size
        assert predictor.encoded is not None
        assert hw is not None
        moved = torch.as_tensor(predictor.transform.apply_coords(points, hw), device=sam.device)
        index = torch.zeros(len(points), dtype=torch.int64, device=sam.device)
        prompts = Prompts(moved[:, None], torch.ones_like(index, dtype=torch.int)[:, None])
        answer = sam.decode(predictor.encoded, index, prompts, sam.with_multimask)
        require_numbers(answer)
        num_masks = answer.iou_scores.shape[1]
        scores, logits = answer.iou_scores.flatten(), answer.low_res_logits.flatten(0, 1)
        threshold = self.pred_iou_thresh
        good = (scores > threshold if threshold > 0 else scores == scores).nonzero()[:, 0]
        most = max(1, self._pixels // max(hw[0] * hw[1], sam.image_size**2))
        for rows in torch.split(good, most):
            enlarged = logits_to_original(logits[rows][:, None], hw, sam.frame)[:, 0]
            for place, mask, stability in self._stable(enlarged):
                row = int(rows[place])
                yield mask, float(scores[row]), stability, row // num_masks, logits[row]

    def _stable(self, logits: Tensor) -> Iterator[tuple[int, MaskArray, float]]:
        """Of logits (K, H, W) the numbers, masks and scores of those that are stable, not empty."""
        threshold, offset = self.predictor.model.mask_threshold, self.stability_score_offset
        inner, outer = (_count(logits > threshold + way * offset) for way in (1, -1))
        stability = inner / outer
        least = self.stability_score_thresh
        is_stable = stability >= least if least > 0 else outer >= 0
        for place in is_stable.nonzero()[:, 0].tolist():
            mask = (logits[place] > threshold).cpu().numpy()
            if mask.any():
                yield place, mask, float(stability[place])

    def _record(self, candidate: Candidate) -> dict[str, Any]:
        x0, y0, x1, y1 = candidate.box_xyxy.tolist()
        left, top, right, bottom = candidate.crop_xyxy
        cropped = candidate.cropped()
        return {
            "segmentation": self._encode(candidate),
            "area": int(np.count_nonzero(cropped)),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "predicted_iou": candidate.predicted_iou,
            "point_coords": [list(candidate.point_xy)],
            "stability_score": candidate.stability_score,
            "crop_box": [left, top, right - left, bottom - top],
        }

    def _encode(self, candidate: Candidate) -> MaskArray | dict[str, Any]:
        if self.output_mode == "binary_mask":
            return candidate.mask()
        if self.output_mode == "coco_rle":
            return candidate.rle()
        return {"size": list(candidate.image_hw), "counts": mask_to_runs(candidate.mask())}


def _count(mask: Tensor) -> Tensor:
    """Pixels of each of (K, H, W) masks."""
    if mask.device.type != "cpu":
        return mask.flatten(1).sum(1, dtype=torch.int32)
    return torch.tensor([np.count_nonzero(each) for each in mask.numpy()], dtype=torch.int32)


# segment_anything's name of it
SamAutomaticMaskGenerator = AutomaticMaskGenerator
