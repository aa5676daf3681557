"""What a session keeps besides annotations: prompts that were begun, and classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from samtune.errors import UserError
from samtune.page.mask_message import MaskMessage
from samtune.page.state import Accepted, Click, State

_LARGEST = (2**31, 2**31)


class _Prompt(msgspec.Struct, omit_defaults=True):
    clicks: list[tuple[float, float, bool]] = []
    box: tuple[float, float, float, float] | None = None
    hand: MaskMessage | None = None
    replaces: int = 0
    suggested: list[Accepted] | None = None


class Remembered(msgspec.Struct):
    """The content of session.json."""

    classes: list[str] = []
    prompts: dict[str, _Prompt] = {}

    def state(self, image_id: str, objects: tuple[Accepted, ...]) -> State:
        """Of an image, whose objects are known.

        Raises:
            UserError: a mask is damaged.
        """
        kept = self.prompts.get(image_id, _Prompt())
        hand = None if kept.hand is None else kept.hand.placed(_LARGEST)
        clicks = tuple(Click(*each) for each in kept.clicks)
        is_there = kept.replaces in {each.number for each in objects}
        replaces = kept.replaces if is_there else 0
        return State(clicks, kept.box, hand, replaces, objects, tuple(kept.suggested or ()))

    def has_suggestions_of(self, image_id: str) -> bool:
        """Whether some suggestions of an image were accepted or rejected, or all were found anew."""
        kept = self.prompts.get(image_id)
        return kept is not None and kept.suggested is not None


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


def to_remember(state: State, with_suggestions: bool) -> dict[str, Any]:
    """A state without its objects."""
    hand = None if state.hand is None else MaskMessage.of(state.hand)
    clicks = [(click.x, click.y, click.is_inside) for click in state.clicks]
    suggested = list(state.suggested) if with_suggestions else None
    kept = _Prompt(clicks, state.box, hand, state.replaces, suggested)
    return dict(msgspec.to_builtins(kept))
