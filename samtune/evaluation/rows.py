"""What an evaluation measures, object by object."""

from dataclasses import dataclass, field

from samtune.types import ObjectKey


@dataclass(frozen=True)
class Score:
    """What one contestant reached on one object.

    Attributes:
        iou, dice: overlap with the truth.
        predicted_iou: what the model itself expected.
        oracle_iou: IoU of the best of its masks, where it gave three: what a user who picks by eye
            would get. Equal to `iou` where it gave one.
        predicted_area, overlap: pixels of the mask, and of its intersection with the truth.
        measures: by name, what `metrics/table.py` has besides.
        clicks: IoU after the first prompt and after each correction click.
        rle: the mask, as COCO's compressed counts.
    """

    iou: float
    dice: float
    predicted_iou: float
    oracle_iou: float
    predicted_area: int
    overlap: int
    measures: dict[str, float]
    clicks: tuple[float, ...] = ()
    rle: bytes = b""


@dataclass(frozen=True)
class Row:
    """One object under one protocol.

    Attributes:
        protocol: the kind of prompt.
        key: the object.
        area: its pixels.
        scores: by contestant.
        cluster: the image, patient or scene that it belongs to: what intervals are taken over.
        repeat: number of the draw, where random prompts are drawn several times.
        columns: the image's row in the manifest.
        contrast: of the object to what is around it, see `measure.py`.
        hw: size of the image.
        rle: the truth, as COCO's compressed counts.
        trivial: IoU of answers without any network to the same first prompt, see `trivial.py`; empty
            where clicks follow it.
    """

    protocol: str
    key: ObjectKey
    area: int
    scores: dict[str, Score]
    cluster: str
    repeat: int = 0
    columns: tuple[tuple[str, str], ...] = ()
    contrast: float = 0.0
    hw: tuple[int, int] = (0, 0)
    rle: bytes = b""
    trivial: dict[str, float] = field(default_factory=dict)
