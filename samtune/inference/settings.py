"""Settings of what is done with a model, apart from torch, so that help is printed without it."""

from dataclasses import dataclass
from typing import Literal

from samtune.ranges import Count, NotNegative, PointsPerSide, Positive, Share

# How masks stand in a COCO file
Segmentation = Literal["rle", "polygons"]
# Whether small objects are looked at in a window around them
Focus = Literal["auto", "off"]


@dataclass(frozen=True)
class SearchSettings:
    """How everything is looked for without a prompt; of a grid the names are segment_anything's.

    Attributes:
        by: a head of the model (samtune fit --model.head): `instances` finds all objects, `semantic`
            gives every pixel a class; or a `grid`, at each point of which SAM is asked; `auto` takes
            the first of these that there is.
        min_quality: least score of an object that the instance head finds.
        refine: ask SAM's own decoder with the box of each object that the instance head found, and
            keep the better mask; takes longer.
        classifier: names the class of each mask, instead of the model's head for classes, if it has
            one: FILE.onnx, FILE.py:FUNCTION or MODULE:FUNCTION, fed with cut-outs; see
            samtune/inference/classifier.py.
        points_per_side: points along each side of the grid (default: as samtune thresholds had, or 32).
        points_per_batch: points decoded at once.
        pred_iou_thresh: masks stay with a predicted IoU above it (default: what samtune thresholds
            found, or 0.88).
        stability_score_thresh: the same for the stability score (or 0.95).
        stability_score_offset: by how much the logits' threshold is moved for it.
        box_nms_thresh: IoU of boxes above which the worse mask goes (or 0.7).
        crop_n_layers: layers of crops that are searched besides the image; 1: four crops.
        crop_nms_thresh: IoU of boxes of two crops above which one goes.
        crop_overlap_ratio: how far crops overlap, as a share of the image's shorter side.
        crop_n_points_downscale_factor: by how much a layer's grid is coarser than that before it.
        min_mask_region_area: holes and islands of fewer pixels are mended; 0 leaves them.
    """

    by: Literal["auto", "instances", "semantic", "grid"] = "auto"
    min_quality: Share = 0.0
    refine: bool = False
    classifier: str = ""
    points_per_side: PointsPerSide | None = None
    points_per_batch: Positive = 64
    pred_iou_thresh: Share | None = None
    stability_score_thresh: Share | None = None
    stability_score_offset: NotNegative = 1.0
    box_nms_thresh: Share | None = None
    crop_n_layers: Count = 0
    crop_nms_thresh: Share = 0.7
    crop_overlap_ratio: Share = 512 / 1500
    crop_n_points_downscale_factor: Positive = 1
    min_mask_region_area: Count = 0


@dataclass(frozen=True)
class SceneOptions:
    """What becomes of the objects of a scene.

    Attributes:
        min_area: smaller objects are left out, pixels.
        simplify: how far outlines may leave the mask, pixels; 0 keeps them as they are.
        layer: which layer of the vector file of prompts, where there are several.
        class_column: attribute of the prompts that is kept as class.
        class_name: class of all objects that are found without prompts.
        cog: write labels as a cloud-optimised GeoTIFF.
        focus: for prompts: `auto` looks at small objects in a window around them; `off` never does.
    """

    min_area: Count = 16
    simplify: NotNegative = 1.0
    layer: str = ""
    class_column: str = ""
    class_name: str = ""
    cog: bool = False
    focus: Focus = "auto"
