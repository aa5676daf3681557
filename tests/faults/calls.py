"""A small call of every command, with what it reads; all is written below `out`, or into the run."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
from PIL import Image

from tests.conftest import draw_discs, write_discs

OUT = "out"
_FIT = [
    "--base", "nano", "--image_size", "64", "--data.num_workers", "0", "--model.loss.general", "0",
    "--trainer.accelerator", "cpu", "--data.max_objects", "2", "--data.windows", "0",
    "--model.num_corrections", "0",
]  # fmt: skip
_BOX = ["--protocols", "box"]
# The first words are the command's name and what it is about.
CALLS: dict[str, list[str]] = {
    "init": ["data", "--base", "nano", "--out", "out/init.yaml"],
    "check": ["data", "--max_images", "1", "--image_size", "64", "--page", "out/check.html"],
    "convert": ["data", "--to", "coco", "--out", "out/convert"],
    "fetch": ["kvasir_seg", "--archives", "kvasir-seg.zip", "--out", "out/fetch", "--yes"],
    "fit": ["data", *_FIT, "--choose", "false", "--trainer.max_epochs", "2", "--run", "out/fit"],
    "resume": ["run", "--trainer.max_epochs", "3"],
    "evaluate": ["run", *_BOX, "--general", "none", "--gallery", "1", "--out", "out/evaluate"],
    "compare": ["run", "twin", *_BOX, "--out", "out/compare"],
    "calibrate": ["run"],
    "thresholds": ["run", "--max_images", "1"],
    "scale": ["run", *_BOX, "--scales", "0.5", "--general", "data", "--max_images", "1"],
    "learning-curve": [
        "data", *_FIT, "--config", "curve.yaml", "--trainer.max_epochs", "1", "--sizes", "1", "2",
        "--seeds", "1", *_BOX, "--out", "out/curve",
    ],
    "open": ["run", "pictures", "--no_browser", "--out", "out/open"],
    "serve": ["run", "--images", "pictures"],
    "loop": ["annotated", "--model", "nano", "--budget", "1s"],
    "predict": ["run", "pictures", "--boxes", "8,8,40,40", "--out", "out/predict"],
    "segment": ["run", "pictures", "--out", "out/segment"],
    "segment-volume": [
        "run", "volume.nii.gz", "--slice", "3", "--box", "10,10,40,40", "--out", "out/volume.nii.gz",
    ],
    "prelabel": ["run", "pictures", "--boxes", "boxes.csv", "--out", "out/prelabel.json"],
    "cache": [
        "data", "--base", "nano", "--image_size", "64", "--data.num_workers", "0",
        "--data.windows", "0", "--model.lora.encoder", "last", "--data.cache.mode", "fp32",
        "--data.cache.folder", "out/cache",
    ],
    "bench": [
        "nano", "--images", "pictures", "--max_images", "1", "--num_prompts", "1",
        "--image_size", "64", "--out", "out/bench.json",
    ],
    "models": [],
    "export": ["run", "--to", "adapter", "--max_images", "1", "--out", "out/export"],
}  # fmt: skip
# Other calls of some of them.
MORE_CALLS: dict[str, list[str]] = {
    "prelabel without boxes": [
        "prelabel", "run", "pictures", "--search.points_per_side", "2",
        "--search.pred_iou_thresh", "0", "--search.stability_score_thresh", "0",
        "--out", "out/found.json",
    ],
    "export onnx": ["export", "run", "--to", "onnx", "--max_images", "1", "--out", "out/onnx"],
    "segment a scene": ["segment", "run", "scene.tif", "--out", "out/scene.gpkg"],
    "search a volume": ["segment-volume", "run", "volume.nii.gz", "--out", "out/found.nii.gz"],
}  # fmt: skip
# Into these folders of what they read, commands write as well.
WRITTEN = (OUT, "run", "annotated")


def write_inputs(place: Path) -> None:
    """Everything that the calls read."""
    import samtune
    from samtune.cli import main
    from samtune.inference.prelabel.placed_mask import PlacedMask
    from tests.data.fetch.published import kvasir_seg

    for offset, (split, count) in enumerate((("train", 4), ("val", 2), ("test", 2))):
        write_discs(place / "data", split, count, seed=100 * offset)
    (place / "pictures").mkdir(parents=True)
    truths = []
    for number in range(6):
        image, labels = draw_discs((64, 64), 2, number)
        Image.fromarray(image).save(place / "pictures" / f"p{number}.png")
        truths.append(labels)
    lines = [f"p{number}.png,8,8,40,40,disc,0.9" for number in range(6)]
    (place / "curve.yaml").write_text("choose: false")  # which takes longer than such a training
    (place / "boxes.csv").write_text("\n".join(["file,x0,y0,x1,y1,label,score", *lines]))
    values = np.random.default_rng(0).integers(0, 500, (64, 64, 6)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.diag([1.0, 1.0, 3.0, 1.0])), place / "volume.nii.gz")
    kvasir_seg(place)
    _write_scene(place / "scene.tif")
    words = ["fit", "--data.path", str(place / "data"), *_FIT, "--choose", "false"]
    words += ["--trainer.max_epochs", "2"]
    assert main([*words, "--run", str(place / "run")]) == 0
    shutil.copytree(place / "run", place / "twin")
    opened = samtune.open("nano", place / "pictures", out=place / "annotated")
    for number, labels in enumerate(truths):
        for value in np.unique(labels)[1:]:
            opened.session.mend(number, PlacedMask.of(labels == value))
            opened.session.accept(number)


def _write_scene(path: Path) -> None:
    import rasterio

    image, _ = draw_discs((128, 128), 6, 7)
    place = rasterio.Affine(1, 0, 5e5, 0, -1, 5e6)
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=128, width=128, dtype="uint8", crs="EPSG:32633",
        transform=place,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(image, 2, 0))


def words_of(call: str) -> list[str]:
    """The words of a call.

    Raises:
        KeyError: nobody has said how this command is called.
    """
    return MORE_CALLS[call] if call in MORE_CALLS else [call, *CALLS[call]]


def written(place: Path) -> dict[str, bytes]:
    """All files that calls write, by their place."""
    files = (file for name in WRITTEN for file in sorted((place / name).rglob("*")))
    return {
        file.relative_to(place).as_posix(): file.read_bytes() for file in files if file.is_file()
    }
