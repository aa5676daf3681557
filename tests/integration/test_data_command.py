"""`samtune data convert`: the same data in every format, the same prompts, the same figures."""

import json
import shutil

import pytest

from samtune.cli import main
from tests.conftest import write_discs

FORMATS = ("coco", "labels", "yolo", "labelme")


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """Twelve images with a manifest that names splits."""
    folder = tmp_path_factory.mktemp("flat")
    write_discs(folder, "data", 12)
    data = folder / "data"
    rows = [f"{n},{('train', 'val', 'test')[n % 3]}" for n in range(12)]
    (data / "manifest.csv").write_text("\n".join(["id,split", *rows]) + "\n")
    return data


@pytest.fixture(scope="module")
def converted(flat, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    for target in FORMATS:
        out = ["--to", target, "--out", str(folder / target)]
        assert main(["data", "convert", str(flat), *out]) == 0
    return folder


def scores(data, out):
    arguments = ["evaluate", "nano", "--data.path", str(data), "--gallery", "0", "--protocols"]
    assert main([*arguments, "box_jitter", "points_3", "clicks_2", "--out", str(out)]) == 0
    found = json.loads((out / "results.json").read_text())["protocols"]
    # classes are what formats differ in: without any, YOLO and labelme call objects "object"
    return {
        name: (block["base"], block["clicks"], block["num_objects"])
        for name, block in found.items()
    }


@pytest.mark.parametrize("target", FORMATS)
def test_the_same_prompts_and_the_same_figures(flat, converted, tmp_path, target):
    assert scores(converted / target, tmp_path / target) == scores(flat, tmp_path / "flat")


@pytest.mark.parametrize("target", FORMATS)
def test_and_back_again(converted, tmp_path, target):
    out = tmp_path / "again"
    arguments = ["data", "convert", str(converted / target), "--to", "labels", "--out", str(out)]
    assert main(arguments) == 0
    for file in (converted / "labels" / "labels").iterdir():
        assert (out / "labels" / file.name).read_bytes() == file.read_bytes()
    first, again = (
        sorted((folder / "manifest.csv").read_text().split())
        for folder in (converted / "labels", out)
    )
    assert first == again


def test_mistakes_are_said_and_nothing_is_left_behind(flat, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    assert main(["data", "convert", str(flat), "--to", "coco", "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    new = ["--to", "coco", "--out", str(tmp_path / "new")]
    assert main(["data", "convert", str(tmp_path / "nowhere"), *new]) == 2
    assert not (tmp_path / "new").exists()
    assert main(["data", "burn"]) == 2
    assert "there is no command 'data burn'" in capsys.readouterr().err
    assert main(["data"]) == 0


class TestCheck:
    def test_good_data_end_with_ok(self, flat, capsys):
        assert main(["data", "check", str(flat)]) == 0
        told = capsys.readouterr().out.splitlines()
        assert told[-1] == "ok"
        assert [line.split("|")[1].strip() for line in told[2:5]] == ["train", "val", "test"]

    def test_a_leak_ends_with_code_1_and_json_says_it(self, flat, tmp_path, capsys):
        data = shutil.copytree(flat, tmp_path / "data")
        shutil.copy(data / "images" / "0.png", data / "images" / "2.png")
        with pytest.raises(SystemExit) as ended:
            main(["data", "check", str(data), "--json"])
        assert ended.value.code == 1
        found = json.loads(capsys.readouterr().out)
        assert found["verdict"] == "errors"
        assert (
            "1 images lie in two splits, such as 0 (train) and 2 (test)"
            in found["findings"][0]["text"]
        )

    def test_a_config_tells_data_and_input(self, flat, tmp_path, capsys):
        config = tmp_path / "my.yaml"
        config.write_text(f"model:\n  base: nano\n  image_size: 64\ndata:\n  path: {flat}\n")
        assert main(["data", "check", str(config)]) == 0
        assert "too small at 64 px" in capsys.readouterr().out

    def test_drawn_scenes_need_none(self, capsys):
        assert main(["data", "check", "configs/nano/pretrain.yaml"]) == 2
        assert "drawn scenes need no check" in capsys.readouterr().err
