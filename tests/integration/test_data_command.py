"""`samtune convert`: the same data in every format, the same prompts, the same figures."""

import json
import os
import shutil
import sys
import tarfile

import numpy as np
import pytest
from PIL import Image

import samtune
from samtune.cli import main
from samtune.commands.flags import parse
from samtune.data.objects import find_objects, object_mask
from samtune.tasks.convert import convert
from samtune.tasks.opening import open_data
from tests.conftest import SIDE, write_discs

FORMATS = ("coco", "labels", "yolo", "labelme")


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    """Twelve images with a manifest that names splits, kinds (as `group`) and the size of pixels."""
    folder = tmp_path_factory.mktemp("flat")
    write_discs(folder, "data", 12)
    data = folder / "data"
    splits = [("train", "val", "test")[n % 3] for n in range(12)]
    rows = [f"{n},{split},{n % 2},0.5,{0.25 + n},mm" for n, split in enumerate(splits)]
    head = "id,split,group,spacing_row,spacing_column,spacing_unit"
    (data / "manifest.csv").write_text("\n".join([head, *rows]) + "\n")
    return data


@pytest.fixture(scope="module")
def converted(flat, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    for target in FORMATS:
        out = ["--to", target, "--out", str(folder / target)]
        assert main(["convert", str(flat), *out]) == 0
    return folder


def scores(data, out):
    arguments = ["evaluate", "nano", "--image_size", str(SIDE), "--data.path", str(data)]
    arguments += ["--gallery", "0", "--protocols"]
    assert main([*arguments, "box_jitter", "points_3", "clicks_2", "--out", str(out)]) == 0
    found = json.loads((out / "results.json").read_text())["protocols"]
    assert all(block["base"]["hd95"] for block in found.values())  # in millimetres
    # classes are what formats differ in: without any, YOLO and labelme call objects "object"
    return {
        name: (block["base"], block["clicks"], block["num_objects"], block["num_clusters"])
        for name, block in found.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("target", FORMATS)
def test_the_same_prompts_and_the_same_figures(flat, converted, tmp_path, target):
    assert scores(converted / target, tmp_path / target) == scores(flat, tmp_path / "flat")


@pytest.mark.parametrize("target", FORMATS)
def test_and_back_again(converted, tmp_path, target):
    out = tmp_path / "again"
    arguments = ["convert", str(converted / target), "--to", "labels", "--out", str(out)]
    assert main(arguments) == 0
    for file in (converted / "labels" / "labels").iterdir():
        assert (out / "labels" / file.name).read_bytes() == file.read_bytes()
    first, again = (
        sorted((folder / "manifest.csv").read_text().split())
        for folder in (converted / "labels", out)
    )
    assert first == again


@pytest.fixture
def scene(tmp_path):
    """A scene of 200 x 200 pixels with objects all over and no windows set."""
    rasterio = pytest.importorskip("rasterio")
    rng = np.random.default_rng(0)
    labels = np.kron(np.arange(1, 101).reshape(10, 10), np.pad(np.ones((12, 12)), (0, 8)))
    for name, values in (
        ("a.tif", rng.integers(1, 255, (3, 200, 200))),
        ("a_label.tif", labels[None]),
    ):
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", count=len(values), height=200, width=200,
            dtype="uint8", crs="EPSG:32632", transform=rasterio.Affine(2, 0, 5e5, 0, -2, 6e6),
        ) as file:  # fmt: skip
            file.write(values.astype(np.uint8))
    return ["--data.path", tmp_path / "a.tif", "--data.tile", 40, "--data.tile_overlap", 8,
            "--data.block", 80, "--data.slices", "all"]  # fmt: skip


@pytest.fixture
def volumes(tmp_path):
    """Four volumes of six slices with a box each."""
    nib = pytest.importorskip("nibabel")
    for number in range(4):
        values = np.random.default_rng(number).integers(0, 500, (30, 40, 6)).astype(np.int16)
        labels = np.zeros(values.shape, np.uint8)
        labels[5:9, 10 + number : 20, :] = 1
        for folder, voxels in (("images", values), ("labels", labels)):
            (tmp_path / "volumes" / folder).mkdir(parents=True, exist_ok=True)
            image = nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 4.0, 1.0]))
            nib.save(image, tmp_path / "volumes" / folder / f"p{number}.nii.gz")
    return ["--data.path", tmp_path / "volumes"]


def read_all(*settings):
    """By split and id: the image, its objects' masks, and its group."""
    words = ["x", "--to", "coco", "--out", "x", *map(str, settings)]
    data = open_data(None, data=parse(convert, "convert", words, {})["data"])
    found = {}
    for split, size in data.split_sizes().items():
        source = data.source(split) if size else []
        for index in range(len(source)):
            sample = source.read(index)
            masks = [object_mask(sample.labels, place) for place in find_objects(sample.labels)]
            name = sample.image_id.replace("/", "_").replace("@", "_")
            found[split, name] = (sample.image, masks, sample.group)
    return found


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("kind", ["scene", "volumes"])
def test_windows_and_slices_come_back_to_the_pixel(tmp_path, request, kind, target):
    settings = request.getfixturevalue(kind)
    arguments = [str(each) for each in settings[2:]]
    out = ["--to", target, "--out", str(tmp_path / "out")]
    assert main(["convert", str(settings[1]), *arguments, *out]) == 0
    expected, found = read_all(*settings), read_all("--data.path", tmp_path / "out")
    assert len({split for split, _ in found}) == 3
    assert found.keys() == expected.keys()
    assert len({group for _, _, group in found.values()}) < len(found)
    for key, (image, masks, group) in found.items():
        np.testing.assert_array_equal(image, expected[key][0])
        np.testing.assert_array_equal(masks, expected[key][1])
        assert group == expected[key][2]


def test_images_of_16_bits_inside_a_tar_stay_what_they_are(tmp_path):
    values = np.random.default_rng(0).integers(0, 500, (3, 24, 32), dtype=np.uint16)
    labels = np.pad(np.ones((8, 8), np.uint8), ((4, 12), (4, 20)))
    with tarfile.open(tmp_path / "train-0.tar", "w") as tar:
        for number, image in enumerate(values):
            for name, pixels in ((f"{number}.png", image), (f"{number}.seg.png", labels)):
                Image.fromarray(pixels).save(tmp_path / name)
                tar.add(tmp_path / name, name)
    out = ["--to", "labels", "--out", str(tmp_path / "out")]
    assert main(["convert", str(tmp_path / "train-0.tar"), *out]) == 0
    files = sorted((tmp_path / "out" / "images").iterdir())
    np.testing.assert_array_equal([np.asarray(Image.open(file)) for file in files], values)


def test_groups_whose_splits_are_drawn_anew_stay_together(tmp_path, volumes):
    for target in ("coco", "labels"):
        out = tmp_path / target
        assert main(["convert", str(volumes[1]), "--to", target, "--out", str(out)]) == 0
    for file in ("val.json", "test.json"):  # every slice is now in one file or table of two columns
        (tmp_path / "coco" / file).unlink()
    rows = [line.split(",") for line in (tmp_path / "labels" / "manifest.csv").read_text().split()]
    columns = [rows[0].index(name) for name in ("id", "group")]
    kept = [",".join(row[column] for column in columns) for row in rows]
    (tmp_path / "labels" / "manifest.csv").write_text("\n".join(kept))
    for target, num_groups in (("coco", 2), ("labels", 4)):
        found = read_all("--data.path", tmp_path / target)
        splits = {(split, name[:2]) for split, name in found}
        assert len(splits) == len({group for _, _, group in found.values()}) == num_groups
        assert len({split for split, _ in splits}) > 1


def test_mistakes_are_said_and_nothing_is_left_behind(flat, tmp_path, capsys):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").touch()
    assert main(["convert", str(flat), "--to", "coco", "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err
    new = ["--to", "coco", "--out", str(tmp_path / "new")]
    assert main(["convert", str(tmp_path / "nowhere"), *new]) == 2
    assert not (tmp_path / "new").exists()
    for old in (["data", "burn"], ["data"]):
        capsys.readouterr()
        assert main(old) == 2
        assert "samtune check, samtune convert and samtune fetch now" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
@pytest.mark.parametrize("command", ["check", "init", *FORMATS])
@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_name_that_is_no_text_is_one_line_and_nothing_is_written(
    flat, tmp_path, capsys, command, place
):
    is_file = place == "file"
    data = shutil.copytree(flat, tmp_path / ("data" if is_file else os.fsdecode(b"caf\xe9")))
    (data / "manifest.csv").unlink()
    if is_file:
        for folder in ("images", "labels"):
            (data / folder / "3.png").rename(data / folder / os.fsdecode(b"caf\xe9.png"))
    out, before = str(tmp_path / "out"), set(tmp_path.iterdir())
    arguments = {"check": ["check", str(data)], "init": ["init", str(data), "--out", out]}
    convert = ["convert", str(data), "--to", command, "--out", out]
    assert main(arguments.get(command, convert)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert r"caf\udce9" in line
    assert "is not UTF-8: rename it" in line
    assert set(tmp_path.iterdir()) == before


class TestCheck:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path, monkeypatch):
        """Pages go to runs/checks."""
        monkeypatch.chdir(tmp_path)

    def test_good_data_end_with_ok(self, flat, capsys):
        assert main(["check", str(flat)]) == 0
        told = capsys.readouterr().out.splitlines()
        assert told[-1] == "nothing was found that would spoil a training"
        assert [line.split("|")[1].strip() for line in told[2:5]] == ["train", "val", "test"]

    def test_a_leak_ends_with_code_1_and_json_says_it(self, flat, tmp_path, capsys):
        data = shutil.copytree(flat, tmp_path / "data")
        shutil.copy(data / "images" / "0.png", data / "images" / "2.png")
        assert main(["check", str(data), "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert found["verdict"] == "errors"
        assert (
            "1 image lies in two splits, such as 0 (train) and 2 (test)"
            in found["findings"][0]["text"]
        )

    def test_a_config_tells_data_and_input(self, flat, tmp_path, capsys):
        config = tmp_path / "my.yaml"
        config.write_text(f"base: nano\nimage_size: 64\ndata:\n  path: {flat}\n")
        assert main(["check", str(config)]) == 0
        assert "too small at 64 px" in capsys.readouterr().out

    def test_drawn_scenes_need_none(self, capsys, request):
        config = request.config.rootpath / "configs" / "pretraining" / "prompts.yaml"
        assert main(["check", str(config)]) == 2
        assert "drawn pictures need no check" in capsys.readouterr().err

    def test_folders_of_one_name_have_pages_of_their_own(self, flat, tmp_path):
        for place in ("a", "b"):
            shutil.copytree(flat, tmp_path / place / "images")
            arguments = [str(tmp_path / place / "images"), "--max_images", "0"]
            assert main(["check", *arguments]) == 0
        assert len(list((tmp_path / "runs" / "checks").glob("images-*.html"))) == 2


def test_too_few_test_images_are_told_before_training(tmp_path, capsys):
    write_discs(tmp_path / "few", "train", 4)
    write_discs(tmp_path / "few", "val", 2, seed=10)
    write_discs(tmp_path / "few", "test", 3, seed=20)
    assert main(["check", str(tmp_path / "few"), "--page", str(tmp_path / "few.html")]) == 0
    told = "the test split holds 3 independent images: no difference can be sure with fewer than 6"
    assert told in " ".join(capsys.readouterr().out.split())
    found = samtune.check(tmp_path / "few", page=tmp_path / "few.html", max_images=0)
    assert found.certainty.startswith(told)
    write_discs(tmp_path / "more", "train", 4)
    write_discs(tmp_path / "more", "val", 2, seed=10)
    write_discs(tmp_path / "more", "test", 8, seed=20)
    assert samtune.check(tmp_path / "more", page=tmp_path / "m.html", max_images=0).certainty == ""
