"""Small data sets out of one picture or one volume, cut so that gaps lie between the splits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from samtune.errors import UserError, require
from samtune.images.intensity import to_uint8

# Bands of the picture from top to bottom, in pixels. 32 pixels, more than a nucleus is wide, lie
# between them; a nucleus that reaches into a gap ends there.
BANDS = {"train": (0, 272), "val": (304, 384), "test": (416, 512)}
TILE, STEP = 128, 96
# Slabs of the brain from bottom to top, in slices of 1 mm, with 8 mm between them.
SLABS = {"train": (20, 100), "val": (108, 124), "test": (132, 160)}


def nuclei(folders: list[Path], out: Path) -> dict[str, int]:
    """stardist's picture (512 x 512, uint16) as tiles, SPLIT/images and SPLIT/labels."""
    image = tifffile.imread(_find("stardist/data/images/img2d.tif", folders))
    labels = tifffile.imread(_find("stardist/data/images/mask2d.tif", folders))
    grey = to_uint8(np.repeat(image[..., None], 3, axis=2), "percentile")[..., 0]
    return cut(grey, labels, out)


def cut(image: NDArray[np.uint8], labels: NDArray[np.uint16], out: Path) -> dict[str, int]:
    """Write tiles of a picture and its label map; returns the number of tiles of each split."""
    counts = {}
    for split, (top, bottom) in BANDS.items():
        for kind in ("images", "labels"):
            (out / split / kind).mkdir(parents=True)
        places = [(y, x) for y in _starts(top, bottom) for x in _starts(0, image.shape[1])]
        for y, x in places:
            window = (slice(y, min(y + TILE, bottom)), slice(x, x + TILE))
            name = f"nuclei_{y:03d}_{x:03d}.png"
            Image.fromarray(image[window]).save(out / split / "images" / name)
            Image.fromarray(labels[window]).save(out / split / "labels" / name)
        counts[split] = len(places)
    return counts


def _starts(first: int, end: int) -> list[int]:
    last = max(first, end - TILE)
    return sorted({*range(first, last, STEP), last})


def brain(folders: list[Path], out: Path) -> dict[str, int]:
    """nilearn's MNI template as three slabs; more likely than not (above 127 of 255) is a tissue.

    Grey matter is class 1, white matter class 2.
    """
    nibabel = require("nibabel", "medical")
    place = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
    image, grey, white = (
        nibabel.load(_find(place.format(kind), folders)) for kind in ("t1", "gm", "wm")
    )
    classes = np.zeros(image.shape, np.uint8)
    classes[np.asarray(grey.dataobj) > 127] = 1
    classes[np.asarray(white.dataobj) > 127] = 2
    labels = nibabel.Nifti1Image(classes, image.affine)
    rows = ["id,split,group"]
    for split, (bottom, top) in SLABS.items():
        for kind, volume in (("images", image), ("labels", labels)):
            (out / kind).mkdir(exist_ok=True)
            nibabel.save(volume.slicer[..., bottom:top], out / kind / f"mni152_{split}.nii.gz")
        rows.append(f"mni152_{split},{split},mni152_{split}")
    (out / "manifest.csv").write_text("\n".join(rows) + "\n")
    return {split: top - bottom for split, (bottom, top) in SLABS.items()}


def _find(name: str, folders: list[Path]) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"there is no {name} in what was fetched or named with --archives")


MAKERS: dict[str, Callable[[list[Path], Path], dict[str, int]]] = {"nuclei": nuclei, "brain": brain}
