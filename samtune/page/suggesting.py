"""Objects found everywhere in an image, without a click: a person accepts or rejects them."""

from collections.abc import Iterable

from samtune.inference.automatic.candidates import Candidate, calibrated
from samtune.inference.automatic.crops import tile_boxes
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.instances import InstanceFinder
from samtune.inference.naming import named_by_head
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.models.backend import Sam
from samtune.page.state import Accepted, By
from samtune.types import ImageArray

# Where nothing was fitted for the model: points along a side of the grid, and thresholds. A person
# looks at all that is found, so that they are lower than those of masks that nobody looks at. Tiles
# are chosen so that objects are large in them, and a person waits for all of them.
_POINTS, _POINTS_OF_TILE, _LEAST_SCORE, _LEAST_STABILITY = 16, 8, 0.5, 0.8
# What overlaps an object by so much is that object.
_SAME = 0.5


def find_everything(
    sam: Sam, image: ImageArray, tile: int, by: By, name: str, known: Iterable[Accepted]
) -> tuple[Accepted, ...]:
    """What an automatic search finds besides what is known, the most doubtful first.

    The model's own heads are asked where it has them: `instances` for the objects, `classes` for what
    each is; or else a grid of points, with the thresholds that were fitted for the model.

    Args:
        sam: the model.
        image: (H, W, 3), as the network is to see it.
        tile: side of the windows that are searched; 0 is the whole image.
        by: who finds it.
        name: of the class of all, where no head says it.
        known: objects of the image.

    Raises:
        UserError: the network answers with NaN.
    """
    found, taken = _search(sam, image, tile), [each.mask for each in known]
    if "classes" in sam.heads:
        found = named_by_head(sam, image, found)
    hw = (image.shape[0], image.shape[1])
    new = []
    # of two that are one object the better one is left, however a grid has come upon it
    for each in sorted(found, key=lambda each: -each.predicted_iou):
        mask = _placed(each)
        if all(placed_iou(mask, other) < _SAME for other in taken):
            taken.append(mask)
            new.append((each, mask))
    new.reverse()
    return tuple(
        Accepted(number, each.class_name or name, mask.to_rle(hw), by, each.predicted_iou)
        for number, (each, mask) in enumerate(new, start=1)
    )


def _search(sam: Sam, image: ImageArray, tile: int) -> list[Candidate]:
    """All that is found; of a grid the expected IoU is calibrated where the model has a calibration."""
    if "instances" in sam.heads:
        return InstanceFinder(sam).search(image)
    hw = (image.shape[0], image.shape[1])
    is_tiled = 0 < tile < max(hw)
    if sam.thresholds is not None:
        generator = AutomaticMaskGenerator(sam, sam.thresholds.points_per_side)
    else:
        generator = AutomaticMaskGenerator(
            sam, _POINTS_OF_TILE if is_tiled else _POINTS, pred_iou_thresh=_LEAST_SCORE,
            stability_score_thresh=_LEAST_STABILITY,
        )  # fmt: skip
    # what is too large for a tile is found in the whole image
    whole = (0, 0, hw[1], hw[0])
    tiles = [whole, *tile_boxes(hw, tile, tile // 4)] if is_tiled else []
    return calibrated(generator.search(image, tiles), sam.calibration)


def _placed(found: Candidate) -> PlacedMask:
    x0, y0 = found.box_xyxy[:2].tolist()
    return PlacedMask(y0, x0, found.cropped())
