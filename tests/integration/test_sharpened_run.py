"""A run with a sharpener: all who ask it get the same masks, and its adapter stays plain PEFT."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import samtune
from samtune.cli import main
from samtune.evaluation.contestants import BASE, TUNED, Contestants
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.inference.predictor import SamPredictor
from samtune.inference.prelabel.detections import Detection
from samtune.inference.prelabel.labelling import prelabel
from samtune.inference.views import ImageViews, ask_in_views
from samtune.masks import mask_to_box, rle_to_mask
from samtune.models.loading import load_model, tuned_sha256, tuned_weights_sha256
from samtune.models.saving import save_run
from samtune.models.sharpening.network import Sharpener
from samtune.models.sharpening.saving import write_sharpener
from samtune.models.strength import TunedScale
from samtune.tasks.evaluating import Asking
from samtune.tasks.opening import open_data
from samtune.tasks.sharpening_answers import _prompts
from samtune.types import Prompt

BOX = [12, 14, 40, 38]


@pytest.fixture(scope="module")
def run(lora_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharpened") / "run"
    shutil.copytree(lora_run, folder)
    torch.manual_seed(0)
    sharpener = Sharpener().eval()
    torch.nn.init.normal_(sharpener.last.weight, std=2.0)
    write_sharpener(sharpener, folder, tuned_weights_sha256(load_model(folder)))
    return folder


@pytest.fixture(scope="module")
def sam(run):
    return load_model(run)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)


def mask_of(sam, image, with_sharpening=True):
    views = ImageViews(image, sam, with_sharpening=with_sharpening)
    (viewed,) = ask_in_views(sam, views, [Prompt(box_xyxy=np.float32(BOX))])
    return next(viewed.masks(sam))


def test_its_adapter_alone_answers_as_sam_does(run, sam, image):
    plain = load_model(run / "adapter")
    assert len(sam.sharpeners) == 2
    assert len(plain.sharpeners) == 1  # its base's
    assert (
        mask_of(plain, image, with_sharpening=False) == mask_of(sam, image, with_sharpening=False)
    ).all()
    assert (mask_of(sam, image) != mask_of(plain, image)).any()
    plain.base_sharpeners = torch.nn.ModuleList()
    assert (mask_of(plain, image) == mask_of(sam, image, with_sharpening=False)).all()
    assert tuned_sha256(plain) == tuned_weights_sha256(sam) != tuned_sha256(sam)


def test_the_base_beside_it_is_sharpened_by_its_own_alone(run, sam, image):
    contestants = Contestants(sam, is_tuned=True)
    views = contestants.views(image, 0, with_focus=True)
    masks = {}
    for name in (BASE, TUNED):
        with contestants.playing(name) as player:
            (viewed,) = ask_in_views(player, views[name], [Prompt(box_xyxy=np.float32(BOX))])
            masks[name] = next(viewed.masks(player))
    plain = load_model(run / "adapter")
    with plain.base_weights():
        assert (masks[BASE] == mask_of(plain, image)).all()
    assert (masks[TUNED] == mask_of(sam, image)).all()


@pytest.mark.parametrize("focus", ["off", "auto"])
def test_a_predictor_gives_what_views_give(sam, image, focus):
    predictor = SamPredictor(sam, focus=focus)
    predictor.set_image(image)
    masks, _, _ = predictor.predict(box=np.array(BOX), multimask_output=False)
    how = {"with_multimask": False, "is_single": True}
    views = ImageViews(image, sam, with_focus=focus == "auto")
    (viewed,) = ask_in_views(sam, views, [Prompt(box_xyxy=np.float32(BOX))], **how)
    (expected,) = viewed.masks(sam)
    assert (masks[0] == expected).mean() > 0.999
    logits, _, _ = predictor.predict(box=np.array(BOX), multimask_output=False, return_logits=True)
    assert ((logits[0] > 0) == masks[0]).all()
    three, _, _ = predictor.predict(
        np.array([[25, 25]]), np.array([1]), multimask_output=True, return_logits=True
    )
    assert three.shape == (3, 64, 64)


def test_images_that_are_resized_already_have_no_pixels_to_look_at(run, image):
    both = []
    for folder in (run, run / "adapter"):
        predictor = SamPredictor(load_model(folder))
        values = torch.zeros(1, 3, predictor.model.image_size, predictor.model.image_size)
        predictor.set_torch_image(values, (64, 64))
        both.append(predictor.predict(box=np.array(BOX))[0])
    assert (both[0] == both[1]).all()


def test_predict_prelabel_and_views_agree(run, sam, image, tmp_path):
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "a.png")
    samtune.predict(run, [tmp_path / "a.png"], boxes=[BOX], out=tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.json")
    (told,) = json.loads(file.read_text())["annotations"]
    expected = mask_of(sam, image)
    assert (rle_to_mask(told["segmentation"]) == expected).all()
    detection = Detection(1, "row 1", "a", 1, None, (12, 14, 41, 39))
    (label,) = prelabel(sam, image, [detection]).objects
    part = rle_to_mask(label.rle)
    y, x = label.corner
    assert (part == expected[y : y + part.shape[0], x : x + part.shape[1]]).all()
    assert part.sum() == expected.sum()


def test_masks_of_a_grid_are_those_of_clicks_there(run, sam, image):
    lenient = {"points_per_side": 4, "pred_iou_thresh": 0, "stability_score_thresh": 0}
    found = AutomaticMaskGenerator(sam, **lenient).generate(image)
    blunt = AutomaticMaskGenerator(load_model(run / "adapter"), **lenient).generate(image)
    assert found
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    for each in found:
        masks, scores, _ = predictor.predict(np.array(each["point_coords"]), np.array([1]))
        expected = masks[np.abs(scores - each["predicted_iou"]).argmin()]
        assert (each["segmentation"] == expected).mean() > 0.999
        assert each["area"] == each["segmentation"].sum()
    points = {tuple(each["point_coords"][0]) for each in found}
    plain = [each["segmentation"] for each in blunt if tuple(each["point_coords"][0]) in points]
    assert not all(any((each["segmentation"] == mask).all() for mask in plain) for each in found)


def test_masks_of_a_grid_in_tiles_lie_where_those_of_each_tile_do(sam, image):
    lenient = {"points_per_side": 2, "pred_iou_thresh": 0, "stability_score_thresh": 0}
    generator = AutomaticMaskGenerator(sam, box_nms_thresh=1.0, **lenient)
    wide = np.concatenate([image, image[:, ::-1]], 1)
    x0, y0, x1, y1 = tile = (60, 4, 124, 60)
    found = generator.search(wide, [tile])
    assert found
    alone = generator.search(np.ascontiguousarray(wide[y0:y1, x0:x1]))
    known = {each.point_xy: [] for each in alone}
    for each in alone:
        known[each.point_xy].append(each.mask())
    for each in found:
        assert each.low_res_logits is None
        x, y = each.point_xy
        part = each.mask()[y0:y1, x0:x1]
        assert part.sum() == each.mask().sum()
        # beyond its tile a crop sees more of the image than the tile alone has
        assert max((part == mask).mean() for mask in known[x - x0, y - y0]) > 0.6


def test_a_base_within_the_model_finds_what_it_would_alone(run, sam, image):
    lenient = {"points_per_side": 4, "pred_iou_thresh": 0, "stability_score_thresh": 0}
    plain = load_model(run / "adapter")
    both = []
    for each in (sam, plain):
        with each.base_weights():
            both.append(AutomaticMaskGenerator(each, **lenient).generate(image))
    assert len(both[0]) == len(both[1]) > 0
    for one, other in zip(*both, strict=True):
        assert (one["segmentation"] == other["segmentation"]).all()


def test_half_precision_sharpens_too(run, image):
    sam = load_model(run)
    sam.sharpener.limit.fill_(1e6)
    whole = mask_of(sam, image)
    sam.sharpener.half()
    assert (mask_of(sam, image) == whole).mean() > 0.97


def test_strength_is_also_of_what_sharpens(run, image):
    sam = load_model(run)
    scale = TunedScale(sam)
    full = mask_of(sam, image)
    scale.set(0.0)
    with sam.base_weights():
        base = mask_of(sam, image)
    assert (mask_of(sam, image) == base).all()
    scale.set(0.5)
    assert sam.sharpener.settings.amount == 0.5
    scale.set(1.0)
    assert (mask_of(sam, image) == full).all()


def test_an_evaluation_says_what_sharpening_brings(run, discs, tmp_path):
    found = samtune.evaluate(
        run, protocols=["box"], general="none", out=tmp_path / "out", split="val"
    )
    assert [each["contestant"] for each in found.tables["sharpening"]] == ["base", "tuned"]
    base, row = found.tables["sharpening"]
    assert row["protocol"] == "box"
    assert "What sharpening masks brings" in (tmp_path / "out/report.html").read_text()
    assert "without sharpening" in (tmp_path / "out/report.md").read_text()
    plain = samtune.evaluate(
        run / "adapter", protocols=["box"], general="none", out=tmp_path / "plain", split="val"
    )
    (its_base, alone) = plain.tables["sharpening"]
    assert its_base == base
    assert row["without"] == pytest.approx(alone["without"], abs=1e-6)
    assert row["with"] == pytest.approx(found.results["protocols"]["box"]["tuned"]["miou"])
    assert alone["with"] == pytest.approx(plain.results["protocols"]["box"]["tuned"]["miou"])


def test_an_export_says_that_it_stays_behind(run, tmp_path, capsys):
    assert main(["export", str(run), "--to", "adapter", "--out", str(tmp_path / "x")]) == 0
    assert "which no export holds" in " ".join(capsys.readouterr().out.split())
    assert "## Sharpened masks" in (tmp_path / "x" / "README.md").read_text()
    assert not list((tmp_path / "x").rglob("sharpener*"))


def test_that_of_other_weights_is_told_where_it_is_loaded(run, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    file = other / "sharpener" / "sharpener.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"weights_sha256": "0"}))
    assert main(["evaluate", str(other)]) == 2
    assert "sharpens the masks of other weights" in " ".join(capsys.readouterr().err.split())


def test_fit_measures_it_and_keeps_it_only_where_it_helps(discs, tmp_path, fast):
    flags = [each for each in fast if each not in ("--choose", "false")]
    run = tmp_path / "run"
    more = ["--trainer.max_epochs", "1", "--choose", "true"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags, *more]) == 0
    choice = json.loads((run / "choice.json").read_text())
    sharpened = [each for each in choice["candidates"] if each["sharpening"]]
    assert sharpened
    assert sharpened[0]["sharpening"] == 0.5
    is_kept = any(each["is_chosen"] for each in sharpened)
    assert (run / "sharpener").is_dir() == is_kept
    assert (load_model(run).sharpener is not None) == is_kept


def test_fit_leaves_it_away_where_nobody_wants_it(discs, tmp_path, fast):
    flags = [each for each in fast if each not in ("--choose", "false")]
    run = tmp_path / "run"
    more = ["--trainer.max_epochs", "1", "--choose", "true", "--sharpen", "false"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags, *more]) == 0
    choice = json.loads((run / "choice.json").read_text())
    assert not any(each["sharpening"] for each in choice["candidates"])
    assert not (run / "sharpener").exists()


def test_as_a_base_it_sharpens_as_before(run, sam, image, discs, tmp_path, fast):
    flags = ["fit", "--data.path", str(discs), "--run", str(tmp_path / "run"), *fast]
    assert main([*flags, "--base", str(run), "--trainer.max_epochs", "1"]) == 0
    again = load_model(tmp_path / "run")
    assert again.sharpener is None
    assert len(again.base_sharpeners) == 2
    with again.base_weights():
        # its adapter is merged into the base's weights, which rounds
        assert (mask_of(again, image) == mask_of(sam, image)).mean() > 0.999


def _blank():
    return Sharpener().eval().requires_grad_(False)


def test_weaker_weights_are_kept_where_they_forget_less(discs, tmp_path, fast, monkeypatch):
    """Every candidate gains 0.1 more by sharpening; only one of them forgets little enough."""
    from samtune.evaluation.choice import Candidate
    from samtune.evaluation.statistics import Difference
    from samtune.tasks.choosing import AskedBase

    allowed = {(0.75, 0.5), (1.0, 0.0)}
    gained = Difference(0.1, [0.0, 0.2], 0.01, 0.1, 1, 0, 0, False)

    def measure(asked, sam, weights, strength, sharpening, seed, best):
        forgotten = 0.0 if (strength, sharpening) in allowed and weights == "last" else -1.0
        mean = 0.1 + 0.1 * bool(sharpening) + 0.01 * strength
        domain = {"box": replace(gained, mean=mean)}
        found = {"box": "unclear"}
        return Candidate(weights, strength, domain, {"box": forgotten}, found, sharpening)

    monkeypatch.setattr(AskedBase, "measure", measure)
    # what it has learned is not asked here
    monkeypatch.setattr("samtune.tasks.sharpening.learn_to_sharpen", lambda *_: _blank())
    flags = [each for each in fast if each not in ("--choose", "false")]
    run = tmp_path / "run"
    more = ["--trainer.max_epochs", "1", "--choose", "true"]
    assert main(["fit", "--data.path", str(discs), "--run", str(run), *flags, *more]) == 0
    choice = json.loads((run / "choice.json").read_text())
    (chosen,) = [each for each in choice["candidates"] if each["is_chosen"]]
    assert (chosen["strength"], chosen["sharpening"]) == (0.75, 0.5)
    sam = load_model(run)
    assert sam.sharpener.settings.amount == 0.5
    config = sam.network.peft_config["default"]
    last = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["samtune"]["lora"]
    assert config.lora_alpha == pytest.approx(0.75 * last["alpha"])


def test_an_exact_box_and_one_other_prompt_are_asked_for_each_object(discs):
    data = open_data(None, None, discs)
    sam, source = load_model("nano", image_size=128), data.source("train")
    sample = source.read(0)
    settings = Asking(("box",)).settings(data, "train", sam)
    prompts, truths = _prompts(sam, sample, settings)
    for exact, other, truth in zip(prompts[::2], prompts[1::2], truths[::2], strict=True):
        assert exact.box_xyxy.tolist() == mask_to_box(truth).tolist()
        assert other.box_xyxy is None or other.box_xyxy.tolist() != exact.box_xyxy.tolist()
    assert len(prompts) == len(truths) == 2 * len(np.unique(sample.labels[sample.labels > 0]))


def test_a_model_that_is_saved_at_a_scale_is_sharpened_by_as_much(run, tmp_path, image):
    half = samtune.scale(run, write=0.5, out=tmp_path / "half")
    again = load_model(tmp_path / "half")
    assert half.model == tmp_path / "half" / "adapter"
    assert again.sharpener.settings.amount == 0.5
    sam = load_model(run)
    TunedScale(sam).set(0.5)
    assert (mask_of(again, image) == mask_of(sam, image)).all()
    samtune.scale(run, write=0.0, out=tmp_path / "none")
    assert load_model(tmp_path / "none").sharpener is None


def test_what_a_predictor_feeds_back_is_sams_own(run):
    image = np.random.default_rng(1).integers(0, 256, (400, 500, 3)).astype(np.uint8)
    low_res = []
    for folder in (run, run / "adapter"):
        predictor = SamPredictor(load_model(folder), focus="auto")
        predictor.set_image(image)
        low_res.append(predictor.predict(box=np.array([30, 40, 44, 52]))[2])
    assert (low_res[0] == low_res[1]).all()


def test_other_weights_in_a_run_leave_no_sharpener_of_the_old_ones(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    sam = load_model(copy / "adapter")
    with torch.no_grad():
        next(p for n, p in sam.named_parameters() if "lora_B" in n).add_(1.0)
    save_run(sam, copy)  # as each validation of a training that goes on does
    assert load_model(copy).sharpener is None
