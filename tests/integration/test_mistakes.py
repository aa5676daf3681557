"""Mistakes that users make: one clear line, exit code 2, no traceback, nothing lost."""

import shutil
import sys

import pytest
from PIL import Image
from pytorch_lightning.strategies import FSDPStrategy, ModelParallelStrategy, SingleDeviceStrategy

from samtune.cli import main
from samtune.errors import UserError
from samtune.training.preparing import _require_whole_weights


def fails(capsys, arguments, *parts):
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert message.startswith("samtune: ")
    assert "Traceback" not in message
    for part in parts:
        assert str(part) in message


@pytest.fixture
def copied(discs, tmp_path):
    return shutil.copytree(discs, tmp_path / "copied")


def test_unknown_command(capsys):
    fails(capsys, ["fitt"], "fitt", "evaluate")


def test_missing_data(capsys, tmp_path, fast):
    fails(capsys, ["fit", "--data.path", tmp_path / "no", *fast], tmp_path / "no", "data.path")


def test_empty_folder(capsys, tmp_path, fast):
    fails(capsys, ["fit", "--data.path", tmp_path, *fast], "not recognised", "images/")


def test_images_without_masks(capsys, copied, tmp_path, fast):
    (copied / "train" / "labels" / "0.png").unlink()
    fails(
        capsys, ["fit", "--data.path", copied, "--run", tmp_path / "r", *fast], "0.png", "no mask"
    )


def test_mask_of_another_size(capsys, copied, tmp_path, fast):
    Image.new("L", (10, 20)).save(copied / "train" / "labels" / "0.png")
    arguments = ["fit", "--data.path", copied, "--run", tmp_path / "r", *fast]
    fails(capsys, arguments, "0.png", "10x20", "64x64")


@pytest.mark.parametrize("workers", ["0", "1"])
def test_truncated_image_is_named(capsys, copied, tmp_path, fast, workers):
    file = copied / "train" / "images" / "1.png"
    file.write_bytes(file.read_bytes()[:200])
    arguments = ["fit", "--data.path", copied, "--run", tmp_path / "r", *fast]
    fails(capsys, [*arguments, "--data.num_workers", workers], "1.png", "skip")


def test_truncated_image_can_be_left_out(copied, tmp_path, fast):
    file = copied / "train" / "images" / "1.png"
    file.write_bytes(file.read_bytes()[:200])
    arguments = ["fit", "--data.path", str(copied), "--run", str(tmp_path / "r"), *fast]
    arguments += ["--data.on_error", "skip", "--trainer.max_epochs", "1"]
    assert main(arguments) == 0


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--model.lora.rnak", "8"),
        ("--model.lora.rank", "many"),
        ("--model.mode", "lorra"),
        ("--data.recipe", "sam7"),
        ("--data.batch_size", "0"),
        ("--trainer.max_epoch", "3"),
    ],
)
def test_misspelt_settings(capsys, discs, tmp_path, flag, value):
    name = flag.rpartition(".")[2]
    fails(capsys, ["fit", "--data.path", discs, "--run", tmp_path / "r", flag, value], name)
    assert not (tmp_path / "r").exists()


def test_missing_config(capsys, tmp_path):
    fails(capsys, ["fit", "--config", tmp_path / "no.yaml"], "no.yaml")


def test_config_that_is_no_yaml(capsys, tmp_path):
    (tmp_path / "c.yaml").write_text("model: [unclosed\n")
    fails(capsys, ["fit", "--config", tmp_path / "c.yaml"])


@pytest.mark.parametrize("inner", ["", "inner/x"])
def test_a_file_where_the_outputs_should_go(capsys, discs, tmp_path, fast, inner):
    (tmp_path / "file").write_text("mine")
    image, out = discs / "test" / "images" / "0.png", tmp_path / "file" / inner
    where = (out, "nothing can be written into a folder", "give another name")
    commands = (
        ["segment", "nano", image, "--search.points_per_side", "2", "--out", out],
        ["predict", "nano", image, "--points", "9,9", "--out", out],
    )
    for command in commands:
        if not inner:
            fails(capsys, command, f"{out} is there already", "--overwrite")
        fails(capsys, [*command, "--overwrite"], str(out), "written")
    fails(capsys, ["export", "nano", "--to", "hf", "--out", out / "x"], *where)
    if inner:  # a run that is there already is refused before
        fails(capsys, ["fit", "--data.path", discs, "--run", out, *fast], *where)
    assert (tmp_path / "file").read_text() == "mine"


def test_unknown_base(capsys, discs, tmp_path, fast):
    arguments = ["fit", "--data.path", discs, "--run", tmp_path / "r", *fast]
    fails(capsys, [*arguments, "--base", "vit_x"], "vit_x", "vit_b")


def test_truncated_checkpoint(capsys, tmp_path):
    (tmp_path / "sam.pth").write_bytes(b"PK\x03\x04 not a checkpoint")
    fails(
        capsys,
        ["predict", tmp_path / "sam.pth", tmp_path, "--points", "1,1"],
        "there are no images",
    )
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    arguments = ["predict", tmp_path / "sam.pth", tmp_path / "a.png", "--points", "1,1"]
    fails(capsys, arguments, "sam.pth", "truncated")


def test_adapter_on_another_base(capsys, lora_run, tmp_path, discs):
    run = shutil.copytree(lora_run, tmp_path / "run")
    file = run / "adapter" / "samtune.json"
    text = file.read_text()
    start = text.index('"sha256": "') + len('"sha256": "')
    file.write_text(text[:start] + "0" * 64 + text[start + 64 :])
    fails(capsys, ["evaluate", run, "--out", tmp_path / "e"], "other weights", "sha256")


def test_truncated_adapter(capsys, lora_run, tmp_path):
    run = shutil.copytree(lora_run, tmp_path / "run")
    weights = run / "adapter" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    fails(capsys, ["evaluate", run, "--out", tmp_path / "e"], "adapter")


def test_resume_without_a_checkpoint(capsys, tmp_path):
    fails(capsys, ["resume", tmp_path], "last.ckpt")


def test_unknown_protocol(capsys, lora_run):
    fails(capsys, ["evaluate", lora_run, "--protocols", "bx"], "bx", "box")


def test_evaluation_without_data(capsys):
    fails(capsys, ["evaluate", "nano"], "--data.path")


def test_unknown_option(capsys, lora_run):
    fails(capsys, ["evaluate", lora_run, "--splitt", "val"], "--splitt")


def test_predict_without_a_prompt(capsys, lora_run, discs):
    fails(capsys, ["predict", lora_run, discs / "test" / "images"], "--points")


@pytest.mark.parametrize(
    "prompt",
    [("--points", "3"), ("--boxes", "1,2,3"), ("--boxes", "9,9,1,1"), ("--points", "900,1"),
     ("--boxes", "0,0,99,99")],
)  # fmt: skip
def test_malformed_prompts(capsys, lora_run, discs, tmp_path, prompt):
    image = discs / "test" / "images" / "0.png"
    fails(capsys, ["predict", lora_run, image, *prompt, "--out", tmp_path / "o"])
    assert not (tmp_path / "o").exists()  # or the right prompt would be refused


def test_export_never_overwrites(capsys, lora_run, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("mine")
    fails(capsys, ["export", lora_run, "--to", "hf", "--out", tmp_path / "a"], "is there already")
    assert (tmp_path / "a" / "b").read_text() == "mine"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--to", "tflite"), "tflite"),
        (("--to", "hf", "--int8"), "--int8"),
        (("--to", "hf", "--scale", "-1"), "scale is -1"),
        (("--to", "hf", "--scale", "nan"), "scale is 'nan': give a finite number"),
        (("--to", "hf", "--name", "../x"), "name is ../x"),
        (
            ("--to", "onnx", "--max_images", "0"),
            "max_images is '0': give a whole number of at least 1",
        ),
        (("--to", "hf", "--dry_run"), "--push"),
        (("--to", "hf", "--push", "no-user", "--dry_run"), "USER/NAME"),
        (("--to", "hf", "--push", "a/b/c", "--dry_run"), "USER/NAME"),
        (("--to", "onnx", "--data.path", "/nowhere"), "nowhere"),
    ],
)
def test_export_says_what_is_wrong_and_writes_nothing(capsys, lora_run, tmp_path, flags, words):
    fails(capsys, ["export", lora_run, *flags, "--out", tmp_path / "out"], words)
    assert list(tmp_path.iterdir()) == []


def test_export_of_a_base_has_no_adapter(capsys, tmp_path):
    fails(capsys, ["export", "nano", "--to", "adapter", "--out", tmp_path / "out"], "no adapter")
    assert list(tmp_path.iterdir()) == []


def test_export_without_onnx_names_the_extra(capsys, lora_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    fails(capsys, ["export", lora_run, "--to", "onnx", "--out", tmp_path / "out"], "samtune[onnx]")


def test_export_tells_damaged_results(capsys, lora_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(lora_run, run)
    for content in ("{", "[]", '{"about": {}}', '{"about": {"weights_sha256": 1}, "x": 2}'):
        (run / "evaluation").mkdir(exist_ok=True)
        (run / "evaluation" / "results.json").write_text(content)
        arguments = ["export", run, "--to", "hf", "--out", tmp_path / "out"]
        if content.endswith("2}"):
            assert main([str(part) for part in arguments]) == 0
            assert "other weights than these" in (tmp_path / "out" / "README.md").read_text()
        else:
            fails(capsys, arguments, "results.json")


def test_sharded_weights_are_refused_before_any_work():
    _require_whole_weights(SingleDeviceStrategy("cpu"))
    for strategy in (FSDPStrategy(), ModelParallelStrategy()):
        with pytest.raises(UserError, match=r"shards the weights.*strategy ddp"):
            _require_whole_weights(strategy)


def test_predict_never_writes_over_an_image_that_it_reads(capsys, discs, tmp_path):
    for name in ("a.png", "a_1.png"):
        shutil.copy(discs / "test" / "images" / "0.png", tmp_path / name)
    before = (tmp_path / "a_1.png").read_bytes()
    images = [tmp_path / "a.png", tmp_path / "a_1.png"]
    fails(
        capsys,
        ["predict", "nano", *images, "--points", "9,9", "--out", tmp_path, "--overwrite"],
        "is the image",
    )
    assert (tmp_path / "a_1.png").read_bytes() == before
