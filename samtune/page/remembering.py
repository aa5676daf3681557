"""What a session keeps besides annotations: prompts that were begun, and classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.masks import rle_to_mask
from samtune.page.state import Accepted, Click, State


class _Prompt(msgspec.Struct, omit_defaults=True):
    clicks: list[tuple[float, float, bool]] = []
    box: tuple[float, float, float, float] | None = None
    hand: dict[str, Any] | None = None
    replaces: int = 0


class Remembered(msgspec.Struct):
    """The content of session.json."""

    classes: list[str] = []
    prompts: dict[str, _Prompt] = {}

    def state(self, image_id: str, objects: tuple[Accepted, ...]) -> State:
        """Of an image, whose objects are known."""
        kept = self.prompts.get(image_id, _Prompt())
        hand = None if kept.hand is None else PlacedMask.of(rle_to_mask(kept.hand))
        clicks = tuple(Click(*each) for each in kept.clicks)
        is_there = kept.replaces in {each.number for each in objects}
        return State(clicks, kept.box, hand, kept.replaces if is_there else 0, objects)


def remembered(content: Mapping[str, Any], place: Path) -> Remembered:
    """What was kept in a file.

    Raises:
        UserError: it is damaged.
    """
    try:
        return msgspec.convert(content, Remembered)
    except msgspec.ValidationError as error:
        raise UserError(
            f"{place} is damaged ({error}): delete it to begin without it; accepted objects lie in "
            "train.json and val.json"
        ) from error


def to_remember(state: State, hw: tuple[int, int] | None) -> dict[str, Any]:
    """A state without its objects; `hw` of the image is needed for a mask."""
    hand = state.hand.to_rle(hw) if state.hand is not None and hw is not None else None
    clicks = [(click.x, click.y, click.is_inside) for click in state.clicks]
    plain = msgspec.to_builtins(_Prompt(clicks, state.box, hand, state.replaces))
    return dict(plain)
