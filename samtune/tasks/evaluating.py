"""What the tasks that evaluate have in common: how models are asked, and where rows are kept."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from samtune.errors import UserError
from samtune.files import partial_folder
from samtune.inference.settings import Focus
from samtune.locks import locked
from samtune.tasks.opening import num_processes_of, open_data

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Source
    from samtune.evaluation.row_store import RowStore
    from samtune.evaluation.settings import EvaluationSettings
    from samtune.models.backend import Sam

log = logging.getLogger(__name__)
Multimask = Literal["auto", "always", "never"]
PROTOCOLS = ("box", "box_jitter", "point", "points_3", "clicks_5")


@dataclass(frozen=True)
class Asking:
    """How models are asked; the arguments of `evaluate` under their names.

    Raises:
        UserError: a number makes no sense.
    """

    protocols: Sequence[str] = PROTOCOLS
    prompts: str | Path | None = None
    seed: int = 0
    repeats: int = 1
    multimask: Multimask = "auto"
    focus: Focus = "auto"
    spacing: Sequence[float] | None = None
    tolerance: float = 2.0
    max_images: int = 0

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise UserError(f"repeats is {self.repeats}: give a whole number from 1 up")
        require_count(self.max_images)
        spacing = self.spacing or ()
        if not all(0 < distance < math.inf for distance in spacing) or len(spacing) not in (0, 2):
            raise UserError(f"spacing is {list(spacing)}: give two numbers above 0")
        if not 0 <= self.tolerance < math.inf:
            raise UserError(f"tolerance is {self.tolerance}: give a number from 0 up")

    def settings(
        self, data: SamDataModule, split: str, sam: Sam, rank: int = 0, world: int = 1
    ) -> EvaluationSettings:
        """Settings of a comparison.

        Raises:
            UserError: a protocol is unknown, or there is nothing to ask.
        """
        from samtune.evaluation.own_prompts import OwnPrompts
        from samtune.evaluation.settings import EvaluationSettings
        from samtune.prompts.prompt_files import read_prompts
        from samtune.prompts.protocols import find_protocols

        own = None
        if self.prompts is not None:
            if data.tile and not data.with_windows:
                raise UserError(
                    "prompts of your own are for whole images: set data.tile to 0, or data.windows "
                    "to -1"
                )
            file = Path(self.prompts)
            # they may lie beside their file, or among the images asked
            records = data.whole_source(split).records
            places = [file.parent, *(record.path for record in records)]
            own = OwnPrompts(tuple(read_prompts(file, places)))
        if not self.protocols and own is None:
            raise UserError("there is nothing to ask: name protocols, or give a file of prompts")
        return EvaluationSettings(
            protocols=tuple(find_protocols(list(self.protocols))),
            own=own,
            seed=self.seed,
            repeats=self.repeats,
            min_area=data.min_area,
            max_images=self.max_images,
            with_multimask=self.multimask != "never",
            tuned_multimask=sam.with_multimask if self.multimask == "auto" else None,
            spacing=(self.spacing[0], self.spacing[1]) if self.spacing else None,
            tolerance=self.tolerance,
            with_focus=self.focus == "auto",
            tile=data.tile if data.with_windows else 0,
            on_error=data.on_error,
            num_workers=data.num_workers,
            num_processes=num_processes_of(sam) if world == 1 else 0,
            rank=rank,
            world=world,
        )


def require_count(max_images: int, least: int = 0) -> None:
    """Refuse a number of images that makes no sense.

    Raises:
        UserError: it does not.
    """
    if max_images < least:
        told = "a whole number, 0 for all" if not least else f"a whole number from {least} up"
        raise UserError(f"max_images is {max_images}: give {told}")


def general_source(
    name: str | Path, settings: EvaluationSettings, sam: Sam
) -> tuple[Source, EvaluationSettings]:
    """Images on which to look for forgetting, and how to ask there.

    Args:
        name: `drawn`, or a path that `data.path` could be: its test split, or all images where it
            names no splits.
        settings: of the comparison on the domain.
        sam: says how images are read.

    Raises:
        UserError: there are no such data.
    """
    from samtune.data.drawn.source import DrawnPictures
    from samtune.data.source import FewObjects
    from samtune.evaluation.forgetting import GENERAL_OBJECTS, GENERAL_PROTOCOLS, NUM_GENERAL
    from samtune.prompts.protocols import find_protocols

    elsewhere = replace(
        settings, protocols=tuple(find_protocols(GENERAL_PROTOCOLS)), own=None, max_images=0,
        spacing=None, tile=0,
    )  # fmt: skip
    if name == "drawn":
        pictures = DrawnPictures("test", num_pictures=NUM_GENERAL)
        return FewObjects(pictures, GENERAL_OBJECTS, settings.seed), elsewhere
    if not Path(name).exists():
        raise UserError(f"general is {name}: there is no such folder (or give: drawn)")
    reading = sam.reading.as_dict()
    # what a slice or a tile is, is the business of those data
    seen = {key: reading[key] for key in ("stretch", "bands", "value_range")}
    data = open_data(
        None, data={"path": str(name), **seen, "val_fraction": 0.0, "test_fraction": 0.0}
    )
    sizes = data.split_sizes()
    return data.source("test" if sizes.get("test") else "train"), elsewhere


@contextmanager
def kept_rows(results: Path, rank: int = 0) -> Iterator[Callable[..., RowStore]]:
    """Make stores, of contestants, that keep what is done beside the results until the block ends.

    Where the block is left early, what is done stays for the same task to go on with.

    Args:
        results: file or folder that the block writes.
        rank: of this process; the first one tidies up.
    """
    from samtune.evaluation.row_store import RowStore
    from samtune.progress import Progress

    folder = partial_folder(results)
    with locked(results) if rank == 0 else nullcontext():
        try:
            yield partial(RowStore, folder)
        except KeyboardInterrupt:
            if rank == 0 and folder.exists():
                log.warning("the same command goes on where this one stops")
            raise
        if rank == 0:
            Progress(folder).remove()
