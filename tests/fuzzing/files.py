"""Small valid files of every other kind: pictures, prompts, detections, configs, models."""

import json

import cv2
import numpy as np
import torch
from PIL import Image

from tests.fuzzing.formats import LABELS, PIXELS, geo, volumes, write_slice

BOX = [3, 2, 10, 7]


def pictures(folder):
    """Every kind of picture, by what decodes it."""
    import tifffile

    folder.mkdir(exist_ok=True)
    picture = Image.fromarray(PIXELS)
    for ending in ("png", "jpg", "bmp", "webp"):
        picture.save(folder / f"a.{ending}")
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "turned.jpg", exif=turned)
    picture.quantize(8).save(folder / "palette.png")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.convert("1").save(folder / "bit.png")
    picture.convert("RGBA").save(folder / "alpha.webp", lossless=True)
    cv2.imwrite(str(folder / "deep.png"), PIXELS.astype(np.uint16) * 200)
    Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 200).save(folder / "grey.png")
    Image.fromarray(LABELS).save(folder / "labels.png")
    for name in ("lzw", "zlib", "jpeg", "zstd", "packbits"):
        tifffile.imwrite(folder / f"{name}.tif", PIXELS, compression=name)
    tifffile.imwrite(folder / "tiled.tif", np.tile(PIXELS, (2, 2, 1)), tile=(16, 16))
    tifffile.imwrite(folder / "float.tif", PIXELS[..., 0].astype(np.float32), predictor=3,
                     compression="zlib")  # fmt: skip
    tifffile.imwrite(folder / "planes.tif", np.moveaxis(PIXELS, 2, 0).astype(np.uint16),
                     photometric="rgb", planarconfig="separate", bigtiff=True)  # fmt: skip
    tifffile.imwrite(folder / "pages.tif", np.moveaxis(PIXELS, 2, 0), photometric="minisblack")
    tifffile.imwrite(folder / "white.tif", LABELS, photometric="miniswhite")
    picture.convert("CMYK").save(folder / "cmyk.tif")
    write_slice(folder / "x.dcm", PIXELS[..., 0])


def prompts(folder):
    """Files of prompts and of detections, with their pictures."""
    Image.fromarray(PIXELS).save(folder / "a.png")
    objects = [{"image": "a.png", "box": BOX, "name": "x", "id": 1},
               {"image": "a.png", "points": [[5, 4], [1, 1]], "labels": [1, 0]}]  # fmt: skip
    (folder / "prompts.json").write_text(json.dumps(objects))
    slices = [{"slice": 1, "box": BOX, "name": "x", "id": 1}, {"slice": 0, "points": [[5, 4]]}]
    (folder / "seeds.json").write_text(json.dumps(slices))
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [3, 2, 8, 6], "score": 0.5}
    keypoints = {"id": 2, "image_id": 1, "category_id": 1, "keypoints": [5, 4, 2, 0, 0, 0]}
    images = [{"id": 1, "file_name": "a.png", "height": 12, "width": 16}]
    content = {"images": images, "annotations": [annotation, keypoints],
               "categories": [{"id": 1, "name": "x"}]}  # fmt: skip
    (folder / "coco.json").write_text(json.dumps(content | {"annotations": [annotation]}))
    (folder / "found.json").write_text(json.dumps(content))
    (folder / "table.csv").write_text("file,x0,y0,x1,y1,label,score\na.png,3,2,11,8,x,0.5\n")
    (folder / "points.tsv").write_text("file\tx\ty\na.png\t5\t4\n")
    (folder / "yolo").mkdir()
    (folder / "yolo" / "a.txt").write_text("0 0.4 0.4 0.5 0.5 0.9\n")
    (folder / "yolo" / "classes.txt").write_text("x\n")
    (folder / "data.yaml").write_text("names: {0: x}\n")


def configs(folder):
    """A config of `fit` with its data, and a recipe of augmentation."""
    for kind, values in (("images", PIXELS), ("labels", LABELS)):
        (folder / kind).mkdir()
        Image.fromarray(values).save(folder / kind / "a.png")
    (folder / "fit.yaml").write_text(
        "base: nano\nimage_size: 64\nrun: run\nseed: 1\nbudget: 10s\n"
        "data:\n  path: .\n  format: mask_folder\n  val_fraction: 0.2\n  bands: [0, 1, 2]\n"
        "  class_names: {1: x}\n  value_range: [0, 255]\n  window: 40,400\n  recipe: mixed\n"
        "  augment: augment.json\n  num_workers: 0\n  tile: 0\n  min_area: 4\n"
        "model:\n  mode: lora\n  lora: {rank: 4, alpha: 8, encoder: all}\n  optim: {lr: 1e-4}\n"
        "trainer: {max_epochs: 1, precision: 32-true, accelerator: cpu}\nlogging: {wandb: ''}\n"
    )
    import albumentations

    flip = albumentations.Compose([albumentations.RandomBrightnessContrast(p=1.0)])
    (folder / "augment.json").write_text(json.dumps(albumentations.to_dict(flip)))


def models(folder):
    """A network of transformers with an adapter, a checkpoint of its authors' kind, and what a
    run keeps beside them."""
    from samtune.models.calibration import Calibration
    from samtune.models.lora import prepare_for_training
    from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds
    from samtune.models.saving import save_official, save_transformers, write_adapter
    from samtune.models.settings import LoraSettings
    from tests.models.families.tiny import build_member

    torch.manual_seed(0)
    sam = build_member("sam")
    save_official(sam, folder / "authors.pth")
    save_transformers(sam, folder / "base")
    sam.base = type(sam.base)(str(folder / "base"), "", sam.image_size, "", False)
    prepare_for_training(sam, "lora", LoraSettings(rank=1, encoder="last", last_blocks=1), "frozen")
    (folder / "adapter").mkdir()
    write_adapter(sam, folder / "adapter")
    thresholds = FittedThresholds(MaskThresholds(), 8)
    thresholds.save(folder / "adapter")
    Calibration((-1.0, 2.0), (0.0, 1.0), "isotonic", 9).save(folder / "adapter")


def run(folder):
    """What later tasks read of a run that was trained and evaluated."""
    from samtune.tasks.evaluate import evaluate

    configs(folder)
    (folder / "fit.yaml").rename(folder / "config.yaml")
    models(folder)
    (folder / "metrics.csv").write_text("step,train/loss,val/miou\n1,0.5,\n2,0.4,0.7\n")
    evaluate(folder / "adapter", data=str(folder), split="train", general="none", gallery=0,
             protocols=["box"], out=folder / "evaluation")  # fmt: skip


def of_everything(folder):
    """A bit of everything that commands take."""
    configs(folder)
    models(folder)
    prompts(folder)
    scenes(folder)
    volumes(folder / "volumes")
    (folder / "volumes" / "images" / "p.nii.gz").rename(folder / "volume.nii.gz")


def scenes(folder):
    """A scene with boxes and points on it."""
    geo(folder)
    shape = json.loads((folder / "a.geojson").read_text())
    (x, y), *_ = shape["features"][0]["geometry"]["coordinates"][0]
    point = {"type": "Point", "coordinates": [x + 4, y - 4]}
    shape["features"].append({"type": "Feature", "properties": {"class": "y"}, "geometry": point})
    (folder / "a.geojson").write_text(json.dumps(shape))
