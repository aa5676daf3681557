"""`samtune segment` and `samtune thresholds` from end to end."""

import argparse
import json
import shutil

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from samtune.cli import main
from samtune.commands.generator_options import add_generator_options, make_generator
from samtune.data.image_io import read_image
from samtune.geometry import rle_to_mask
from samtune.inference.automatic import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.models.loading import load_model
from samtune.models.thresholds import MaskThresholds, load_thresholds
from tests.conftest import set_view

EASY = [
    "--points-per-side", "6", "--pred-iou-thresh", "0.3", "--stability-score-thresh", "0.5",
    "--device", "cpu",
]  # fmt: skip


@pytest.fixture
def images(discs, tmp_path):
    """Two images in a folder that a test may change."""
    shutil.copytree(discs / "test" / "images", tmp_path / "in")
    return tmp_path / "in"


def segment(images, out, *more):
    return main(["segment", "nano", str(images), "--out", str(out), *EASY, *more])


def records(out):
    return {path.stem: json.loads(path.read_text()) for path in (out / "records").iterdir()}


def test_labels_and_coco_file_hold_the_same_masks(images, tmp_path):
    out = tmp_path / "out"
    assert segment(images, out, "--overlay") == 0
    coco = COCO(out / "predictions.json")
    assert [image["file_name"] for image in coco.dataset["images"]] == ["0.png", "1.png"]
    for image in coco.dataset["images"]:
        masks = [each for each in coco.dataset["annotations"] if each["image_id"] == image["id"]]
        assert len(masks) > 2
        expected = np.zeros((image["height"], image["width"]), np.uint16)
        for number in reversed(range(len(masks))):
            expected[rle_to_mask(masks[number]["segmentation"])] = number + 1
        labels = np.asarray(Image.open(out / image["file_name"]))
        assert labels.dtype == np.uint16
        np.testing.assert_array_equal(labels, expected)
        assert [m["score"] for m in masks] == sorted((m["score"] for m in masks), reverse=True)
        rows, columns = np.nonzero(rle_to_mask(masks[0]["segmentation"]))
        width, height = np.ptp(columns) + 1, np.ptp(rows) + 1
        assert masks[0]["bbox"] == [columns.min(), rows.min(), width, height]
        with Image.open(out / image["file_name"].replace(".png", "_overlay.png")) as overlay:
            assert overlay.size == (image["width"], image["height"])


def test_what_is_done_is_not_done_again(images, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert segment(images / "0.png", out) == 0
    assert segment(images, out) == 0
    complete = (out / "predictions.json").read_bytes()
    monkeypatch.setattr(AutomaticMaskGenerator, "search", lambda *_: pytest.fail("done already"))
    assert segment(images, out) == 0
    assert (out / "predictions.json").read_bytes() == complete


def test_an_image_that_has_changed_is_done_again(images, tmp_path):
    out = tmp_path / "out"
    assert segment(images, out) == 0
    Image.new("RGB", (50, 40)).save(images / "0.png")
    assert segment(images, out) == 0
    assert records(out)["0"]["image"] == {"file_name": "0.png", "height": 40, "width": 50}


def test_other_settings_need_another_folder(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(images, out) == 0
    assert segment(images, out, "--points-per-side", "5") == 2
    assert "other settings (points_per_side)" in capsys.readouterr().err
    assert segment(images, out, "--image-size", "64") == 2
    assert "side)" in capsys.readouterr().err  # of the input; not every family's weights differ
    assert segment(images / "0.png", out, "--points-per-side", "5", "--overwrite") == 0
    assert set(records(out)) == {"0"}  # those of the other settings are gone


def test_another_image_of_the_same_name_is_not_taken_for_it(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(images / "0.png", out) == 0
    shutil.copytree(images, tmp_path / "others")
    assert segment(tmp_path / "others" / "0.png", out) == 1
    assert "under the name 0" in capsys.readouterr().err


def test_a_bad_image_stops_no_other(images, tmp_path, capsys):
    (images / "bad.png").write_bytes((images / "0.png").read_bytes()[:300])
    (images / "text.png").write_text("no image")
    (images / "gone.png").symlink_to(images / "nothing")
    out = tmp_path / "out"
    assert segment(images, out) == 1
    told = capsys.readouterr()
    assert all(name in told.err for name in ("bad.png", "text.png", "gone.png"))
    assert "3 images failed" in told.err
    assert "in 2 images" in told.out
    assert len(COCO(out / "predictions.json").imgs) == 2


def test_nothing_found_is_written_and_said(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(images, out, "--pred-iou-thresh", "2") == 0
    assert "lower --pred-iou-thresh (2)" in capsys.readouterr().out
    assert not np.asarray(Image.open(out / "0.png")).any()
    assert json.loads((out / "predictions.json").read_text())["annotations"] == []


def test_a_damaged_record_is_told(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(images / "0.png", out) == 0
    (out / "records" / "0.json").write_text("[]")
    assert segment(images / "0.png", out) == 1
    assert "0.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--points-per-side", "0"], "points_per_side is 0"),
        (["--points-per-batch", "0"], "points_per_batch is 0"),
        (["--crop-n-layers", "-1"], "crop_n_layers is -1"),
        (["--bands", "7"], "bands"),
        (["--device", "abacus"], "abacus"),
        (["--box-nms-thresh", "inf"], "box_nms_thresh is inf"),
    ],
)
def test_mistakes(images, tmp_path, capsys, more, message):
    assert segment(images, tmp_path / "out", *more) in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [["--min-area", "5"], ["--simplify", "0"], ["--class-name", "x"], ["--class-column", "x"],
     ["--prompts", "x.geojson"], ["--cog"]],
)  # fmt: skip
def test_options_of_scenes_are_refused_for_images(images, tmp_path, capsys, flags):
    assert segment(images, tmp_path / "out", *flags) == 2
    told = capsys.readouterr().err
    assert flags[0] in told
    assert "for scenes" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tile", "16"], "--tile 16"),
        (["--tile", "-64"], "--tile -64"),
        (["--tile", "64", "--overlap", "64"], "--overlap 64"),
        (["--tile", "64", "--crop-n-layers", "1"], "--crop-n-layers is for whole images"),
    ],
)
def test_tiles_that_make_no_sense(images, tmp_path, capsys, flags, message):
    assert segment(images, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err


def test_images_are_seen_in_the_tiles_of_the_training(lora_run, images, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(lora_run, run)
    set_view(run, tile=40)
    results = {}
    for name, more in (
        ("default", []), ("same", ["--tile", "40", "--overlap", "10"]), ("whole", ["--tile", "0"]),
        ("large", ["--tile", "64"]), ("other", ["--overlap", "20"]),
    ):  # fmt: skip
        out = tmp_path / name
        assert main(["segment", str(run), str(images), "--out", str(out), *EASY, *more]) == 0
        settings = json.loads((out / "settings.json").read_text())
        results[name] = (settings["tile"], settings["overlap"]), (out / "0.png").read_bytes()
        assert ("in tiles of" in capsys.readouterr().out) == (name != "whole")
    assert [results[name][0] for name in results] == [
        (40, 10),
        (40, 10),
        (0, 0),
        (64, 16),
        (40, 20),
    ]
    assert results["default"] == results["same"]
    assert results["whole"][1] == results["large"][1] != results["default"][1]
    again = ["segment", str(run), str(images), "--out", str(tmp_path / "same"), *EASY]
    assert main([*again, "--tile", "0"]) == 2
    assert "other settings (tile, overlap)" in capsys.readouterr().err


def test_an_adapter_alone_sees_images_in_the_tiles_of_its_training(lora_run, images, tmp_path):
    run = shutil.copytree(lora_run, tmp_path / "run")
    set_view(run, tile=48)
    out = tmp_path / "out"
    arguments = ["segment", str(run / "adapter"), str(images), "--out", str(out), *EASY]
    assert main(arguments) == 0
    assert json.loads((out / "settings.json").read_text())["tile"] == 48


def test_images_are_never_replaced(images, capsys):
    before = (images / "0.png").read_bytes()
    assert segment(images, images) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert (images / "0.png").read_bytes() == before


@pytest.mark.parametrize("name", ["0.png", "0_overlay.png", "predictions.json", "settings.json"])
def test_files_of_others_are_never_replaced(images, tmp_path, capsys, name):
    """A folder of true masks has the very names that are written."""
    out = tmp_path / "labels"
    out.mkdir()
    (out / name).write_text("{}")
    for more in ([], ["--overwrite"]):
        assert segment(images, out, "--overlay", *more) == 2
        assert "not written by samtune segment" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [name]
        assert (out / name).read_text() == "{}"


def test_nor_where_one_of_them_was_missing_and_made_here(images, tmp_path, capsys):
    out = tmp_path / "labels"
    assert segment(images / "0.png", out) == 0
    (out / "1.png").write_text("true")
    assert segment(images, out, "--overwrite") == 2
    assert "1.png was not written" in capsys.readouterr().err
    assert (out / "1.png").read_text() == "true"


def test_a_crash_between_picture_and_record_is_gone_on_from(images, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("samtune.inference.automatic_outputs.tint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segment(images, out, "--overlay")
    assert (out / "0.png").exists()
    assert segment(images / "1.png", out) == 0
    assert len(COCO(out / "predictions.json").imgs) == 1, "what was begun is not done"
    assert segment(images, out, "--overlay") == 0
    assert len(COCO(out / "predictions.json").imgs) == 2


def test_the_coco_file_keeps_what_other_calls_found(images, tmp_path):
    out = tmp_path / "out"
    assert segment(images, out) == 0
    complete = (out / "predictions.json").read_bytes()
    assert segment(images / "1.png", out, "--overwrite") == 0
    assert (out / "predictions.json").read_bytes() == complete
    (images / "0.png").write_text("no image any more")
    assert segment(images / "0.png", out) == 1
    assert (out / "predictions.json").read_bytes() == complete


def test_images_of_one_name_have_the_folders_that_tell_them_apart(images, tmp_path):
    for name, number in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        shutil.copy(images / f"{number}.png", tmp_path / name / "x.png")
    assert segment(tmp_path / "a", tmp_path / "out") == 0
    files = []
    for order in ("ab", "ba"):
        for out in (tmp_path / "out", tmp_path / order):
            folders = [str(tmp_path / name) for name in order]
            assert main(["segment", "nano", *folders, "--out", str(out), *EASY]) == 0
            places = (path for path in out.rglob("*") if path.is_file())
            files.append({str(p.relative_to(out)): p.read_bytes() for p in places})
    assert files[0] == files[1] == files[2] == files[3]
    names = [i["file_name"] for i in COCO(tmp_path / "out" / "predictions.json").dataset["images"]]
    assert names == ["a/x.png", "b/x.png"]
    assert {"a/x.png", "b/x.png", "records/a/x.json"} <= files[0].keys()


def test_a_tuned_model_gives_the_masks_of_the_reference(lora_run, images, load_script):
    sam, image = load_model(lora_run), read_image(images / "0.png")
    limits = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.5}
    generate = load_script("automatic_reference").generate
    expected = generate(SamPredictor(sam), image, 10, **limits)
    assert len(expected) > 2
    assert AutomaticMaskGenerator(sam, 10, **limits, output_mode="coco_rle").generate(image) == (
        expected
    )


def test_a_path_that_is_not_there(tmp_path, capsys):
    assert segment(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "there is no image" in capsys.readouterr().err


@pytest.fixture(scope="module")
def run(lora_run, tmp_path_factory):
    """A run with thresholds of its own."""
    run = tmp_path_factory.mktemp("thresholds") / "run"
    shutil.copytree(lora_run, run)
    assert main(["thresholds", str(run), "--points-per-side", "8", "--device", "cpu"]) == 0
    return run


class TestThresholds:
    def test_are_found_and_kept_with_their_origin(self, run):
        fitted = load_thresholds(run / "adapter")
        results = fitted.provenance["results"]
        assert set(results) == {"val", "test"}
        val = results["val"]
        assert val["after"]["scores"]["msa"] >= val["before"]["scores"]["msa"]
        assert val["difference"]["mean"] == pytest.approx(
            val["after"]["scores"]["msa"] - val["before"]["scores"]["msa"]
        )
        assert fitted.points_per_side == 8

    def test_are_taken_by_the_generator(self, run, images, tmp_path):
        sam = load_model(run)
        fitted = load_thresholds(run / "adapter").thresholds
        assert AutomaticMaskGenerator(sam).thresholds == fitted != MaskThresholds()
        out = tmp_path / "out"
        assert main(["segment", str(run), str(images), "--out", str(out)]) == 0
        settings = json.loads((out / "settings.json").read_text())
        assert settings["pred_iou_thresh"] == fitted.pred_iou_thresh
        assert settings["points_per_side"] == 8
        assert records(out)["0"]["masks"]
        again = [str(run), str(images), "--out", str(out), "--points-per-side"]
        assert main(["segment", *again, "8"]) == 0, "the same, so that it goes on"
        assert main(["segment", *again, "7"]) == 2

    def test_the_grid_is_that_of_the_choice_unless_another_is_given(self, run, monkeypatch):
        parser = argparse.ArgumentParser()
        add_generator_options(parser)
        sam = load_model(run)
        for given, side in (([], 8), (["--points-per-side", "5"], 5)):
            assert len(make_generator(sam, parser.parse_args(given)).point_grids[0]) == side**2
        monkeypatch.setattr(sam, "thresholds", None)
        assert len(make_generator(sam, parser.parse_args([])).point_grids[0]) == 32**2

    @pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 99}'])
    def test_a_damaged_file_is_told(self, run, images, tmp_path, capsys, content):
        shutil.copytree(run / "adapter", tmp_path / "adapter")
        (tmp_path / "adapter" / "thresholds.json").write_text(content)
        assert main(["segment", str(tmp_path / "adapter"), str(images)]) == 2
        assert "thresholds.json" in capsys.readouterr().err

    def test_a_base_has_none(self, discs, capsys):
        assert main(["thresholds", "nano", "--data.path", str(discs)]) == 2
        assert "holds no tuned model" in capsys.readouterr().err
