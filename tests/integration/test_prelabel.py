"""`samtune prelabel`: from a detector's boxes to files for a labelling tool, broken off or not."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from samtune.cli import main
from samtune.data.objects import find_objects, object_mask
from samtune.data.readers.coco import Coco
from samtune.data.readers.labelme import Labelme
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.readers.yolo import Yolo
from samtune.inference.prelabel.store import PrelabelStore
from samtune.masks import rle_to_mask
from samtune.models.calibration import Calibration, Threshold
from tests.conftest import set_reading, write_discs

OPEN_MODEL = "samtune.tasks.prelabel.open_model"


@pytest.fixture
def place(tmp_path):
    """Four images, of which the last has no detections, and a row that cannot be used."""
    write_discs(tmp_path, ".", 4)
    lines = ["file,x0,y0,x1,y1,label,score"]
    for number in range(3):
        labels = np.asarray(Image.open(tmp_path / "labels" / f"{number}.png"))
        for value in np.unique(labels)[1:]:
            rows, columns = np.nonzero(labels == value)
            box = f"{columns.min()},{rows.min()},{columns.max() + 1},{rows.max() + 1}"
            lines.append(f"{number}.png,{box},disc {value},0.5")
    lines.append("0.png,500,500,600,600,disc 1,0.5")
    (tmp_path / "boxes.csv").write_text("\n".join(lines))
    return tmp_path


def run(place, *flags, out="coco.json", model="nano"):
    arguments = ["prelabel", str(model), str(place / "images"), "--boxes", str(place / "boxes.csv")]
    return main([*arguments, "-o", str(place / out), *map(str, flags)])


def read(place, name="coco.json"):
    return json.loads((place / name).read_text())


def read_review(place):
    return list(csv.DictReader((place / "review.csv").open()))


def outputs(place):
    names = ("coco.json", "review.csv", "review.html", "rejected.json")
    return {name: (place / name).read_bytes() for name in names}


def test_all_files_and_nothing_else(place, capsys):
    before = {path.name for path in place.iterdir()}
    assert run(place) == 0
    made = {path.name for path in place.iterdir()} - before
    assert made == {"coco.json", "review.csv", "review.html", "rejected.json"}
    content, rows = read(place), read_review(place)
    assert [image["file_name"] for image in content["images"]] == [f"{n}.png" for n in range(4)]
    assert [c["name"] for c in content["categories"]] == ["disc 1", "disc 2", "disc 3"]
    with_mask = [int(row["object"]) for row in rows if int(row["area"])]
    assert sorted(with_mask) == [each["id"] for each in content["annotations"]]
    assert len(rows) == 9
    assert [int(row["rank"]) for row in rows] == list(range(1, 10))
    order = [(int(row["area"]) > 0, float(row["trust"])) for row in rows]
    assert order == sorted(order)
    assert content["info"]["score"] == "predicted IoU, not calibrated"
    (rejected,) = read(place, "rejected.json")["detections"]
    assert (rejected["where"], rejected["reason"]) == ("row 10", "outside the image")
    told = capsys.readouterr().out
    assert "1 outside the image" in told
    assert "not calibrated" in told


def test_by_default_segmentations_are_lists_of_polygons_as_labelling_tools_want_them(place):
    assert run(place) == 0
    for each in read(place)["annotations"]:
        assert isinstance(each["segmentation"], list)
        for polygon in each["segmentation"]:
            assert len(polygon) >= 6
            assert len(polygon) % 2 == 0
            assert all(isinstance(value, int) for value in polygon)
    assert run(place, "--segmentation", "rle", out="rle/coco.json") == 0
    polygons, runs = Coco(place / "coco.json"), Coco(place / "rle" / "coco.json")
    for index in range(4):
        np.testing.assert_array_equal(polygons.read(index).labels, runs.read(index).labels)


def test_the_coco_file_opens_again_with_equal_masks(place):
    assert run(place, "--segmentation", "rle") == 0
    content, source = read(place), Coco(place / "coco.json")
    for index, image in enumerate(content["images"]):
        sample = source.read(index)
        own = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        found = find_objects(sample.labels)
        assert [each.object_id for each in found] == [each["id"] for each in own]
        for each, annotation in zip(found, own, strict=True):
            mask = rle_to_mask(annotation["segmentation"])
            np.testing.assert_array_equal(object_mask(sample.labels, each), mask)


def test_other_formats_hold_the_same_masks(place):
    flags = ("--to", "labels", "yolo", "labelme", "--without_overlap", "--segmentation", "polygons")
    assert run(place, *flags) == 0
    own = Coco(place / "coco.json")
    for name, reader in (("labels", MaskFolder), ("yolo", Yolo), ("labelme", Labelme)):
        source = reader(place / f"coco_{name}")
        assert [record.image_id for record in source.records] == ["0", "1", "2", "3"]
        for index in range(4):
            np.testing.assert_array_equal(source.read(index).labels > 0, own.read(index).labels > 0)


def test_a_broken_run_goes_on_to_the_same_files(place, monkeypatch, capsys):
    assert run(place) == 0
    expected = outputs(place)
    made = []
    make = PrelabelStore.make

    def breaks(self, *arguments):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(arguments)
        make(self, *arguments)

    for name in expected:
        (place / name).unlink()
    monkeypatch.setattr(PrelabelStore, "make", breaks)
    assert run(place) == 2
    assert "2 of 4 images are done" in capsys.readouterr().err
    assert not (place / "coco.json").exists()
    (place / "coco.json.partial" / "notes.txt").write_text("of the user")
    half = next((place / "coco.json.partial").glob("*.json"))
    half.write_bytes(half.read_bytes()[:50])  # as a power cut may leave it

    def counts(self, *arguments):
        made.append(arguments)
        make(self, *arguments)

    monkeypatch.setattr(PrelabelStore, "make", counts)
    assert run(place) == 0
    assert len(made) == 2 + 3
    assert outputs(place) == expected
    assert [path.name for path in (place / "coco.json.partial").iterdir()] == ["notes.txt"]


def test_only_what_has_changed_is_made_again(place, monkeypatch):
    image = place / "images" / "1.png"
    content = image.read_bytes()
    image.write_bytes(content[:100])
    assert run(place) == 1
    image.write_bytes(content)
    made = []
    make = PrelabelStore.make
    monkeypatch.setattr(
        PrelabelStore, "make", lambda self, *a: (made.append(a[1].name), make(self, *a))
    )
    assert run(place) == 0
    assert made == ["1.png"]
    assert len(read(place)["images"]) == 4
    assert not (place / "coco.json.partial").exists()


def test_an_image_that_cannot_be_read_is_told_and_the_rest_is_done(place, capsys):
    (place / "images" / "1.png").write_bytes(b"no image")
    assert run(place) == 1
    assert [image["file_name"] for image in read(place)["images"]] == ["0.png", "2.png", "3.png"]
    (failed,) = read(place, "rejected.json")["images"]
    assert failed["image"] == "1.png"
    assert "cannot be used: 1.png" in capsys.readouterr().out


def test_nothing_is_written_over_without_being_asked(place, capsys):
    assert run(place) == 0
    expected = outputs(place)
    assert run(place, "--without_overlap") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run(place, out="other.json") == 2  # review.csv is the first one's
    assert outputs(place) == expected
    assert run(place, "--overwrite") == 0
    assert outputs(place) == expected


def test_what_others_have_rejected_is_not_written_over(place, capsys):
    (place / "rejected.json").write_text("of the user")
    assert run(place) == 2
    assert "rejected.json is there already: give another --out" in capsys.readouterr().err
    assert (place / "rejected.json").read_text() == "of the user"


def test_older_cutouts_stay_and_are_told(place, capsys):
    cut = place / "cut"
    cut.mkdir()
    assert run(place, "--cutouts", cut) == 0
    assert "older files" not in capsys.readouterr().out
    count = len(list(cut.iterdir()))
    (cut / "notes.txt").write_text("of the user")
    for name in outputs(place):
        (place / name).unlink()
    assert run(place, "--cutouts", cut) == 2
    assert f"{cut} is there already: give another --out, or --overwrite" in capsys.readouterr().err
    rows = (place / "boxes.csv").read_text().splitlines()
    (place / "boxes.csv").write_text("\n".join(rows[:4]))
    assert run(place, "--cutouts", cut, "--overwrite") == 0
    kept = len(read(place)["annotations"])
    assert f"{count + 1 - kept} older files stay" in capsys.readouterr().out
    assert len(list(cut.iterdir())) == count + 1


def test_cutouts_show_the_objects(place):
    assert run(place, "--cutouts", place / "images" / "cut", "--margin", 2) == 0
    annotations = read(place)["annotations"]
    files = sorted((place / "images" / "cut").iterdir())
    assert len(files) == len(annotations)
    for each in annotations:
        (file,) = (place / "images" / "cut").glob(f"*_{each['id']}_disc_*.png")
        pixels = np.asarray(Image.open(file))
        assert pixels.shape[2] == 4
        assert (pixels[..., 3] == 255).sum() == each["area"]
    again = ("--cutouts", place / "images" / "cut", "--overwrite")
    assert run(place, *again) == 0  # cut-outs are not taken for images
    assert len(read(place)["images"]) == 4


def test_the_page_shows_the_most_doubtful_and_escapes_names(place):
    boxes = place / "boxes.csv"
    boxes.write_text(boxes.read_text().replace("disc 2", "<script>alert(1)</script>"))
    assert run(place, "--gallery", 5) == 0
    page = (place / "review.html").read_text()
    assert page.count("data:image/webp;base64,") == 5
    assert "<script>alert" not in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.fixture
def calibrated(lora_run, tmp_path):
    copy = shutil.copytree(lora_run, tmp_path / "run")
    thresholds = (Threshold(0.8, 0.9, 0.0, 1.0), Threshold(0.9, 0.95, None, 0.0))
    Calibration((-5.0, 5.0), (0.0, 1.0), "isotonic", 321, "val", thresholds).save(copy / "adapter")
    return copy


def test_what_is_above_the_threshold_is_accepted(place, calibrated, capsys):
    assert run(place, model=calibrated) == 0
    rows = read_review(place)
    assert {row["decision"] for row in rows if int(row["area"])} == {"accept"}
    info = read(place)["info"]
    assert info["score"] == "predicted IoU, calibrated on 321 masks of the split 'val'"
    assert info["accept_from"] == 0.0
    assert run(place, "--overwrite", "--accept", 0.9, 0.95, model=calibrated) == 0
    assert {row["decision"] for row in read_review(place)} == {"review"}
    assert "no score is high enough" in capsys.readouterr().out
    assert run(place, "--overwrite", "--accept", 0.5, 0.5, model=calibrated) == 2
    assert "choose from 0.8 0.9, 0.9 0.95" in capsys.readouterr().err


@pytest.mark.slow
def test_objects_are_looked_at_in_tiles_as_the_model_was_trained(
    calibrated, place, tmp_path, monkeypatch
):
    set_reading(calibrated, tile=48)
    tiles = []
    monkeypatch.setattr(
        PrelabelStore, "make", lambda store, *_: tiles.append(store.reading.tile) or interrupt()
    )
    exported = tmp_path / "exported"
    assert main(["export", str(calibrated), "--to", "adapter", "--out", str(exported)]) == 0
    for model, more in (
        (calibrated, ()), (calibrated / "adapter", ()), (exported, ()),
        (exported, ("--reading.tile", 0)), ("nano", ()),
    ):  # fmt: skip
        assert run(place, *more, model=model) == 2
    assert tiles == [48, 48, 48, 0, 0]


def interrupt():
    raise KeyboardInterrupt


def test_ids_of_a_coco_file_stay(place):
    content = {
        "images": [
            {"id": 40, "file_name": "/elsewhere/2.png", "height": 64, "width": 64},
            {"id": 30, "file_name": "0.png", "height": 64, "width": 65},
        ],
        "annotations": [
            {"id": 9, "image_id": 40, "category_id": 5, "bbox": [10, 10, 30, 30]},
            {"id": 4, "image_id": 30, "category_id": 5, "bbox": [10, 10, 30, 30]},
        ],
        "categories": [{"id": 5, "name": "disc"}, {"id": 2, "name": "none"}],
    }
    (place / "boxes.json").write_text(json.dumps(content))
    # 0.png is of another size than its boxes were made on
    assert run(place, "--boxes", place / "boxes.json") == 1
    found = read(place)
    assert {i["file_name"]: i["id"] for i in found["images"]} == {
        "1.png": 41, "2.png": 40, "3.png": 42,
    }  # fmt: skip
    assert [(a["id"], a["image_id"], a["category_id"]) for a in found["annotations"]] == [
        (9, 40, 5)
    ]
    assert found["categories"] == content["categories"]
    assert "64x64 pixels" in read(place, "rejected.json")["images"][0]["reason"]


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--boxes", "no.json"], "no.json"),
        (["--to", "labels"], "--without_overlap"),
        (["--simplify", "2", "--segmentation", "rle"], "leave out segmentation rle"),
        (["--simplify", "nan"], "of at least 0"),
        (["--margin", "-1"], "of at least 0"),
        (["--reading.tile", "-5"], "tile is -5"),
        (["--min-score", "0.9"], "below min_score 0.9"),
        (["--out", "folder"], "end it in .json"),
        (["--out", "x.parquet"], "x.parquet is no name for a COCO file"),
        (
            ["--out", "{place}/images"],
            "is a folder: name a file in it, such as {place}/images/coco",
        ),
        (["--out", "{place}/boxes.csv/coco.json"], "boxes.csv/coco.json cannot be written: "),
        (
            ["--out", "{place}/" + "x" * 250 + ".json"],
            ".json cannot be written: File name too long",
        ),
        (["--cutouts", "{place}/boxes.csv"], "cannot be written: "),
        (["--images_json", "x.json"], "images_json"),
    ],
)
def test_mistakes_are_one_line_before_the_work(place, capsys, monkeypatch, flags, part):
    monkeypatch.setattr(OPEN_MODEL, lambda *_: pytest.fail("the work has begun"))
    assert run(place, *(flag.format(place=place) for flag in flags)) == 2
    message = capsys.readouterr().err.strip()
    assert part.format(place=place) in message
    assert "\n" not in message


def test_a_folder_that_nobody_may_write_to_is_told_before_the_work(place, capsys, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("samtune.files.tempfile.NamedTemporaryFile", refuse)
    monkeypatch.setattr(OPEN_MODEL, lambda *_: pytest.fail("the work has begun"))
    assert run(place) == 2
    assert "coco.json cannot be written: Permission denied" in capsys.readouterr().err


def test_a_folder_of_the_name_of_an_output_is_told(place, capsys):
    (place / "review.csv").mkdir()
    assert run(place, "--overwrite") == 2
    assert "review.csv is a folder" in capsys.readouterr().err


def test_detections_of_other_images_are_told(place, capsys):
    boxes = place / "boxes.csv"
    boxes.write_text(boxes.read_text().replace(".png", "x.png"))
    assert run(place) == 2
    assert "unknown image" in capsys.readouterr().err
    assert len(read(place, "rejected.json")["detections"]) == 10
    boxes.write_text(boxes.read_text().replace("x.png", ".png"))
    assert run(place) == 0
    assert len(read(place, "rejected.json")["detections"]) == 1
    assert not (place / "coco.json.partial").exists()


def test_detections_are_not_written_over(place, capsys):
    (place / "coco.json").write_text(json.dumps([]))
    flags = ("--boxes", place / "coco.json", "--overwrite")
    assert run(place, *flags) == 2
    assert "written over" in capsys.readouterr().err
    assert read(place) == []
