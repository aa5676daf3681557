"""`samtune prelabel` without a detector: what the model finds, with class, score and doubt."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

import samtune
from samtune.heads.classes import ClassHead
from samtune.heads.instances import CALIBRATION, InstanceHead
from samtune.inference.instances import InstanceFinder
from samtune.inference.naming import MaskNamer
from samtune.models.loading import load_model
from samtune.models.saving import save_tuned

CLASSIFIER = """
def name(cuts, masks):
    return [{"rare": 0.6, "other": 0.4} if len(cuts) == 1 else {"disc": 1.0} for _ in cuts]
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """One with three bright squares, one with one, one with none."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, corners in enumerate((((4, 4), (4, 40), (40, 8)), ((20, 20),), ())):
        image = np.full((64, 64, 3), 40, np.uint8)
        for y, x in corners:
            image[y : y + 16, x : x + 16] = 180
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "name.py").write_text(CLASSIFIER)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A model whose head sees what is bright, and whose head for classes is hardly sure."""
    sam = load_model("nano", image_size=64)
    sam.heads["instances"] = InstanceHead(sam.encoded, {"tile": 0, "sigma": 0.0}).eval()
    settings = {"tile": 0, "classes": ["cell", "hole"], "weights": [1.0, 1.0]}
    sam.heads["classes"] = ClassHead(sam.encoded, settings).eval()
    save_tuned(sam, tmp_path / "run")

    def bright(self, image):
        return np.stack([(image.mean(2) > 75).astype(np.float32) * 0.9] * 3)

    def hardly(self, image, masks):
        return np.tile([0.7, 0.3], (len(masks), 1))

    monkeypatch.setattr(InstanceFinder, "maps", bright)
    monkeypatch.setattr(MaskNamer, "name", hardly)
    return tmp_path / "run"


def rows_of(out):
    return list(csv.DictReader((out.parent / "review.csv").open()))


def test_objects_of_the_head_are_suggested_with_class_score_and_doubt(run, pictures, tmp_path):
    out = tmp_path / "out/coco.json"
    result = samtune.prelabel(run, [pictures], out=out)
    content, rows = json.loads(out.read_text()), rows_of(out)
    assert [each["name"] for each in content["categories"]] == ["cell", "hole"]
    assert [each["file_name"] for each in content["images"]] == ["0.png", "1.png", "2.png"]
    by_image = [each["image_id"] for each in content["annotations"]]
    assert sorted(by_image) == [1, 1, 1, 2]
    assert sorted(each["id"] for each in content["annotations"]) == [1, 2, 3, 4]
    assert sorted(int(row["object"]) for row in rows) == [1, 2, 3, 4]
    for each in content["annotations"]:
        assert each["class_score"] == 0.7
        assert each["score"] == pytest.approx(0.81)
        assert "detection_score" not in each
    assert {row["category"] for row in rows} == {"cell"}
    assert all("class is not sure" in row["reasons"] for row in rows)
    assert all(float(row["trust"]) == pytest.approx(0.81 * 0.7) for row in rows)
    # SAM's decoder was asked about each box
    assert all(0 <= float(row["agreement"]) <= 1 for row in rows)
    assert "fit calibrates the scores of a head" in " ".join(result.notes)


def test_the_masks_are_those_of_the_head(run, pictures, tmp_path):
    samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json", segmentation="rle")
    samtune.segment(run, [pictures], out=tmp_path / "segmented")
    one = json.loads((tmp_path / "out/coco.json").read_text())["annotations"]
    other = json.loads((tmp_path / "segmented/predictions.json").read_text())["annotations"]
    assert sorted(each["area"] for each in one) == sorted(each["area"] for each in other)


def test_a_calibrated_head_accepts_what_is_good_enough(run, pictures, tmp_path):
    sam = load_model(run)
    threshold = {"iou": 0.8, "share": 0.9, "score": 0.9, "coverage": 0.5}
    sam.heads["instances"].changed(**{CALIBRATION: {
        "raw": [0.0, 1.0], "calibrated": [0.2, 1.0], "method": "isotonic", "num_masks": 300,
        "split": "val", "thresholds": [threshold],
    }})  # fmt: skip
    del sam.heads["classes"]
    save_tuned(sam, run)
    samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json")
    content = json.loads((tmp_path / "out/coco.json").read_text())
    scores = [each["score"] for each in content["annotations"]]
    assert scores == pytest.approx([0.2 + 0.8 * 0.81] * 4, abs=1e-5)
    assert [each["name"] for each in content["categories"]] == ["object"]
    assert content["info"]["accept_from"] == 0.9
    assert {row["decision"] for row in rows_of(tmp_path / "out/coco.json")} == {"review"}
    threshold["score"] = 0.8
    save_tuned(sam, run)
    samtune.prelabel(run, [pictures], out=tmp_path / "again/coco.json")
    rows = rows_of(tmp_path / "again/coco.json")
    assert all((row["decision"] == "accept") is not bool(row["reasons"]) for row in rows)


def test_what_sam_sees_otherwise_is_doubted(run, pictures, tmp_path, monkeypatch):
    from samtune.inference.views import Viewed

    def elsewhere(viewed, sam):
        masks = np.zeros((len(viewed.prompts), *viewed.window.hw), np.bool_)
        masks[:, :2, :2] = True
        return masks

    monkeypatch.setattr(Viewed, "parts", elsewhere)
    samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json")
    rows = rows_of(tmp_path / "out/coco.json")
    assert all(float(row["agreement"]) < 0.1 for row in rows)
    assert all("masks disagree" in row["reasons"] for row in rows)


def test_a_classifiers_classes_are_numbered_through_all_images(run, pictures, tmp_path):
    search = {"classifier": f"{pictures / 'name.py'}:name"}
    samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json", search=search)
    content = json.loads((tmp_path / "out/coco.json").read_text())
    names = {each["id"]: each["name"] for each in content["categories"]}
    assert names == {1: "disc", 2: "rare"}
    found = [(each["image_id"], names[each["category_id"]]) for each in content["annotations"]]
    assert sorted(found) == [(1, "disc")] * 3 + [(2, "rare")]


def test_it_goes_on_where_it_was_interrupted(run, pictures, tmp_path, monkeypatch):
    from samtune.inference.prelabel.finding import FoundStore

    make, made = FoundStore.make, []

    def breaks(self, place, image, detections):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(image.name)
        make(self, place, image, detections)

    monkeypatch.setattr(FoundStore, "make", breaks)
    with pytest.raises(KeyboardInterrupt):
        samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json")
    again = []
    monkeypatch.setattr(
        FoundStore, "make", lambda self, *a: (again.append(a[1].name), make(self, *a))
    )
    samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json")
    assert (made, again) == (["0.png"], ["1.png", "2.png"])
    whole = tmp_path / "whole/coco.json"
    samtune.prelabel(run, [pictures], out=whole)
    assert (tmp_path / "out/coco.json").read_bytes() == whole.read_bytes()


def test_nothing_found_is_an_empty_file_and_a_head_has_its_own_threshold(run, pictures, tmp_path):
    samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json", search={"min_quality": 0.9})
    content = json.loads((tmp_path / "out/coco.json").read_text())
    assert content["annotations"] == []
    assert len(content["images"]) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"min_score": 0.5}, r"set search\.min_quality"),
        ({"images_json": "x.json"}, "images_json is of a detector"),
        ({"boxes": "boxes.csv", "search": {"by": "grid"}}, "for a search without prompts"),
    ],
)
def test_what_means_nothing_is_refused(run, pictures, tmp_path, arguments, told):
    with pytest.raises(samtune.UserError, match=told):
        samtune.prelabel(run, [pictures], out=tmp_path / "out/coco.json", **arguments)


def test_a_model_without_a_head_looks_on_a_grid(pictures, tmp_path):
    torch.manual_seed(0)
    search = {"points_per_side": 2, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    samtune.prelabel(
        "nano", [pictures / "0.png"], out=tmp_path / "out/coco.json", search=search, image_size=64
    )
    content = json.loads((tmp_path / "out/coco.json").read_text())
    assert content["annotations"]
    assert all("class_score" not in each for each in content["annotations"])
