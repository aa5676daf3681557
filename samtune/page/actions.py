"""What a person can do to an image, as the front end sends it; checked, then handed to the session."""

from typing import Annotated

import msgspec

from samtune.page.mask_message import MaskMessage
from samtune.page.session import Session
from samtune.page.state import By, Status

_Text = Annotated[str, msgspec.Meta(max_length=1000)]
_Strength = Annotated[float, msgspec.Meta(ge=0, le=2)]


class _Action(msgspec.Struct, tag_field="do", tag=str.lower, forbid_unknown_fields=True):
    pass


class Click(_Action):
    x: float
    y: float
    inside: bool = True


class Box(_Action):
    corners: tuple[float, float, float, float]


class Mend(_Action):
    mask: MaskMessage


class Clear(_Action):
    pass


class Undo(_Action):
    pass


class Redo(_Action):
    pass


class Accept(_Action):
    number: int
    name: _Text = ""
    by: By | None = None
    candidate: int | None = None
    strength: _Strength = 1.0


class Edit(_Action):
    object: int


class Delete(_Action):
    object: int


class DeleteEverywhere(_Action):
    object: int


class Name(_Action):
    object: int
    name: _Text


class Find(_Action):
    name: _Text = ""


class Carry(_Action):
    name: _Text = ""


class Take(_Action):
    numbers: list[int]


class Drop(_Action):
    numbers: list[int]


class TakeEverywhere(_Action):
    number: int


class DropEverywhere(_Action):
    number: int


class Mark(_Action):
    status: Status


class Hold(_Action):
    out: bool


Action = (
    Click | Box | Mend | Clear | Undo | Redo | Accept | Edit | Delete | DeleteEverywhere
    | Name     | Find | Carry | Take | Drop | TakeEverywhere | DropEverywhere | Mark | Hold
)  # fmt: skip


def act(session: Session, index: int, action: Action) -> None:
    """Do it.

    Raises:
        UserError: it cannot be done.
    """
    match action:
        case Click(x, y, inside):
            session.click(index, x, y, inside)
        case Box(corners):
            session.drag_box(index, corners)
        case Mend(mask):
            session.mend(index, mask.placed(session.hw(index)))
        case Clear():
            session.clear(index)
        case Undo():
            session.undo(index)
        case Redo():
            session.redo(index)
        case Accept(number, name, by, candidate, strength):
            session.accept(index, name, by, candidate, strength, number)
        case Edit(number):
            session.edit(index, number)
        case Delete(number):
            session.delete(index, number)
        case DeleteEverywhere(number):
            session.delete_everywhere(number)
        case Name(number, name):
            session.name(index, number, name)
        case Find(name):
            session.find_everything(index, name)
        case Carry(name):
            session.carry(index, name)
        case Take(numbers):
            session.take(index, numbers)
        case Drop(numbers):
            session.drop(index, numbers)
        case TakeEverywhere(number):
            session.take_everywhere(number)
        case DropEverywhere(number):
            session.drop_everywhere(number)
        case Mark(status):
            session.set_status(index, status)
        case Hold(is_held_out):
            session.hold_out(index, is_held_out)
