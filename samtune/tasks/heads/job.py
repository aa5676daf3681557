"""Heads of a model and the images to ask them on, and how what was found is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from samtune.inference.settings import SearchSettings
from samtune.tasks.opening import open_model
from samtune.tasks.results import Rows
from samtune.tasks.searching import make_finder, whole_search
from samtune.wording import signed

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.models.backend import Sam

HEAD, GRID, NONE = "head", "grid", "none"


@dataclass(frozen=True)
class HeadJob:
    """Heads of a model and the images to ask them on.

    Attributes:
        sam: with heads.
        data, split: whose images.
        against: `grid`, `none`, or another model with the same heads.
        max_images: 0 for all.
        seed: of the bootstrap.
        seen: images that the model was trained or validated on.
        classifier: that names the masks which are found, in place of the head for classes; or empty.
    """

    sam: Sam
    data: SamDataModule
    split: str
    against: str
    max_images: int
    seed: int
    seen: set[str]
    classifier: str = ""

    @property
    def names_a_grid(self) -> bool:
        """Whether masks are named, and no head finds them: then a grid does."""
        if "instances" in self.sam.heads:
            return False
        return bool(self.classifier) or ("classes" in self.sam.heads and self.against != NONE)

    def searching(self, sam: Sam, by: Literal["instances", "grid"]) -> Callable[[Any], Any]:
        """What looks for the masks of whole pictures, and names them where somebody can."""
        return whole_search(make_finder(sam, SearchSettings(by=by, classifier=self.classifier)))

    def not_held_out(self, images: Rows) -> list[str]:
        """A warning, if some of the images that were asked were trained or validated on."""
        asked = {str(row["image"]) for row in images}
        if not (seen := asked & self.seen):
            return []
        return [
            f"not held out: {len(seen)} of {len(asked)} images were used in training (such as "
            f"{min(seen)}): the head looks better on them than it is"
        ]

    def other(self) -> Sam:
        """The model that this one is compared with."""
        return open_model(self.against, device=str(self.sam.device))


def tell_difference(
    what: str,
    key: str,
    way: str,
    scores: dict[str, Any],
    delta: dict[str, Any] | None,
    against: str,
) -> str:
    """One way's score, and how surely it differs from that of another."""
    own = scores[way]
    told = f"{what} {own[key]:.3f} on {own['num_images']} whole images"
    if delta is None:
        return told
    told += f", {against} {scores[against][key]:.3f}: difference {signed(delta['mean'])}"
    if delta["ci95"] is None:
        return f"{told}, of one group, so that nothing tells how sure it is"
    low, high = delta["ci95"]
    sure = "" if low > 0 or high < 0 else ", which may be chance"
    return f"{told} (95% interval {signed(low)} to {signed(high)}{sure})"
