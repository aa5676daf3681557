"""`samtune segment` and `samtune thresholds` from end to end."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from samtune.cli import main
from samtune.images.pixels import read_image
from samtune.inference.automatic.crops import tile_boxes
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.inference.settings import SearchSettings
from samtune.masks import rle_to_mask
from samtune.models.loading import load_model
from samtune.models.mask_thresholds import MaskThresholds, load_thresholds
from samtune.tasks.searching import make_generator
from tests.conftest import set_reading

EASY = [
    "--search.points_per_side", "6", "--search.pred_iou_thresh", "0.3",
    "--search.stability_score_thresh", "0.5", "--device", "cpu", "--image_size", "128",
]  # fmt: skip


@pytest.fixture
def images(discs, tmp_path):
    """Two images in a folder that a test may change."""
    shutil.copytree(discs / "test" / "images", tmp_path / "in")
    return tmp_path / "in"


def segment(images, out, *more):
    return main(["segment", "nano", str(images), "--out", str(out), *EASY, *more])


def files_of(out):
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def partial_of(out):
    return out.with_name(f"{out.name}.partial")


@pytest.fixture
def searched(monkeypatch):
    """The images that are searched; the process is interrupted where `stop_at` of them are done."""
    search = AutomaticMaskGenerator.search

    class Searched(list):
        stop_at = -1

    seen = Searched()

    def watched(generator, image, *more):
        if len(seen) == seen.stop_at:
            raise KeyboardInterrupt
        seen.append(generator)
        return search(generator, image, *more)

    monkeypatch.setattr(AutomaticMaskGenerator, "search", watched)
    return seen


@pytest.fixture
def broken_off(images, tmp_path, searched, capsys):
    """A folder with the first of two images, where the process was interrupted."""
    searched.stop_at = 1
    assert segment(images, tmp_path / "out") == 2
    assert "interrupted" in capsys.readouterr().err
    assert partial_of(tmp_path / "out").is_dir()
    searched.clear()
    searched.stop_at = -1
    return tmp_path / "out"


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


def test_what_is_there_is_refused_unless_it_may_be_replaced(images, tmp_path, capsys, searched):
    out = tmp_path / "out"
    assert segment(images, out) == 0
    assert not partial_of(out).exists()
    before = files_of(out)
    for more in ([], ["--search.points_per_side", "5"]):
        assert segment(images, out, *more) == 2
        assert f"{out} is there already: give another --out, or --overwrite" in (
            capsys.readouterr().err
        )
    assert files_of(out) == before
    assert len(searched) == 2
    assert segment(images, out, "--overwrite", "--search.points_per_side", "5") == 0
    assert len(searched) == 4
    assert segment(images, tmp_path / "new", "--search.points_per_side", "5") == 0
    assert files_of(out) == files_of(tmp_path / "new") != before


def test_an_interrupted_call_goes_on_to_the_same_files(images, tmp_path, broken_off, searched):
    assert segment(images, broken_off) == 0
    assert len(searched) == 1
    assert not partial_of(broken_off).exists()
    assert segment(images, tmp_path / "whole") == 0
    assert files_of(broken_off) == files_of(tmp_path / "whole")


def test_an_image_that_has_changed_meanwhile_is_done_again(images, broken_off, searched):
    Image.new("RGB", (50, 40)).save(images / "0.png")
    assert segment(images, broken_off) == 0
    assert len(searched) == 2
    first = COCO(broken_off / "predictions.json").dataset["images"][0]
    assert (first["file_name"], first["height"], first["width"]) == ("0.png", 40, 50)


@pytest.mark.parametrize("more", [["--search.points_per_side", "5"], ["--image_size", "64"]])
def test_what_was_made_with_other_settings_is_made_again(
    images, tmp_path, broken_off, searched, more
):
    assert segment(images, broken_off, *more) == 0
    assert len(searched) == 2
    assert not partial_of(broken_off).exists()
    assert segment(images, tmp_path / "whole", *more) == 0
    assert files_of(broken_off) == files_of(tmp_path / "whole")


def test_another_image_of_the_same_name_is_not_taken_for_it(images, tmp_path, broken_off, searched):
    (tmp_path / "others").mkdir()
    for name, other in (("0.png", "1.png"), ("1.png", "0.png")):
        shutil.copy(images / name, tmp_path / "others" / other)
    assert segment(tmp_path / "others", broken_off) == 0
    assert len(searched) == 2
    assert segment(tmp_path / "others", tmp_path / "whole") == 0
    assert files_of(broken_off) == files_of(tmp_path / "whole")


def test_half_a_record_is_made_again(images, tmp_path, broken_off, searched):
    (record,) = (f for f in partial_of(broken_off).iterdir() if f.read_bytes() != b"true")
    record.write_bytes(record.read_bytes()[:50])  # as a power cut may leave it
    assert segment(images, broken_off) == 0
    assert len(searched) == 2
    assert segment(images, tmp_path / "whole") == 0
    assert files_of(broken_off) == files_of(tmp_path / "whole")


def test_what_failed_is_tried_again_and_nothing_else(images, tmp_path, searched):
    out, content = tmp_path / "out", (images / "0.png").read_bytes()
    (images / "0.png").write_text("no image")
    assert segment(images, out) == 1
    assert len(searched) == 1
    (images / "0.png").write_bytes(content)
    assert segment(images, out) == 0
    assert len(searched) == 2
    assert segment(images, tmp_path / "whole") == 0
    assert files_of(out) == files_of(tmp_path / "whole")
    assert not partial_of(out).exists()


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
    assert segment(images, out, "--search.pred_iou_thresh", "1") == 0
    assert "lower search.pred_iou_thresh (1)" in capsys.readouterr().out
    assert not np.asarray(Image.open(out / "0.png")).any()
    assert json.loads((out / "predictions.json").read_text())["annotations"] == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--search.points_per_side", "0"], "points_per_side is '0'"),
        (["--search.points_per_batch", "0"], "points_per_batch is '0'"),
        (["--search.crop_n_layers", "-1"], "crop_n_layers is '-1'"),
        (["--reading.bands", "7"], "bands"),
        (["--device", "abacus"], "abacus"),
        (["--search.box_nms_thresh", "inf"], "box_nms_thresh is 'inf'"),
    ],
)
def test_mistakes(images, tmp_path, capsys, more, message):
    assert segment(images, tmp_path / "out", *more) in (1, 2)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [["--scene.min_area", "5"], ["--scene.simplify", "0"], ["--scene.class_name", "x"],
     ["--scene.class_column", "x"], ["--prompts", "x.geojson"], ["--scene.cog"]],
)  # fmt: skip
def test_options_of_scenes_are_refused_for_images(images, tmp_path, capsys, flags):
    assert segment(images, tmp_path / "out", *flags) == 2
    told = capsys.readouterr().err
    assert f"{flags[0].removeprefix('--')} is for scenes" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--reading.tile", "16"], "reading.tile is 16"),
        (["--reading.tile", "-64"], "tile is -64"),
        (["--reading.tile", "64", "--overlap", "64"], "overlap 64"),
        (
            ["--reading.tile", "64", "--search.crop_n_layers", "1"],
            "search.crop_n_layers is for whole images",
        ),
    ],
)
def test_tiles_that_make_no_sense(images, tmp_path, capsys, flags, message):
    assert segment(images, tmp_path / "out", *flags) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def tiles(monkeypatch):
    """Side and overlap of the tiles that images are cut into."""
    found = []

    def watched(hw, side, overlap):
        found.append((side, overlap))
        return tile_boxes(hw, side, overlap)

    monkeypatch.setattr("samtune.tasks.image_search.tile_boxes", watched)
    return found


def test_images_are_seen_in_the_tiles_of_the_training(lora_run, images, tmp_path, capsys, tiles):
    run = shutil.copytree(lora_run, tmp_path / "run")
    set_reading(run, tile=40)
    results = {}
    for name, more in (
        ("default", []), ("same", ["--reading.tile", "40", "--overlap", "10"]),
        ("whole", ["--reading.tile", "0"]), ("large", ["--reading.tile", "64"]),
        ("other", ["--overlap", "20"]),
    ):  # fmt: skip
        out = tmp_path / name
        tiles.clear()
        assert main(["segment", str(run), str(images), "--out", str(out), *EASY, *more]) == 0
        results[name] = set(tiles), (out / "0.png").read_bytes()
        assert ("in tiles of" in capsys.readouterr().out) == (name != "whole")
    seen = [{(40, 10)}, {(40, 10)}, set(), {(64, 16)}, {(40, 20)}]
    assert [each for each, _ in results.values()] == seen
    assert results["default"] == results["same"]
    assert results["whole"][1] == results["large"][1] != results["default"][1]


def test_an_adapter_alone_sees_images_in_the_tiles_of_its_training(
    lora_run, images, tmp_path, tiles
):
    run = shutil.copytree(lora_run, tmp_path / "run")
    set_reading(run, tile=48)
    arguments = ["segment", str(run / "adapter"), str(images), "--out", str(tmp_path / "out")]
    assert main([*arguments, *EASY]) == 0
    assert set(tiles) == {(48, 12)}


def test_images_are_never_replaced(images, capsys):
    before = (images / "0.png").read_bytes()
    assert segment(images, images) == 2
    assert "would be replaced" in capsys.readouterr().err
    assert (images / "0.png").read_bytes() == before


@pytest.mark.parametrize("name", ["0.png", "0_overlay.png", "predictions.json"])
def test_files_of_others_are_not_replaced_without_being_asked(images, tmp_path, capsys, name):
    """A folder of true masks has the very names that are written."""
    out = tmp_path / "labels"
    out.mkdir()
    (out / name).write_text("{}")
    assert segment(images, out, "--overlay") == 2
    assert "is there already: give another --out, or --overwrite" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_text() == "{}"


def test_a_crash_between_picture_and_record_is_gone_on_from(images, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr("samtune.inference.automatic.outputs.tint", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            segment(images, out, "--overlay")
    assert (out / "0.png").exists()
    assert not (out / "predictions.json").exists()
    assert segment(images, out, "--overlay") == 0
    assert len(COCO(out / "predictions.json").imgs) == 2


def test_images_of_one_name_have_the_folders_that_tell_them_apart(images, tmp_path):
    for name, number in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        shutil.copy(images / f"{number}.png", tmp_path / name / "x.png")
    files = []
    for order in ("ab", "ba"):
        folders = [str(tmp_path / name) for name in order]
        assert main(["segment", "nano", *folders, "--out", str(tmp_path / order), *EASY]) == 0
        files.append(files_of(tmp_path / order))
    assert files[0] == files[1]
    names = [i["file_name"] for i in COCO(tmp_path / "ab" / "predictions.json").dataset["images"]]
    assert names == ["a/x.png", "b/x.png"]
    assert files[0].keys() == {"a/x.png", "b/x.png", "predictions.json"}


def test_a_tuned_model_gives_the_masks_of_the_reference(lora_run, images, load_script):
    sam, image = load_model(lora_run), read_image(images / "0.png")
    sam.base_sharpeners = torch.nn.ModuleList()  # the reference has none
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
    assert main(["thresholds", str(run), "--search.points_per_side", "8", "--device", "cpu"]) == 0
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

    def test_are_taken_by_the_generator(self, run, images, tmp_path, searched):
        fitted = load_thresholds(run / "adapter").thresholds
        assert AutomaticMaskGenerator(load_model(run)).thresholds == fitted != MaskThresholds()
        out = tmp_path / "out"
        assert main(["segment", str(run), str(images), "--out", str(out)]) == 0
        assert [each.thresholds for each in searched] == [fitted, fitted]
        assert {len(each.point_grids[0]) for each in searched} == {8**2}
        assert COCO(out / "predictions.json").dataset["annotations"]

    def test_the_grid_is_that_of_the_choice_unless_another_is_given(self, run, monkeypatch):
        sam = load_model(run)
        for given, side in (({}, 8), ({"points_per_side": 5}, 5)):
            generator = make_generator(sam, SearchSettings(**given))
            assert len(generator.point_grids[0]) == side**2
        monkeypatch.setattr(sam, "thresholds", None)
        assert len(make_generator(sam, SearchSettings()).point_grids[0]) == 32**2

    @pytest.mark.parametrize("content", ["{", "[]", '{"format": 1}', '{"format": 99}'])
    def test_a_damaged_file_is_told(self, run, images, tmp_path, capsys, content):
        shutil.copytree(run / "adapter", tmp_path / "adapter")
        (tmp_path / "adapter" / "thresholds.json").write_text(content)
        assert main(["segment", str(tmp_path / "adapter"), str(images)]) == 2
        assert "thresholds.json" in capsys.readouterr().err

    def test_a_base_has_none(self, discs, capsys):
        assert main(["thresholds", "nano", "--data.path", str(discs)]) == 2
        assert "holds no tuned model" in capsys.readouterr().err


def test_settings_that_come_back_do_not_find_pictures_of_others(images, tmp_path):
    """An image that cannot be read keeps what is done; between two calls another made the pictures."""
    (images / "9.png").write_text("no image")
    out = tmp_path / "out"
    for more in ([], ["--search.pred_iou_thresh", "0.99"], []):
        assert segment(images, out, *more) == 1
    assert segment(images, tmp_path / "new") == 1
    assert files_of(out) == files_of(tmp_path / "new")


def test_images_that_are_read_are_not_written_over(images, tmp_path, capsys):
    for name in ("c1", "c2"):
        (tmp_path / "cams" / name).mkdir(parents=True)
        shutil.copy(images / "0.png", tmp_path / "cams" / name / "1.png")
    paths = [str(tmp_path / "cams" / name / "1.png") for name in ("c1", "c2")]
    before = files_of(tmp_path / "cams")
    arguments = ["segment", "nano", *paths, "--out", str(tmp_path / "cams"), "--overwrite", *EASY]
    assert main(arguments) == 2
    assert "is the image" in capsys.readouterr().err
    assert files_of(tmp_path / "cams") == before


def test_two_images_never_share_a_file(images, tmp_path, capsys):
    shutil.copy(images / "0.png", images / "0_overlay.png")
    assert segment(images, tmp_path / "out", "--overlay") == 2
    assert "0_overlay.png is to be written" in capsys.readouterr().err
    assert segment(images, tmp_path / "out") == 0
