"""How a comparison is run: with which prompts, on how many images, measured in which unit."""

from dataclasses import dataclass

import numpy as np

from samtune.data.settings import OnError
from samtune.data.source import SPACING_COLUMNS, Record
from samtune.errors import UserError
from samtune.evaluation.contestants import TUNED
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.prompts.protocols import Protocol


@dataclass(frozen=True)
class EvaluationSettings:
    """How a comparison is run.

    Attributes:
        protocols: kinds of prompts.
        own: the user's own prompts, asked beside them.
        seed: of the prompts.
        repeats: how often random prompts are drawn.
        min_area: objects of fewer pixels are left out.
        max_images: 0 for all.
        with_multimask: single prompts are answered by three masks, the best by predicted IoU taken.
        tuned_multimask: the same for the tuned model, where it was trained otherwise than the base
            is used; `None` for no difference.
        spacing: distance between rows and between columns, for distances between outlines; `None`
            takes it from the manifest's columns `spacing_row` and `spacing_column`, or 1.
        tolerance: of surface Dice, in the unit of `spacing`.
        with_focus: small objects are looked at in a window around them.
        with_sharpening: masks are sharpened, where the tuned model does that.
        is_brief: of each answer IoU and Dice alone, where nothing else is asked for: no distances, no
            best of three, nothing without a network.
        tile: side of the window in which points are looked at first; 0 is the whole image.
        on_error: what an unreadable image does.
        num_workers: processes that read images, where the network is asked in this one.
        num_processes: that read images and ask the network, each for itself; 0 asks it in this one.
        rank, world: which of how many processes this one is; they share the images.
    """

    protocols: tuple[Protocol, ...]
    own: OwnPrompts | None = None
    seed: int = 0
    repeats: int = 1
    min_area: int = 10
    max_images: int = 0
    with_multimask: bool = True
    tuned_multimask: bool | None = None
    spacing: tuple[float, float] | None = None
    tolerance: float = 2.0
    with_focus: bool = True
    with_sharpening: bool = True
    is_brief: bool = False
    tile: int = 0
    on_error: OnError = "fail"
    num_workers: int = 0
    num_processes: int = 0
    rank: int = 0
    world: int = 1

    def multimask_of(self, contestant: str) -> bool:
        """Whether a contestant answers single prompts thrice."""
        if contestant == TUNED and self.tuned_multimask is not None:
            return self.tuned_multimask
        return self.with_multimask

    def spacing_of(self, record: Record) -> tuple[float, float]:
        """Distance between rows and between columns of an image.

        Raises:
            UserError: the manifest's columns hold something else than numbers above 0.
        """
        if self.spacing is not None:
            return self.spacing
        columns = dict(record.columns)
        texts = [columns.get(name, "").strip() or "1" for name in SPACING_COLUMNS[:2]]
        try:
            row, column = (float(text) for text in texts)
        except ValueError:
            row = column = 0.0
        if not (0 < row < np.inf and 0 < column < np.inf):
            raise UserError(
                f"the manifest gives {record.image_id} a spacing of {' and '.join(texts)}: numbers "
                "above 0 are needed"
            )
        return row, column
