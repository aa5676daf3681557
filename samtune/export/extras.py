"""What a tuned model has learned of itself, and takes along: calibration and thresholds."""

from dataclasses import replace
from pathlib import Path

from samtune.models.backend import Sam


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
