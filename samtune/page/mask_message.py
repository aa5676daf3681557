"""A mask in plain values: the part of the image that it covers, as COCO's run lengths.

They are not compressed: column by column, beginning with the background.
"""

import msgspec

from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import mask_to_runs, rle_to_mask


class MaskMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A mask as the front end and files have it."""

    top: int
    left: int
    height: int
    width: int
    runs: list[int]

    @classmethod
    def of(cls, mask: PlacedMask) -> "MaskMessage":
        height, width = mask.part.shape
        return cls(mask.top, mask.left, height, width, mask_to_runs(mask.part))

    def placed(self, hw: tuple[int, int]) -> PlacedMask:
        """The mask in an image of size `hw`.

        Raises:
            UserError: it does not fit, or its runs are none.
        """
        is_inside = 0 < self.height <= hw[0] - self.top and 0 < self.width <= hw[1] - self.left
        if min(self.top, self.left) < 0 or not is_inside:
            raise UserError("the mask reaches out of its image")
        try:
            part = rle_to_mask({"size": [self.height, self.width], "counts": self.runs})
        except (ValueError, OverflowError) as error:
            raise UserError(f"the mask cannot be read: {error}") from error
        return PlacedMask(self.top, self.left, part)
