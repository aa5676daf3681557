"""Objects found everywhere in an image, without a click: a person accepts or rejects them."""

from collections.abc import Iterable

from samtune.data.source import tile_starts
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.prelabel.placed_mask import PlacedMask, placed_iou
from samtune.models.backend import Sam
from samtune.page.state import Accepted, By
from samtune.types import ImageArray

# Where nothing was fitted for the model: points along a side of the grid, and thresholds. A person
# looks at all that is found, so that they are lower than those of masks that nobody looks at.
_POINTS, _LEAST_SCORE, _LEAST_STABILITY = 16, 0.5, 0.8
# What overlaps an accepted object by so much is that object.
_SAME = 0.5


def find_everything(
    sam: Sam, image: ImageArray, tile: int, by: By, name: str, known: Iterable[Accepted]
) -> tuple[Accepted, ...]:
    """What an automatic search finds besides what is known, the most doubtful first.

    Args:
        sam: with its fitted thresholds, where it has some.
        image: (H, W, 3), as the network is to see it.
        tile: side of the windows that are searched; 0 is the whole image.
        by: who finds it.
        name: of its class.
        known: objects of the image.

    Raises:
        UserError: the network answers with NaN.
    """
    if sam.thresholds is not None:
        generator = AutomaticMaskGenerator(sam, sam.thresholds.points_per_side)
    else:
        generator = AutomaticMaskGenerator(
            sam, _POINTS, pred_iou_thresh=_LEAST_SCORE, stability_score_thresh=_LEAST_STABILITY
        )
    hw = (image.shape[0], image.shape[1])
    tiles = []
    if 0 < tile < max(hw):
        tiles = [
            (x, y, min(x + tile, hw[1]), min(y + tile, hw[0]))
            for y in tile_starts(hw[0], tile, tile // 4)
            for x in tile_starts(hw[1], tile, tile // 4)
        ]
    taken = [each.mask for each in known]
    found = []
    for each in generator.search(image, tiles):
        x0, y0 = each.box_xyxy[:2].tolist()
        mask = PlacedMask(y0, x0, each.cropped())
        if all(placed_iou(mask, other) < _SAME for other in taken):
            found.append((each.predicted_iou, mask))
    found.sort(key=lambda pair: pair[0])
    return tuple(
        Accepted(number, name, mask.to_rle(hw), by, float(score))
        for number, (score, mask) in enumerate(found, start=1)
    )
