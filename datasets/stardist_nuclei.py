"""Make a small data set of real fluorescence nuclei: one picture, cut into train, val and test.

    python datasets/stardist_nuclei.py OUT

The picture (512 x 512, 125 nuclei; from the 2018 Data Science Bowl, BBBC038, CC0) travels in the
wheel of stardist (BSD-3-Clause). The wheel is fetched with pip, checked against its sha256, and
unpacked, not installed.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from samtune.data.image_io import to_uint8
from samtune.errors import UserError
from samtune.files import replacing_folder

WHEEL = "stardist==0.9.2"
WHEEL_SHA256 = "2316c0feb7bd5621e7a277cb3868df475c338943c591925c420ee3622c42f023"
IMAGE = "stardist/data/images/img2d.tif"
IMAGE_SHA256 = "f9ccc1571b92c861ff87e28463068b43f61bd47357ed0503f711e5cd1eb97750"
MASK = "stardist/data/images/mask2d.tif"
MASK_SHA256 = "59ad5e820b7982ca9d13e946fa6e7f64e2714899e00a2ae6c69aa79aad53d46f"

# Bands of the picture from top to bottom, in pixels. 32 pixels, more than a nucleus is wide, lie
# between them, and nuclei that reach into a gap are dropped from neither side: they end there.
BANDS = {"train": (0, 272), "val": (304, 384), "test": (416, 512)}
TILE, STEP = 128, 96


def fetch_wheel(folder: Path) -> Path:
    """Download the wheel with pip and check it.

    Raises:
        UserError: pip cannot get it, or it is not the file that is expected.
    """
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp",
        "--abi", "cp311", "--platform", "manylinux_2_28_x86_64", "--dest", str(folder), WHEEL,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise UserError(f"pip could not download {WHEEL}: {reason}")
    _check(wheels[0].read_bytes(), WHEEL_SHA256, WHEEL)
    return wheels[0]


def _check(content: bytes, sha256: str, name: str) -> bytes:
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(f"{name} has sha256 {found} instead of {sha256}: it was not used")
    return content


def read_pair(wheel: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """The picture stretched to (512, 512) uint8, and its label map."""
    with zipfile.ZipFile(wheel) as archive:
        image = tifffile.imread(io.BytesIO(_check(archive.read(IMAGE), IMAGE_SHA256, IMAGE)))
        labels = tifffile.imread(io.BytesIO(_check(archive.read(MASK), MASK_SHA256, MASK)))
    grey = to_uint8(np.repeat(image[..., None], 3, axis=2), "percentile")[..., 0]
    return grey, labels


def cut(image: NDArray[np.uint8], labels: NDArray[np.uint16], folder: Path) -> dict[str, int]:
    """Write tiles as SPLIT/images and SPLIT/labels; returns the number of tiles of each split."""
    counts = {}
    for split, (top, bottom) in BANDS.items():
        for kind in ("images", "labels"):
            (folder / split / kind).mkdir(parents=True)
        places = [(y, x) for y in _starts(top, bottom) for x in _starts(0, image.shape[1])]
        for y, x in places:
            window = (slice(y, min(y + TILE, bottom)), slice(x, x + TILE))
            name = f"nuclei_{y:03d}_{x:03d}.png"
            Image.fromarray(image[window]).save(folder / split / "images" / name)
            Image.fromarray(labels[window]).save(folder / split / "labels" / name)
        counts[split] = len(places)
    return counts


def _starts(first: int, end: int) -> list[int]:
    last = max(first, end - TILE)
    return sorted({*range(first, last, STEP), last})


def make(out: Path) -> dict[str, int]:
    """Make the data set at `out`, which must not exist; returns the number of tiles by split."""
    if out.exists():
        raise UserError(f"{out} exists already")
    with tempfile.TemporaryDirectory() as temporary, replacing_folder(out) as folder:
        image, labels = read_pair(fetch_wheel(Path(temporary)))
        return cut(image, labels, folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path)
    try:
        counts = make(parser.parse_args().out)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write(f"tiles: {counts}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
