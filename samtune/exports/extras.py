"""What a tuned model has learned of itself and takes along, and what it leaves behind."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.calibration import CALIBRATION_FILE, Calibration
from samtune.models.mask_thresholds import THRESHOLDS_FILE, FittedThresholds, MaskThresholds
from samtune.wording import counted

UNSHARPENED = (
    "The model that this comes from sharpens its masks with a small network beside SAM, which no "
    "export holds: masks are here as SAM itself draws them, with softer edges."
)


def write_extras(sam: Sam, folder: Path) -> dict[str, str]:
    """Write what there is; returns the names of the files and what they are.

    Where the data lay that thresholds were chosen on is left out: that is a path of one machine.
    """
    files = {}
    if sam.calibration is not None:
        files[sam.calibration.save(folder).name] = "from predicted to measured IoU"
    if sam.thresholds is not None:
        told = {k: v for k, v in sam.thresholds.provenance.items() if k != "data"}
        thresholds = replace(sam.thresholds, provenance=told)
        files[thresholds.save(folder).name] = "for automatic masks"
    return files


def tell_extras(sam: Sam, scale: float | None) -> Iterator[str]:
    """Sections of the model card on what there is.

    Args:
        sam: the model.
        scale: that its tuning was set to, if it was.

    Raises:
        UserError: figures of the thresholds are damaged.
    """
    doubt = ""
    if scale not in (None, 1):
        doubt = "\n\nThis was found before the scale was set: find it anew for this model."
    if sam.thresholds is not None:
        yield f"## Automatic masks\n\n{_tell_thresholds(sam.thresholds)}{doubt}"
    if sam.sharpeners:
        yield f"## Sharpened masks\n\n{UNSHARPENED} Its figures are of sharpened masks."
    if sam.calibration is not None:
        yield f"## Scores\n\n{_tell_calibration(sam.calibration)}{doubt}"


def _tell_calibration(calibration: Calibration) -> str:
    return (
        f"The score of a mask is the IoU that the model predicts. `{CALIBRATION_FILE}` maps it to what "
        f"was measured on {counted(calibration.num_masks, 'mask')} of the {calibration.split} split "
        f"({calibration.method}; linear between `raw` and `calibrated`). samtune does so by itself, "
        "other programs give the raw score."
    )


def _tell_thresholds(fitted: FittedThresholds) -> str:
    usual, about = asdict(MaskThresholds()), fitted.provenance
    values = "\n".join(
        f"- `{name}` {value:g} (segment_anything's: {usual[name]:g})"
        for name, value in asdict(fitted.thresholds).items()
    )
    where = f" in each tile of {about['tile']} pixels" if about.get("tile") else ""
    side = fitted.points_per_side
    parts = [
        f"To find everything in an image, with {side} x {side} points{where} "
        f"(`{THRESHOLDS_FILE}`; `samtune segment` takes points and thresholds by itself, "
        f"`AutomaticMaskGenerator` the thresholds: give it points_per_side={side}):\n\n{values}"
    ]
    if about.get("results"):
        chosen = f"Chosen on the {about.get('split')} split by mean segmentation accuracy (mSA):"
        parts += [chosen, _tell_gain(about["results"])]
    return "\n\n".join(parts)


def _tell_gain(results: Mapping[str, Any]) -> str:
    try:
        return "\n".join(
            f"- {split}: {result['before']['scores']['msa']:.3f} with segment_anything's, "
            f"{result['after']['scores']['msa']:.3f} with these, "
            f"{counted(result['num_images'], 'image or tile', 'images or tiles')}"
            for split, result in results.items()
        )
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{THRESHOLDS_FILE} is damaged ({error!r}): run samtune thresholds again"
        ) from error
