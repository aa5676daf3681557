"""A head from training to use: what is shared stays as it was, to the bit."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

import samtune
from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.tasks.heads.table import HEAD_WORK
from samtune.training.settings import HeadName
from tests.conftest import draw_discs

FAST = {
    "base": "nano",
    "image_size": 64,
    "check": False,
    "trainer": {"max_epochs": 1, "limit_train_batches": 3, "accelerator": "cpu"},
}
DATA = {"batch_size": 2, "num_workers": 0, "min_area": 4}
HEAD = {"head": "instances"}
NAMED = {"labels": "semantic", "class_names": {1: "lamp", 2: "hole"}, "ignore_values": [255]}
LONGER = {"trainer": {"max_epochs": 1, "limit_train_batches": 40, "accelerator": "cpu"}}


def train(folder, run, **more):
    data = {"path": str(folder), **DATA, **more.pop("data", {})}
    return samtune.fit(run=run, data=data, **{**FAST, "model": HEAD, **more})


@pytest.fixture(scope="module")
def tuned(discs, tmp_path_factory):
    """A run with an adapter, and no head."""
    run = tmp_path_factory.mktemp("tuned") / "run"
    return train(discs, run, model={"lora": {"rank": 2}}, choose=False)


@pytest.fixture(scope="module")
def headed(discs, tuned, tmp_path_factory):
    """A head beside that adapter."""
    run = tmp_path_factory.mktemp("headed") / "run"
    return train(discs, run, base=str(tuned), image_size=0)


def prompted(run):
    image, _ = draw_discs((64, 64), 3, seed=9)
    predictor = samtune.SamPredictor(load_model(str(run)))
    predictor.set_image(image)
    return predictor.predict(point_coords=np.array([[20, 30]]), point_labels=np.array([1]))


def test_answers_to_prompts_stay_the_same_to_the_bit(tuned, headed):
    for before, after in zip(prompted(tuned), prompted(headed), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_adapter_is_that_of_the_base_and_the_head_lies_beside_it(tuned, headed):
    weights = [
        (run.path / "adapter/adapter_model.safetensors").read_bytes() for run in (tuned, headed)
    ]
    assert weights[0] == weights[1]
    sam = load_model(headed.path)
    assert set(sam.heads) == {"instances"}
    assert not set(load_model(tuned.path).heads)
    assert sam.base == load_model(tuned.path).base


@pytest.mark.slow
def test_a_head_on_a_plain_base_carries_no_weights_of_it(discs, tmp_path):
    run = train(discs, tmp_path / "run", choose=False)
    names = {file.name for file in (run.path / "model").rglob("*") if file.is_file()}
    assert names == {"samtune.json", "head.json", "head.safetensors"}
    sam = load_model(run.path)
    plain = load_model("nano", image_size=64)
    for name, value in plain.core.state_dict().items():
        assert torch.equal(sam.core.state_dict()[name], value)
    assert len(sam.heads) == 1


@pytest.mark.slow
def test_a_run_that_goes_on_ends_as_one_that_never_stopped(discs, tmp_path):
    def go(name, epochs):
        trainer = {"max_epochs": epochs, "accelerator": "cpu"}
        model = {**HEAD, "optim": {"final_lr": 1.0}}  # the rate does not know how long it goes on
        return train(
            discs, tmp_path / name, trainer=trainer, model=model, choose=False,
            data={"windows": 1, "augment": "microscopy"},
        )  # fmt: skip

    def weights(run):
        path = run.path / "checkpoints/last.ckpt"
        return torch.load(path, weights_only=True)["state_dict"]

    go("parted", 1)
    whole, resumed = go("whole", 2), samtune.resume(tmp_path / "parted", trainer={"max_epochs": 2})
    assert weights(whole).keys() == weights(resumed).keys()
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value)


def test_images_are_read_as_the_shared_encoder_reads_them(discs, tuned, tmp_path):
    with pytest.raises(UserError, match="so set data"):
        train(
            discs, tmp_path / "run", base=str(tuned), image_size=0, data={"stretch": "percentile"}
        )


def test_segment_takes_the_head_and_a_grid_on_demand(discs, headed, tmp_path):
    images = [discs / "test/images"]
    found = samtune.segment(headed, images, out=tmp_path / "head", device="cpu")
    again = samtune.segment(headed, images, out=tmp_path / "head", device="cpu", overwrite=True)
    assert found.counts == again.counts
    record = json.loads((tmp_path / "head/predictions.json").read_text())
    assert len(record["annotations"]) == found.num_objects
    labels = np.asarray(Image.open(tmp_path / "head/0.png"))
    assert labels.shape == (64, 64)
    assert labels.max() == found.counts["0.png"]
    with pytest.raises(UserError, match="is not for a head"):
        samtune.segment(headed, images, out=tmp_path / "no", search={"points_per_side": 4})
    grid = samtune.segment(
        headed, images, out=tmp_path / "grid", search={"by": "grid", "points_per_side": 2}
    )
    assert len(grid.counts) == 2


def test_nothing_is_good_enough(discs, headed, tmp_path):
    found = samtune.segment(
        headed, [discs / "test/images"], out=tmp_path / "out", search={"min_quality": 1}
    )
    assert found.num_objects == 0
    assert "search.min_quality (1)" in found.headline


def test_without_a_head_nobody_can_ask_for_one(discs, tuned, tmp_path):
    with pytest.raises(UserError, match="the model has no head"):
        samtune.segment(
            tuned, [discs / "test/images"], out=tmp_path / "out", search={"by": "instances"}
        )


def test_evaluate_sets_it_beside_the_grid(discs, headed, tmp_path):
    result = samtune.evaluate(headed, out=tmp_path / "evaluation", max_images=2)
    rows = result.tables["instances"]
    assert [row["by"] for row in rows] == ["head", "grid"]
    assert all(row["images"] == 2 and row["objects"] == 6 for row in rows)
    written = json.loads((tmp_path / "evaluation/heads.json").read_text())
    scores = written["heads"]["instances"]["scores"]
    difference = written["heads"]["instances"]["difference"]["mean"]
    assert difference == pytest.approx(scores["head"]["msa"] - scores["grid"]["msa"])
    lines = (tmp_path / "evaluation/instances.csv").read_text().splitlines()
    assert len(lines) == 3


def test_evaluate_still_asks_with_prompts(headed, tmp_path):
    result = samtune.evaluate(
        headed, out=tmp_path / "evaluation", what="prompts", protocols=["box"], max_images=1,
        general="none", gallery=0,
    )  # fmt: skip
    assert "box" in result.results["protocols"]


def test_settings_name_all_heads():
    from typing import get_args

    from samtune.heads.table import HEADS

    assert set(get_args(HeadName)) == {"none", *HEADS}
    assert HEAD_WORK.keys() == HEADS.keys()


def test_a_cache_or_auto_is_for_tuning_sam(discs, tmp_path):
    with pytest.raises(UserError, match="leave them out for a head"):
        train(discs, tmp_path / "run", auto=True)


class TestClasses:
    """Bright discs are lamps, dark ones holes; each image has both, and a row that is ignored."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("lamps")
        y, x = np.mgrid[:64, :64]
        for seed, split in enumerate(["train"] * 6 + ["val"] * 2 + ["test"] * 2):
            rng = np.random.default_rng(seed)
            image = np.full((64, 64, 3), 110) + rng.integers(-9, 9, (64, 64, 3))
            labels = np.zeros((64, 64), np.uint8)
            for column, (value, light) in enumerate(((1, 100), (2, -90))):
                cy, cx = rng.integers(14, 44), 16 + 32 * column
                disc = np.hypot(y - cy, x - cx) < rng.integers(7, 12)
                labels[disc], image[disc] = value, image[disc] + light
            labels[60:] = 255
            for kind, content in (("images", image.astype(np.uint8)), ("masks", labels)):
                (folder / split / kind).mkdir(parents=True, exist_ok=True)
                Image.fromarray(content).save(folder / split / kind / f"{seed}.png")
        return folder

    @pytest.mark.slow
    @pytest.mark.parametrize("head", ["semantic", "classes"])
    def test_a_head_learns_to_tell_them_apart(self, folder, head, tmp_path):
        run = train(folder, tmp_path / "run", model={"head": head}, data=NAMED, **LONGER)
        result = samtune.evaluate(run, against="none", out=tmp_path / "evaluation")
        scores = result.results[head]["scores"]["head"]
        assert result.results[head]["classes"][-2:] == ["hole", "lamp"]
        if head == "semantic":
            assert scores["miou"] > 0.7
            assert np.sum(scores["confusion"]) == 2 * 60 * 64  # what is ignored does not count
            found = samtune.segment(run, [folder / "test/images"], out=tmp_path / "out")
            assert set(found.classes) == {"background", "hole", "lamp"}
            labels = np.asarray(Image.open(tmp_path / "out/8.png"))
            truth = np.asarray(Image.open(folder / "test/masks/8.png"))
            assert np.median(labels[truth == 1]) == found.classes.index("lamp")
            self.check_volume(run, folder, tmp_path)
        else:
            assert scores["top1"] == 1
            assert scores["num_objects"] == 4
            masks = samtune.predict(
                run, [folder / "test/images/8.png"], boxes=[[6, 6, 26, 54], [38, 6, 58, 54]],
                out=tmp_path / "predicted",
            )  # fmt: skip
            assert all(row["class"] in ("lamp", "hole") for row in masks.tables["objects"])

    def check_volume(self, run, folder, tmp_path):
        """The same pictures as slices: labels are the numbers of the classes, in the volume's frame."""
        import nibabel

        def stack(kind):
            files = sorted((folder / "test" / kind).glob("*.png"))
            return np.stack([np.asarray(Image.open(f).convert("L"))[::-1].T for f in files], axis=2)

        affine = np.diag([-1.0, 1.0, 1.0, 1.0])
        nibabel.save(nibabel.Nifti1Image(stack("images"), affine), tmp_path / "lamps.nii.gz")
        out = tmp_path / "classes.nii.gz"
        found = samtune.segment_volume(
            run, tmp_path / "lamps.nii.gz", out=out, reading={"value_range": (0, 255)}
        )
        assert [each["name"] for each in found.tables["objects"]] == ["hole", "lamp"]
        labels, truth = np.asarray(nibabel.load(out).dataobj), stack("masks")
        for value, name in ((1, "lamp"), (2, "hole")):
            its = labels == next(e["id"] for e in found.tables["objects"] if e["name"] == name)
            shared = np.count_nonzero(its & (truth == value))
            assert shared / np.count_nonzero(its | (truth == value)) > 0.5
        with pytest.raises(UserError, match=r"scene\.class_name would name all"):
            samtune.segment(
                run, [tmp_path / "scene.tif"], out=tmp_path / "no.gpkg", scene={"class_name": "x"}
            )
        other = tmp_path / "no.nii.gz"
        with pytest.raises(UserError, match="min_slices is of objects"):
            samtune.segment_volume(run, tmp_path / "lamps.nii.gz", out=other, min_slices=3)

    def test_a_curve_is_of_all_classes_or_none(self, folder, tmp_path):
        with pytest.raises(UserError, match=r"with 1 training image .* of the class hole"):
            samtune.learning_curve(
                {"path": str(self.lamps_alone(folder, tmp_path)), **DATA, **NAMED},
                base="nano", image_size=64, sizes=[1, "all"], seeds=8, out=tmp_path / "curve",
                model={"head": "semantic"}, trainer={"max_epochs": 1, "accelerator": "cpu"},
            )  # fmt: skip
        assert not (tmp_path / "curve/images1-seed0").exists()

    def lamps_alone(self, folder, tmp_path):
        """The same images, but all but one of those that are trained on have no hole."""
        import shutil

        copy = tmp_path / "copy"
        shutil.copytree(folder, copy)
        for mask in sorted((copy / "train/masks").glob("*.png"))[:5]:
            labels = np.asarray(Image.open(mask)).copy()
            labels[labels == 2] = 0
            Image.fromarray(labels).save(mask)
        return copy

    def test_objects_of_one_class_cannot_be_told_apart(self, discs, tmp_path):
        with pytest.raises(UserError, match="nothing to tell apart"):
            train(discs, tmp_path / "run", model={"head": "classes"})


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["frozen", "lora"])
def test_a_curve_of_a_head_by_number_of_images(discs, encoder, tmp_path):
    settings = {
        "data": {"path": str(discs), **DATA, "windows": 1}, "base": "nano", "image_size": 64,
        "sizes": [1, "all"], "seeds": 1, "out": tmp_path / "curve",
        "model": {**HEAD, "head_encoder": encoder, "lora": {"rank": 2}},
        "trainer": {"max_epochs": 1, "accelerator": "cpu"},
    }  # fmt: skip
    result = samtune.learning_curve(**settings)
    rows = result.tables["curve"]
    assert [(row["judged by"], row["images"]) for row in rows] == [
        ("instances: mSA", 1), ("instances: mSA", 4),
    ]  # fmt: skip
    heads = json.loads((tmp_path / "curve/images4-seed0/evaluation/heads.json").read_text())
    assert rows[1]["score"] == pytest.approx(heads["heads"]["instances"]["scores"]["head"]["msa"])
    page = (tmp_path / "curve/curve.html").read_text()
    assert "score by number of training images (instances: mSA)" in page
    written = (tmp_path / "curve/images4-seed0/evaluation/heads.json").stat().st_mtime_ns
    again = samtune.learning_curve(**settings)  # all is there already
    assert again.headline == result.headline
    assert (tmp_path / "curve/images4-seed0/evaluation/heads.json").stat().st_mtime_ns == written


def test_a_curve_of_a_head_takes_no_prompts(discs, tmp_path):
    with pytest.raises(UserError, match="a head takes none"):
        samtune.learning_curve(
            str(discs), base="nano", out=tmp_path / "curve", model=HEAD, protocols=["box"]
        )


CLASSIFIER = '''
def name(cuts, masks):
    """Bright discs are lamps."""
    bright = [float(cut[mask].mean()) > 110 for cut, mask in zip(cuts, masks)]
    return [{"lamp": 0.9 if b else 0.1, "hole": 0.1 if b else 0.9} for b in bright]
'''


@pytest.fixture(scope="module")
def lamps(tmp_path_factory):
    """The discs' pictures in COCO, each object with a class."""
    folder = tmp_path_factory.mktemp("lamps")
    (folder / "images").mkdir()
    (folder / "name.py").write_text(CLASSIFIER)
    images, annotations = [], []
    for number in range(2):
        image, labels = draw_discs((64, 64), 3, seed=number)
        Image.fromarray(image).save(folder / f"images/{number}.png")
        images.append(
            {"id": number, "file_name": f"images/{number}.png", "height": 64, "width": 64}
        )
        for value in range(1, 4):
            rows, columns = np.nonzero(labels == value)
            x, y = int(columns.min()), int(rows.min())
            box = [x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1]
            flat = np.concatenate([[0], (labels == value).T.ravel(), [0]]).astype(int)
            ends = np.flatnonzero(np.diff(flat))
            counts = np.diff([0, *ends, 64 * 64]).tolist()
            annotations.append({
                "id": len(annotations) + 1, "image_id": number, "category_id": 1 + (value == 1),
                "bbox": box, "segmentation": {"counts": counts, "size": [64, 64]},
                "area": int(np.count_nonzero(labels == value)), "iscrowd": 0,
            })  # fmt: skip
    categories = [{"id": 1, "name": "lamp"}, {"id": 2, "name": "hole"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(content))
    return folder


def test_a_classifier_names_what_is_found_and_each_class_is_judged(headed, lamps, tmp_path):
    data = {"path": str(lamps / "labels.json"), "val_fraction": 0.0, "test_fraction": 0.5}
    result = samtune.evaluate(
        headed, data=data, split="test", out=tmp_path / "evaluation",
        classifier=f"{lamps / 'name.py'}:name",
    )  # fmt: skip
    rows = result.tables["instances by class"]
    assert [(row["by"], row["class"]) for row in rows] == [
        (by, name) for by in ("head", "grid") for name in ("hole", "lamp", "mean")
    ]
    assert sum(row["objects"] or 0 for row in rows if row["by"] == "head") > 0
    for by in ("head", "grid"):
        its = {row["class"]: row["AP"] for row in rows if row["by"] == by}
        assert its["mean"] == pytest.approx((its["hole"] + its["lamp"]) / 2)
    assert "with classes AP" in result.headline
    assert "COCO's mask AP with classes" in (tmp_path / "evaluation/heads.md").read_text()
    written = json.loads((tmp_path / "evaluation/heads.json").read_text())
    assert set(written["heads"]["instances"]["scores"]["head"]["named"]["classes"]) == {
        "hole",
        "lamp",
    }


def test_a_model_without_a_head_is_judged_by_the_masks_of_a_grid(tuned, lamps, tmp_path):
    data = {"path": str(lamps / "labels.json"), "val_fraction": 0.0, "test_fraction": 0.5}
    result = samtune.evaluate(
        tuned, data=data, out=tmp_path / "evaluation", against="none",
        classifier=f"{lamps / 'name.py'}:name",
    )  # fmt: skip
    assert [row["by"] for row in result.tables["grid by class"]] == ["grid"] * 3
    with pytest.raises(UserError, match="classifier names masks"):
        samtune.evaluate(tuned, what="prompts", classifier="x:y")
