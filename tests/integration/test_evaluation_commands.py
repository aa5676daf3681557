"""Evaluation beyond the two-line answer: own prompts, forgetting, calibration, scales, curves."""

import csv
import json
import shutil

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from samtune.cli import main
from samtune.data.datamodule import SamDataModule
from samtune.data.settings import DataSettings
from samtune.evaluation.asking import AskedImage
from samtune.models.loading import load_model
from samtune.models.lora import prepare_for_training
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings
from samtune.tasks.opening import open_data
from tests.conftest import SIDE, write_discs

ALONE = ["--general", "none", "--gallery", "0"]


@pytest.fixture
def run(lora_run, tmp_path):
    """A run that may be changed."""
    return shutil.copytree(lora_run, tmp_path / "run")


def results(folder):
    return json.loads((folder / "results.json").read_text())


def test_the_whole_report_follows_its_schema_and_says_how_it_came_about(
    run, tmp_path, request, monkeypatch
):
    monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 5)
    out = tmp_path / "out"
    arguments = ["evaluate", str(run), "--protocols", "box", "clicks_2", "box_jitter_20"]
    assert main([*arguments, "--repeats", "2", "--gallery", "9", "--out", str(out)]) == 0
    found = results(out)
    schema = request.config.rootpath / "samtune/evaluation/results.schema.json"
    jsonschema.validate(found, json.loads(schema.read_text()))
    assert found["general"]["name"] == "drawn"
    assert found["general"]["protocols"]["box"]["num_images"] == 5
    assert found["protocols"]["box"]["repeats"] is None
    assert len(found["protocols"]["box_jitter_20"]["repeats"]["base"]) == 2
    assert found["protocols"]["clicks_2"]["clicks"]["tuned"]["noc"].keys() == {"80", "85", "90"}
    about = found["about"]
    assert about["command"].startswith(f"samtune evaluate {run} --protocols box clicks_2")
    assert about["base_sha256"] != about["weights_sha256"]
    assert len(about["data_sha256"]) == 64
    assert about["versions"].keys() >= {"samtune", "torch", "python"}


def test_the_same_data_elsewhere_have_the_same_hash_and_other_data_another(run, discs, tmp_path):
    hashes = []
    for name in ("moved", "changed"):
        data = shutil.copytree(discs, tmp_path / name)
        if name == "changed":
            (data / "test" / "labels" / "0.png").unlink()
            shutil.copy(data / "test" / "labels" / "1.png", data / "test" / "labels" / "0.png")
        out = tmp_path / f"out-{name}"
        arguments = ["evaluate", str(run), "--data.path", str(data), "--protocols", "box", *ALONE]
        assert main([*arguments, "--out", str(out)]) == 0
        hashes.append(results(out)["about"]["data_sha256"])
    assert (
        main(["evaluate", str(run), "--protocols", "box", *ALONE, "--out", str(tmp_path / "o")])
        == 0
    )
    original = results(tmp_path / "o")["about"]["data_sha256"]
    assert [found == original for found in hashes] == [True, False]


def test_results_that_are_replaced_are_named(run, tmp_path, capsys):
    arguments = ["evaluate", str(run), "--protocols", "box", "--max_images", "1", *ALONE]
    told = f"the results in {tmp_path / 'out'} are replaced"
    for is_there in (False, True):
        assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
        assert (told in capsys.readouterr().out) == is_there


def test_an_identical_model_differs_by_exactly_nothing_and_says_so(discs, tmp_path, capsys):
    sam = load_model("nano")
    prepare_for_training(sam, "lora", LoraSettings(rank=2), "full")
    save_tuned(sam, tmp_path / "same")
    arguments = ["evaluate", str(tmp_path / "same"), "--data.path", str(discs), *ALONE]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    found = results(tmp_path / "out")
    assert found["headline"] == (
        "Tuned and base answer alike on 6 objects in 2 images: the difference is exactly 0."
    )
    assert all(block["delta"]["miou"] == 0 for block in found["protocols"].values())
    assert "the difference is exactly 0" in capsys.readouterr().out


@pytest.mark.slow
def test_own_prompts_are_asked_beside_the_protocols(run, discs, tmp_path, capsys):
    image = discs / "test" / "images" / "0.png"
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"image": str(image), "box": [0, 0, 63, 63], "id": 2}]))
    arguments = ["evaluate", str(run), "--protocols", "box", "--prompts", str(file), *ALONE]
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    found = results(tmp_path / "out")["protocols"]
    assert list(found) == ["box", "own"]
    assert (found["own"]["num_objects"], found["own"]["num_images"]) == (1, 1)
    alone = ["evaluate", str(run), "--protocols", "--prompts", str(file), *ALONE]
    assert main(alone) == 0
    capsys.readouterr()
    assert main([*alone, "--data.tile", "32", "--data.tile_overlap", "8"]) == 2
    assert "prompts of your own are for whole images: set data.tile to 0" in capsys.readouterr().err
    assert main([*alone, "--split", "val"]) == 2
    assert "none of your own prompts is for an object" in capsys.readouterr().err
    labels = np.asarray(Image.open(discs / "test" / "labels" / "0.png"))
    rows, columns = np.nonzero(labels == 2)
    box = [columns.min(), rows.min(), columns.max(), rows.max()]
    entries = [{"image": "0.png", "box": list(map(int, b))} for b in (box, [0, 0, 1, 1])]
    file.write_text(json.dumps(entries))  # found among the images of the data, by name
    assert main(alone) == 0
    assert "own prompts: 1 of 2 are for objects of these images" in capsys.readouterr().out


def test_groups_of_images_are_clusters_and_columns_are_parts(discs, run, tmp_path):
    data = tmp_path / "data"
    for kind in ("images", "labels"):
        (data / kind).mkdir(parents=True)
        for number in range(4):
            file = discs / "train" / kind / f"{number}.png"
            shutil.copy(file, data / kind / f"{number}.png")
    rows = [f"{n},test,patient{n // 2},{'ct' if n < 2 else 'mr'}" for n in range(4)]
    (data / "manifest.csv").write_text("\n".join(["id,split,patient,modality", *rows]) + "\n")
    arguments = ["evaluate", str(run), "--data.path", str(data), "--protocols", "box", *ALONE]
    assert main([*arguments, "--data.group_column", "patient", "--out", str(tmp_path / "o")]) == 0
    box = results(tmp_path / "o")["protocols"]["box"]
    assert (box["num_images"], box["num_clusters"]) == (4, 2)
    with (tmp_path / "o" / "objects.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["cluster"] for line in lines} == {"patient0", "patient1"}
    assert {line["column_modality"] for line in lines} == {"ct", "mr"}


def test_tiles_of_one_image_are_one_cluster(run, discs, tmp_path):
    arguments = ["evaluate", str(run), "--protocols", "box", "--data.tile", "40", *ALONE]
    assert main([*arguments, "--data.tile_overlap", "8", "--out", str(tmp_path / "o")]) == 0
    box = results(tmp_path / "o")["protocols"]["box"]
    assert box["num_images"] > 2
    assert box["num_clusters"] == 2


class TestMistakes:
    @pytest.mark.parametrize(
        ("flags", "reason"),
        [
            (["--general", "nowhere"], "general is nowhere: there is no such folder"),
            (["--gallery", "-1"], "--gallery is '-1'"),
            (["--max_images", "-1"], "--max_images is '-1'"),
            (["--repeats", "0"], "--repeats is '0'"),
            (["--spacing", "nan", "1"], "spacing is [nan, 1.0]"),
            (["--tolerance", "-1"], "--tolerance is '-1'"),
            (["--protocols"], "there is nothing to ask"),
        ],
    )
    def test_they_are_said_before_any_work(self, run, capsys, flags, reason):
        assert main(["evaluate", str(run), *flags]) == 2
        told = capsys.readouterr()
        assert reason in told.err
        assert "evaluating" not in told.out

    def test_a_diverged_model_is_called_so(self, run, capsys):
        file = run / "adapter" / "adapter_model.safetensors"
        tensors = load_file(file)
        name = next(name for name in tensors if "lora_B" in name)
        save_file({**tensors, name: torch.full_like(tensors[name], float("nan"))}, file)
        assert main(["evaluate", str(run), "--protocols", "box", *ALONE]) == 2
        assert "hold NaN or infinite values" in capsys.readouterr().err

    def test_images_of_training_are_not_held_out(self, run, tmp_path, capsys):
        arguments = ["evaluate", str(run), "--split", "train", "--protocols", "box", *ALONE]
        assert main([*arguments, "--out", str(tmp_path / "o")]) == 0
        (warning,) = [w for w in results(tmp_path / "o")["warnings"] if "not held out" in w]
        assert warning.startswith("not held out: 4 of 4 images were used in training")

    def test_other_images_do_not_overwrite_the_report_on_test_images(self, run):
        arguments = ["evaluate", str(run), "--protocols", "box", "--split", "val", *ALONE]
        assert main(arguments) == 0
        assert (run / "evaluation-val" / "results.json").exists()
        assert not (run / "evaluation").exists()  # which model cards are made of

    def test_a_checkpoint_does_not_overwrite_the_run_s_own_report(self, run):
        checkpoint = next((run / "checkpoints").glob("*.ckpt"))
        assert main(["evaluate", str(checkpoint), "--protocols", "box", *ALONE]) == 0
        assert (run / f"evaluation-{checkpoint.stem}" / "results.json").exists()
        assert not (run / "evaluation").exists()

    def test_a_name_of_the_registry_is_that_model_whatever_lies_there(
        self, run, discs, tmp_path, monkeypatch
    ):
        shutil.copytree(run / "adapter", tmp_path / "nano")
        monkeypatch.chdir(tmp_path)
        arguments = ["evaluate", "nano", "--data.path", str(discs), "--protocols", "box", *ALONE]
        assert main([*arguments, "--out", "o"]) == 0
        assert results(tmp_path / "o")["protocols"]["box"]["tuned"] is None


def test_spacing_comes_from_the_manifest(discs, run, tmp_path, capsys):
    data = shutil.copytree(discs / "test", tmp_path / "data")
    distances = {}
    for name, spacing in (("none", ""), ("half", "0.5"), ("bad", "x")):
        rows = [f"{n},test,{spacing},{spacing}" for n in range(2)]
        text = "\n".join(["id,split,spacing_row,spacing_column", *rows]) + "\n"
        (data / "manifest.csv").write_text(text)
        arguments = ["evaluate", str(run), "--data.path", str(data), "--protocols", "box", *ALONE]
        code = main([*arguments, "--out", str(tmp_path / name)])
        if name == "bad":
            assert code == 2
            assert "a spacing of x and x: numbers above 0 are needed" in capsys.readouterr().err
        else:
            distances[name] = results(tmp_path / name)["protocols"]["box"]["base"]["hd95"]
    assert distances["half"] == pytest.approx(distances["none"] / 2)


def test_a_base_is_asked_as_its_user_would_ask_it(run, discs, tmp_path):
    metadata = json.loads((run / "adapter" / "samtune.json").read_text())
    (run / "adapter" / "samtune.json").write_text(json.dumps({**metadata, "with_multimask": False}))
    for name, *model in (("tuned", str(run)), ("base", "nano", "--image_size", str(SIDE))):
        arguments = ["evaluate", *model, "--data.path", str(discs), "--protocols", "point", *ALONE]
        assert main([*arguments, "--out", str(tmp_path / name)]) == 0
    found = results(tmp_path / "tuned")
    assert found["about"]["multimask"] == {"base": True, "tuned": False}
    alone = results(tmp_path / "base")["protocols"]["point"]
    assert found["protocols"]["point"]["base"]["miou"] == pytest.approx(alone["base"]["miou"])


class TestCalibrate:
    def test_scores_are_calibrated_from_then_on_and_the_report_tells(self, run, tmp_path, capsys):
        assert main(["calibrate", str(run)]) == 0
        assert "temperature fit on 30 masks of the split 'val'" in capsys.readouterr().out
        assert load_model(run).calibration.num_masks == 30
        out = tmp_path / "out"
        assert main(["evaluate", str(run), "--protocols", "box", *ALONE, "--out", str(out)]) == 0
        found = results(out)
        assert list(found["protocols"]["box"]["calibration"]) == ["base", "tuned", "calibrated"]
        assert [each["iou"] for each in found["review"]] == [0.7, 0.7, 0.8, 0.8, 0.9, 0.9]

    def test_a_base_has_nowhere_to_keep_it(self, capsys):
        assert main(["calibrate", "nano"]) == 2
        assert "nano holds no tuned model" in capsys.readouterr().err

    def test_too_few_masks_are_said(self, run, capsys):
        assert main(["calibrate", str(run), "--protocols", "box"]) == 2
        assert "6 masks are too few" in capsys.readouterr().err
        assert not (run / "adapter" / "calibration.json").exists()


class TestScale:
    def test_ends_are_base_and_tuned_and_the_knee_is_named(self, run, discs, tmp_path, capsys):
        arguments = ["scale", str(run), "--scales", "0.5", "--general", str(discs)]
        assert main([*arguments, "--split", "test"]) == 0
        found = json.loads((run / "scale" / "scale.json").read_text())
        assert [point["scale"] for point in found["points"]] == [0.0, 0.5, 1.0]
        assert f"The knee is at scale {found['knee']:g}" in capsys.readouterr().out
        assert (run / "scale" / "scale.html").read_text().startswith("<!doctype html>")
        out = tmp_path / "out"
        names = ["--protocols", "box", "point"]
        assert main(["evaluate", str(run), *names, *ALONE, "--out", str(out)]) == 0
        blocks = results(out)["protocols"].values()
        for scale, name in ((0, "base"), (2, "tuned")):
            mean = sum(block[name]["miou"] for block in blocks) / 2
            assert found["points"][scale]["domain"] == pytest.approx(mean, abs=1e-6)

    def test_a_model_is_written_at_a_scale(self, run, tmp_path):
        out = tmp_path / "half"
        assert main(["scale", str(run), "--write", "0.5", "--out", str(out)]) == 0
        half = load_model(out).network.peft_config["default"]
        whole = load_model(run).network.peft_config["default"]
        assert half.lora_alpha == whole.lora_alpha / 2

    def test_mistakes_are_said(self, run, capsys):
        assert main(["scale", "nano", "--general", "x"]) == 2
        assert main(["scale", str(run), "--scales", "-1"]) == 2
        for value in ("-1", "nan", "inf"):
            assert main(["scale", str(run), "--write", value]) == 2
        assert main(["scale", str(run), "--general", "none"]) == 2
        told = capsys.readouterr().err.splitlines()
        assert len(told) == 6
        assert "scales are 0 or more" in told[1]


class TestCompare:
    def test_models_are_ranked_on_the_same_prompts(self, run, discs, tmp_path, capsys):
        twin = shutil.copytree(run, tmp_path / "twin")
        out = tmp_path / "out"
        arguments = ["compare", str(run), str(twin), "nano", "--protocols", "box", "point"]
        assert main([*arguments, "--out", str(out)]) == 0
        ranking = json.loads((out / "comparison.json").read_text())["ranking"]
        assert list(ranking) == ["all", "box", "point"]
        for places in ranking.values():
            scores = [place["miou"] for place in places]
            assert scores == sorted(scores, reverse=True)
            by_model = {place["model"]: place for place in places}
            assert by_model[str(run)]["miou"] == by_model[str(twin)]["miou"]
        assert "is the best over all protocols" in capsys.readouterr().out
        found = {place["model"]: place["miou"] for place in ranking["box"]}
        flags = ["--data.path", str(discs), "--protocols", "box", *ALONE]
        for model, name in ((str(run), "tuned"), ("nano", "base")):
            alone = tmp_path / name
            assert main(["evaluate", model, *flags, "--out", str(alone)]) == 0
            box = results(alone)["protocols"]["box"]
            assert found[model] == pytest.approx(box[name]["miou"], abs=1e-6)

    def test_images_that_one_model_was_trained_on_are_left_out(self, fast, tmp_path, capsys):
        write_discs(tmp_path, "data", 12)
        runs = []
        for seed in (0, 1):
            runs.append(tmp_path / f"run{seed}")
            arguments = ["fit", "--data.path", str(tmp_path / "data"), "--run", str(runs[-1])]
            arguments += ["--seed", str(seed), "--trainer.max_steps", "1"]
            assert main([*arguments, "--data.test_fraction", "0.5", *fast]) == 0
        names = [str(run) for run in runs]
        arguments = ["compare", *names, "--protocols", "box", "--out", str(tmp_path / "out")]
        assert main(arguments) == 0
        told = capsys.readouterr().out
        known = [
            {record.image_id for s in ("train", "val") for record in data.source(s).records}
            for data in (open_data(run) for run in runs)
        ]
        asked = {record.image_id for record in open_data(runs[0]).source("test").records}
        assert 0 < len(asked & known[1]) < len(asked)
        assert f"{len(asked & known[1])} images are left out" in told

    def test_one_model_is_nothing_to_compare(self, run, capsys):
        assert main(["compare", str(run), str(run)]) == 2
        assert "name two models or more" in capsys.readouterr().err


class TestLearningCurve:
    @pytest.mark.slow
    def test_sizes_and_seeds_and_a_second_start(self, discs, fast, tmp_path, capsys):
        config = tmp_path / "curve.yaml"
        config.write_text(f"choose: false\ndata:\n  path: {discs}\ntrainer:\n  max_epochs: 1\n")
        out, choose = tmp_path / "curve", fast.index("--choose")
        command = [
            "learning-curve", "--config", str(config), "--out", str(out), *fast[:choose],
            *fast[choose + 2 :], "--data.batch_size", "2", "--model.optim.lr", "0.02",
        ]  # fmt: skip
        arguments = [*command, "--sizes", "1,all", "--seeds", "2"]
        assert main(arguments) == 0
        runs = sorted(path.name for path in out.iterdir() if path.is_dir())
        assert runs == ["images1-seed0", "images1-seed1", "images4-seed0", "images4-seed1"]
        curve = json.loads((out / "curve.json").read_text())["curves"]
        for points in curve.values():
            assert [point["num_images"] for point in points] == [1, 4]
            assert points[0]["base"] == points[1]["base"]
            assert all(len(point["by_seed"]) == 2 for point in points)
            assert points[0]["by_seed"][0] != points[0]["by_seed"][1]
        told = capsys.readouterr().out
        assert "4 runs of 2 steps each, sizes [1, 4]" in told
        # as many steps for one image as for four
        steps = [(out / name / "metrics.csv").read_text().count("\n") for name in runs]
        assert len(set(steps)) == 1
        assert main([*arguments, "--trainer.max_epochs", "2"]) == 2
        assert "holds a curve with other settings and steps" in capsys.readouterr().err
        shutil.rmtree(out / "images1-seed1")
        before = (out / "images4-seed0" / "evaluation" / "objects.csv").stat().st_mtime_ns
        assert main(arguments) == 0
        assert (out / "images4-seed0" / "evaluation" / "objects.csv").stat().st_mtime_ns == before
        assert json.loads((out / "curve.json").read_text())["curves"] == curve
        # other protocols are asked of the runs that are there
        assert main([*command, "--sizes", "1", "--seeds", "1", "--protocols", "box"]) == 0
        (asked,) = json.loads((out / "curve.json").read_text())["curves"].items()
        assert asked[0] == "box"
        assert asked[1][0]["by_seed"] == curve["box"][0]["by_seed"][:1]

    @pytest.mark.parametrize(
        ("flags", "reason"),
        [
            (["--sizes", "0,5"], "numbers from 1 up"),
            (["--sizes", "many"], "choose from all, a whole number"),
            (["--seeds", "0"], "whole number of at least 1"),
            (["--run", "x"], "unknown option --run"),
            (["--protocols", "bx"], "unknown protocol 'bx'"),
        ],
    )
    def test_mistakes_are_said(self, discs, tmp_path, capsys, flags, reason):
        config = tmp_path / "curve.yaml"
        config.write_text(f"data:\n  path: {discs}\ntrainer:\n  max_epochs: 1\n")
        assert (
            main(["learning-curve", "--config", str(config), *flags, "--out", str(tmp_path)]) == 2
        )
        assert reason in capsys.readouterr().err


class TestTrainingImages:
    def ids(self, discs, **settings):
        data = SamDataModule(DataSettings(discs, **settings))
        return [record.image_id for record in data.source("train").records]

    def test_fewer_are_among_more_and_seeds_draw_others(self, discs):
        everything = self.ids(discs)
        two, three = self.ids(discs, train_images=2), self.ids(discs, train_images=3)
        assert (len(two), len(three)) == (2, 3)
        assert set(two) < set(three) < set(everything)
        assert len({tuple(self.ids(discs, train_images=1, seed=n)) for n in range(10)}) > 1
        assert self.ids(discs, train_images=99) == everything

    def test_splits_stay_while_the_seed_changes(self, discs, tmp_path):
        for kind in ("images", "labels"):
            shutil.copytree(discs / "train" / kind, tmp_path / kind)
        tests = {
            seed: [
                record.image_id
                for record in SamDataModule(
                    DataSettings(tmp_path, seed=seed, split_seed=7, test_fraction=0.5)
                ).source("test").records
            ]
            for seed in range(5)
        }  # fmt: skip
        assert len(set(map(tuple, tests.values()))) == 1


class TestInterrupted:
    """A command that broke off goes on where it stopped, to the same results."""

    @pytest.fixture
    def asked(self, monkeypatch):
        """Images that are asked; the process is interrupted where `stop_at` says."""
        images, rows = [], AskedImage.rows

        def watched(image, *arguments):
            if len(images) == watched.stop_at:
                raise KeyboardInterrupt
            images.append(image.sample.image_id)
            return rows(image, *arguments)

        watched.stop_at = 1
        monkeypatch.setattr(AskedImage, "rows", watched)
        return images, watched

    @pytest.fixture
    def broken_off(self, asked, capsys):
        """A function that runs a command, breaks it off, and runs it again."""

        def run(command, num_left):
            images, watched = asked
            assert main(command) == 2
            assert "the same command goes on where this one stops" in capsys.readouterr().err
            watched.stop_at = -1
            images.clear()
            assert main(command) == 0
            assert len(images) == num_left

        return run

    @pytest.mark.slow
    def test_evaluate(self, run, tmp_path, broken_off, monkeypatch):
        monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 1)
        out = tmp_path / "out"
        command = ["evaluate", str(run), "--protocols", "box", "point", "--out", str(out)]
        broken_off(command, num_left=4)  # the two images without focus come after the general one
        assert not out.with_name("out.partial").exists()
        found = {file.name: file.read_bytes() for file in out.iterdir()}
        assert main(command) == 0
        assert len(found) == 5
        assert found == {file.name: file.read_bytes() for file in out.iterdir()}

    def test_compare(self, run, tmp_path, broken_off):
        out = tmp_path / "out"
        command = ["compare", str(run), "nano", "--protocols", "box", "--out", str(out)]
        broken_off(command, num_left=3)
        assert not out.with_name("out.partial").exists()

    def test_calibrate(self, run, broken_off):
        command = ["calibrate", str(run), "--protocols", "box_jitter", "--repeats", "4"]
        broken_off(command, num_left=1)
        assert not list(run.rglob("*.partial"))

    @pytest.mark.slow
    def test_scale(self, run, broken_off, monkeypatch):
        monkeypatch.setattr("samtune.evaluation.forgetting.NUM_GENERAL", 1)
        command = ["scale", str(run), "--protocols", "box", "--scales", "0", "1"]
        broken_off(command, num_left=5)
        assert not list(run.rglob("*.partial"))
