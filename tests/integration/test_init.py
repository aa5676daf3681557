"""`samtune init`: a config for data of every kind, which fit takes as it is."""

import json
import re
import shlex

import nibabel as nib
import numpy as np
import pytest
import yaml
from PIL import Image

from samtune.cli import main
from samtune.commands.data import ask
from samtune.data.settings import DataSettings
from tests.commands.planning import planned


def written(tmp_path, *arguments):
    out = tmp_path / "made.yaml"
    assert main(["init", *map(str, arguments), "--yes", "--base", "nano", "--out", str(out)]) == 0
    planned("--config", out, "--run", tmp_path / "run")  # every setting is known to fit
    return yaml.safe_load(out.read_text())


def test_a_config_with_a_reason_for_each_choice(tmp_path, discs, capsys):
    settings = written(tmp_path, discs)
    assert settings["data"]["path"] == str(discs)
    assert settings["data"]["labels"] == "instances"
    assert settings["model"]["optim"]["lr"] == 1e-3
    assert settings["budget"] == "5m"
    lines = [line for line in (tmp_path / "made.yaml").read_text().splitlines()[3:]
             if not line.endswith(":")]  # fmt: skip
    assert len(lines) >= 8
    assert all(" # " in line for line in lines)
    assert "next: samtune check" in capsys.readouterr().out


def test_images_that_nothing_ties_are_said_to_count_as_independent(
    tmp_path, discs, write_geo, caplog
):
    written(tmp_path, write_geo(np.random.default_rng(0).integers(0, 255, (3, 300, 300), np.uint8)))
    assert "taken as independent" not in caplog.text  # windows of a scene are tied by its blocks
    for split in ("train", "val", "test"):
        for kind in ("images", "labels"):
            (tmp_path / "bare" / kind).mkdir(parents=True, exist_ok=True)
            for file in (discs / split / kind).iterdir():
                name = f"{split}{file.stem}x{file.suffix}"
                (tmp_path / "bare" / kind / name).write_bytes(file.read_bytes())
    written(tmp_path, tmp_path / "bare", "--overwrite", "true")
    assert "all images are taken as independent" in caplog.text


def test_given_settings_are_kept(tmp_path, discs):
    settings = written(tmp_path, discs, "--data.augment", "microscopy", "--data.stretch=auto")
    assert settings["data"]["augment"] == "microscopy"
    assert settings["data"]["stretch"] == "auto"


@pytest.mark.parametrize("bands", [["2", "1", "0"], ["[2,1,0]"], ["2,1,0"]])
def test_a_list_is_kept_in_whatever_way_it_is_given(tmp_path, discs, bands):
    assert written(tmp_path, discs, "--data.bands", *bands)["data"]["bands"] == [2, 1, 0]


def test_what_is_there_is_replaced_only_with_overwrite(tmp_path, discs, capsys):
    out = tmp_path / "made.yaml"
    out.write_text("mine: 1")
    assert main(["init", str(discs), "--yes", "--out", str(out)]) == 2
    assert "is there already: give another --out, or --overwrite" in capsys.readouterr().err
    assert out.read_text() == "mine: 1"
    written(tmp_path, discs, "--overwrite")


def test_classes_in_parts_and_groups_in_names(tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[5:15, 5:15], mask[30:40, 30:40], mask[50:60, 5:15] = 255, 255, 255
    for number in range(12):
        noise = np.random.default_rng(number).integers(90, 200, (64, 64, 3), np.uint8)
        for folder, pixels in (("images", noise), ("masks", mask)):
            (tmp_path / "d" / folder).mkdir(parents=True, exist_ok=True)
            name = f"p{number // 4}_{number % 4}.png"
            Image.fromarray(pixels).save(tmp_path / "d" / folder / name)
    data = written(tmp_path, tmp_path / "d")["data"]
    assert (data["labels"], data["with_components"]) == ("binary", True)
    assert data["group_regex"].startswith("^")


def with_splits(folder, column, values):
    """Twelve images with splits that a manifest names, and a column beside."""
    write_masks(folder, [squares(255)] * 12)
    rows = [
        f"x{number:02d},{'train' if number < 8 else 'test'},{values[number]}"
        for number in range(12)
    ]
    (folder / "manifest.csv").write_text("\n".join([f"id,split,{column}", *rows]) + "\n")
    return folder


def test_groups_of_named_splits_are_no_guess(tmp_path, capsys):
    """Frames of a video are not independent, kinds of pictures are: only the user knows."""
    data = with_splits(tmp_path / "d", "sequence", [number // 3 for number in range(12)])
    assert "group_column" not in written(tmp_path, data)["data"]
    (line,) = [n for n in (tmp_path / "made.yaml").read_text().splitlines() if "group_column" in n]
    assert line.startswith("  # group_column: sequence")
    assert "without it evaluate counts images as independent" in line
    told = capsys.readouterr().out
    assert "NOTE: data.group_column sequence is commented out" in told
    text = (tmp_path / "made.yaml").read_text().replace("# group_column", "group_column")
    assert yaml.safe_load(text)["data"]["group_column"] == "sequence"


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_groups_of_named_splits_are_asked_for(tmp_path, monkeypatch, capsys, answer):
    data = with_splits(tmp_path / "d", "group", [f"kind{number % 2}" for number in range(12)])
    asked = []

    def reply(question):
        asked.append(question)
        return answer if "the manifest's column group" in question else ""

    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    out = tmp_path / "made.yaml"
    assert main(["init", str(data), "--base", "nano", "--out", str(out)]) == 0
    assert any("count them as independent" in question for question in asked)
    settings = yaml.safe_load(out.read_text())["data"]
    assert settings.get("group_column") == ("group" if answer == "yes" else None)
    assert "NOTE: data.group_column" not in capsys.readouterr().out


def test_groups_that_count_already_are_not_asked_for(tmp_path, capsys):
    data = with_splits(tmp_path / "d", "group", [number // 2 for number in range(12)])
    written(tmp_path, data)
    assert "group_column" not in (tmp_path / "made.yaml").read_text()
    assert "group_column" not in capsys.readouterr().out


@pytest.fixture
def write_volumes(tmp_path):
    """Writes eight volumes with a manifest of given rows."""
    nibabel = pytest.importorskip("nibabel")

    def write(head, *rows):
        values = np.random.default_rng(0).integers(0, 90, (32, 32, 4)).astype(np.int16)
        values[5:15, 5:15] += 100
        for number in range(8):
            for kind, voxels in (("images", values), ("labels", (values > 95).astype(np.uint8))):
                (tmp_path / "d" / kind).mkdir(parents=True, exist_ok=True)
                image = nibabel.Nifti1Image(voxels, np.diag([1, 1, 4, 1]))
                nibabel.save(image, tmp_path / "d" / kind / f"v{number}.nii.gz")
        lines = [f"v{number},{row}" for number, row in enumerate(rows)]
        (tmp_path / "d" / "manifest.csv").write_text("\n".join([f"id,{head}", *lines]) + "\n")
        return tmp_path / "d"

    return write


def test_volumes_of_one_patient_are_kept_together(tmp_path, write_volumes):
    folder = write_volumes("site,Patient", *[f"x,p{number // 2}" for number in range(8)])
    assert written(tmp_path, folder)["data"]["group_column"] == "Patient"


def test_too_few_groups_for_three_splits_are_left_to_the_user(tmp_path, write_volumes, capsys):
    folder = write_volumes("city", *[f"c{number // 4}" for number in range(8)])
    assert "group_column" not in written(tmp_path, folder)["data"]
    assert "NOTE: data.group_column city is commented out" in capsys.readouterr().out


def test_patients_of_volumes_in_named_splits_are_told(tmp_path, write_volumes, capsys):
    splits = ["train"] * 4 + ["val"] * 2 + ["test"] * 2
    rows = [f"{split},p{number // 2}" for number, split in enumerate(splits)]
    assert "group_column" not in written(tmp_path, write_volumes("split,patient", *rows))["data"]
    assert "NOTE: data.group_column patient is commented out" in capsys.readouterr().out
    (tmp_path / "made.yaml").unlink()
    written(tmp_path, write_volumes("split,group", *rows))
    assert "group_column" not in capsys.readouterr().out


def test_a_path_with_blanks_can_be_copied_from_what_is_told(tmp_path, discs, capsys):
    folder = tmp_path / "my data"
    folder.mkdir()
    written(folder, discs)
    place = shlex.quote(str(folder / "made.yaml"))
    assert place.startswith("'")
    assert f"samtune check {place}   then: samtune fit --config {place}" in (
        capsys.readouterr().out
    )
    assert (folder / "made.yaml").read_text().startswith(f"# samtune fit --config {place}\n")


def write_masks(folder, masks, kind="masks", size=96):
    for number, mask in enumerate(masks):
        noise = np.random.default_rng(number).integers(90, 200, (size, size, 3), np.uint8)
        for name, pixels in (("images", noise), (kind, mask)):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / name / f"x{number:02d}.png")
    return folder


def squares(*values, size=96):
    """A mask with a square of each value, one after the other."""
    mask = np.zeros((size, size), np.uint8)
    for number, value in enumerate(values):
        top, left = 4 + 30 * (number // 3), 4 + 30 * (number % 3)
        mask[top : top + 20, left : left + 20] = value
    return mask


def test_classes_are_those_of_all_images(tmp_path):
    folder = write_masks(tmp_path / "d", [squares(1 + number % 2) for number in range(12)])
    assert written(tmp_path, folder)["data"]["labels"] == "semantic"


def test_labels_of_one_value_with_several_parts_are_no_instances(tmp_path):
    folder = write_masks(tmp_path / "d", [squares(255, 255, 255)] * 12, "labels")
    data = written(tmp_path, folder)["data"]
    assert (data["labels"], data["with_components"]) == ("binary", True)


def resized(mask):
    small = Image.fromarray(mask).resize((64, 64), Image.Resampling.BILINEAR)
    return np.asarray(small.resize((96, 96), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("kind", ["masks", "labels"])
def test_masks_that_were_resized_hold_two_values(tmp_path, kind, capsys):
    masks = [resized(squares(255, 255, 0, 255)) for _ in range(12)]
    folder = write_masks(tmp_path / "d", masks, kind)
    data = written(tmp_path, folder)["data"]
    assert (data["labels"], data["with_components"]) == ("binary", True)
    assert "all above 0 is object" in capsys.readouterr().out
    page = ["--page", str(tmp_path / "page.html"), "--max_images", "0"]
    assert main(["check", str(folder), *page]) in (0, 1)
    assert "grey levels along their outlines" in capsys.readouterr().out
    assert main(["check", str(folder), "--data.labels", "binary", *page]) in (0, 1)
    assert "grey levels along their outlines" not in capsys.readouterr().out


def test_what_the_data_lack_is_said(tmp_path, capsys):
    written(tmp_path, write_masks(tmp_path / "empty", [squares()] * 12))
    assert "no objects were found in 8 images" in capsys.readouterr().out
    (tmp_path / "made.yaml").unlink()
    written(tmp_path, write_masks(tmp_path / "one", [squares(255)]))
    assert "1 image(s) are too few" in capsys.readouterr().out


def test_images_to_be_skipped_are_skipped(tmp_path, capsys):
    folder = write_masks(tmp_path / "d", [squares(255)] * 12)
    for name in ("x00.png", "x03.png"):
        (folder / "images" / name).write_bytes(b"no image")
    out = ["--out", str(tmp_path / "made.yaml"), "--base", "nano"]
    assert main(["init", str(folder), *out]) == 2
    assert "--data.on_error skip" in capsys.readouterr().err
    data = written(tmp_path, folder, "--data.on_error", "skip", "--data.val_fraction", "0.1")[
        "data"
    ]
    assert (data["on_error"], data["labels"]) == ("skip", "binary")
    told = capsys.readouterr().out
    assert "cannot be read and are left out" in told
    assert re.search(r"an epoch: \d+ images, \d+ windows of them, \d+ batches of 4", told)


def test_nested_settings_make_one_mapping(tmp_path, discs):
    nested = ["--data.cache.mode", "fp16", "--data.cache.views", "2"]
    data = written(tmp_path, discs, *nested)["data"]
    assert data["cache"] == {"mode": "fp16", "views": 2}


def test_pictures_that_do_not_tell_get_what_is_true_of_any(tmp_path, monkeypatch):
    folder = write_masks(tmp_path / "d", [squares(255)] * 12)
    for file in (folder / "images").iterdir():
        dark = np.random.default_rng(0).integers(0, 30, (96, 96), np.uint8)
        Image.fromarray(dark).save(file)
    assert written(tmp_path, folder)["data"]["augment"] == "light"
    assert "# fits any picture; docs" in (tmp_path / "made.yaml").read_text()
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    answer = lambda question: "ultrasound" if "What are the images" in question else ""  # noqa: E731
    monkeypatch.setattr("builtins.input", answer)
    out = tmp_path / "asked.yaml"
    assert main(["init", str(folder), "--base", "nano", "--out", str(out)]) == 0
    assert "augment: ultrasound        # as you say; docs" in out.read_text()


@pytest.fixture
def dicom_pictures(tmp_path, write_slices):
    """Writes twelve DICOM pictures with masks, with attributes."""

    def write(**attributes):
        rng = np.random.default_rng(0)
        series = write_slices("raw", rng.integers(0, 4000, (12, 64, 64)), **attributes)
        folder = write_masks(tmp_path / "d", [squares(255, size=64)] * 12, size=64)
        for number, file in enumerate(sorted(series.iterdir())):
            (folder / "images" / f"x{number:02d}.png").unlink()
            file.rename(folder / "images" / f"x{number:02d}.dcm")
        return folder

    return write


def test_the_window_of_a_dicom_file_is_kept(tmp_path, dicom_pictures):
    folder = dicom_pictures(WindowCenter=1500, WindowWidth=1000, Modality="DX")
    data = written(tmp_path, folder)["data"]
    assert "stretch" not in data
    assert (data["format"], data["augment"]) == ("mask_folder", "xray")


def test_dicom_files_without_a_window_are_stretched(tmp_path, dicom_pictures):
    assert written(tmp_path, dicom_pictures())["data"]["stretch"] == "auto"


def write_series(folder, write_slices, **attributes):
    """Three series of phases from -4096 to 4095."""
    for name in "abc":
        values = np.random.default_rng(0).integers(-4096, 4095, (4, 64, 64))
        write_slices(folder / "images" / name, values, **attributes)
        affine = np.diag([-0.5, -0.8, 3, 1.0])
        affine[:3, 3] = -10, -20, 30
        labels = np.zeros((64, 64, 4), np.uint8)
        labels[10:30, 10:30] = 1
        (folder / "labels").mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(labels, affine), folder / "labels" / f"{name}.nii.gz")


@pytest.mark.parametrize(
    ("modality", "augment"),
    [("MR", "mr"), ("US", "ultrasound"), ("CT", "ct"), ("PT", "light"), ("OT", "ct")],
)
def test_what_a_dicom_volume_says_it_is_goes_before_its_values(
    tmp_path, write_slices, modality, augment
):
    write_series(tmp_path / "d", write_slices, Modality=modality)
    data = written(tmp_path, tmp_path / "d")["data"]
    assert data["augment"] == augment
    assert data.get("window") == ("soft_tissue" if augment == "ct" else None)


def test_the_window_of_ct_series_is_kept(tmp_path, write_slices):
    write_series(tmp_path / "d", write_slices, WindowCenter=-600, WindowWidth=1500)
    assert "window" not in written(tmp_path, tmp_path / "d")["data"]


def test_bands_with_names_are_left_alone(tmp_path, write_geo):
    import rasterio
    from rasterio.enums import ColorInterp

    scene = write_geo(np.random.default_rng(0).integers(0, 255, (4, 300, 300), np.uint8))
    with rasterio.open(scene, "r+") as file:
        red, green, blue = ColorInterp.red, ColorInterp.green, ColorInterp.blue
        file.colorinterp = (blue, green, red, ColorInterp.undefined)
    assert "bands" not in written(tmp_path, scene)["data"]


def test_16_bit_scenes_get_windows_that_give_all_splits(tmp_path, write_geo, caplog):
    scene = write_geo(np.random.default_rng(0).integers(200, 3000, (4, 300, 300), np.uint16))
    data = written(tmp_path, scene)["data"]
    assert "of the brightness" not in caplog.text  # before the stretch is chosen it says nothing
    assert data["format"] == "geo"
    assert (data["stretch"], data["bands"]) == ("percentile", [0, 1, 2])
    assert data["augment"] == "satellite"
    assert data["tile"] == 75


@pytest.fixture
def write_geo(tmp_path):
    """Writes a scene of pixels of 2 m with a GeoJSON of squares."""
    rasterio = pytest.importorskip("rasterio")

    def write(values):
        with rasterio.open(
            tmp_path / "a.tif", "w", driver="GTiff", count=len(values), height=values.shape[1],
            width=values.shape[2], dtype=values.dtype, crs="EPSG:32632",
            transform=rasterio.Affine(2, 0, 500_000, 0, -2, 6_000_000),
        ) as file:  # fmt: skip
            file.write(values)
        features = []
        for x, y in [(x, y) for x in range(5, 280, 40) for y in range(5, 280, 40)]:
            corners = np.add([x, y], [[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]])
            ring = (corners * (2, -2) + (500_000, 6_000_000)).tolist()
            shape = {"type": "Polygon", "coordinates": [ring]}
            features.append({"type": "Feature", "properties": {}, "geometry": shape})
        crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
        collection = {"type": "FeatureCollection", "crs": crs, "features": features}
        (tmp_path / "a.geojson").write_text(json.dumps(collection))
        return tmp_path / "a.tif"

    return write


def write_cover(path, values, label):
    """A scene of 240 x 240 pixels with a label raster of squares that take turns in their values."""
    rasterio = pytest.importorskip("rasterio")
    bands = np.random.default_rng(0).integers(90, 200, (3, 240, 240), np.uint8)
    labels = np.zeros((1, 240, 240), np.uint8)
    for number in range(36):
        y, x = 5 + 40 * (number // 6), 5 + 40 * (number % 6)
        labels[0, y : y + 20, x : x + 20] = 1 + (number + number // 6) % values
    grid = {"crs": "EPSG:32632", "transform": rasterio.Affine(2, 0, 5e5, 0, -2, 6e6)}
    path.mkdir()
    for name, array in (("s", bands), (label, labels)):
        with rasterio.open(
            path / f"{name}.tif", "w", driver="GTiff", count=len(array), height=240, width=240,
            dtype="uint8", photometric="RGB" if len(array) == 3 else "MINISBLACK", **grid,
        ) as file:  # fmt: skip
            file.write(array)
    return path


TILE = ["--data.tile", "120"]


@pytest.mark.parametrize(("values", "labels"), [(3, "semantic"), (1, "binary"), (36, "instances")])
@pytest.mark.parametrize("name", ["s_labels", "s_mask"])
def test_values_of_label_rasters_of_scenes(tmp_path, values, labels, name):
    folder = write_cover(tmp_path / "d", values, name)
    data = written(tmp_path, folder, *TILE)["data"]
    is_parted = labels != "instances"
    assert data["labels"] == ("semantic" if name == "s_mask" else labels)
    assert data.get("with_components") == (True if is_parted else None)


@pytest.mark.parametrize(
    ("answer", "labels"), [("class", "semantic"), ("object", "instances"), ("", "semantic")]
)
def test_what_few_values_of_a_label_raster_mean_is_asked(tmp_path, monkeypatch, answer, labels):
    folder, out = write_cover(tmp_path / "d", 3, "s_labels"), tmp_path / "made.yaml"
    reply = lambda question: answer if "hold 3 values, each in 3" in question else ""  # noqa: E731
    monkeypatch.setattr("builtins.input", reply)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert main(["init", str(folder), *TILE, "--base", "nano", "--out", str(out)]) == 0
    data = yaml.safe_load(out.read_text())["data"]
    assert (data["labels"], "with_components" in data) == (labels, labels == "semantic")


def test_what_label_rasters_mean_is_not_chosen_where_it_is_given_or_there_are_polygons(
    tmp_path, write_geo
):
    folder = write_cover(tmp_path / "d", 3, "s_labels")
    data = written(tmp_path, folder, *TILE, "--data.labels", "instances")["data"]
    assert data["labels"] == "instances"
    assert "with_components" not in data
    (tmp_path / "made.yaml").unlink()
    scene = write_geo(np.random.default_rng(0).integers(0, 255, (3, 300, 300), np.uint8))
    assert "labels" not in written(tmp_path, scene)["data"]


def test_mistakes(tmp_path, discs, capsys):
    (tmp_path / "there.yaml").write_text("")
    for arguments, said in [
        ([discs, "--out", tmp_path / "there.yaml"], "is there already"),
        ([tmp_path / "nothing"], "there is no data"),
        ([tmp_path], "not recognised"),
        ([discs, "--base", "vit_x", "--out", tmp_path / "b.yaml"], "no model 'vit_x'"),
        (
            [discs, "more"],
            "unexpected 'more' (see samtune init --help; a list is one value or several",
        ),
    ]:
        assert main(["init", *map(str, arguments), "--yes"]) == 2
        assert said in capsys.readouterr().err


def test_answers_are_asked_for_until_they_make_sense(monkeypatch, capsys):
    answers = iter(["maybe", "no", ""])
    monkeypatch.setattr("builtins.input", lambda question: next(answers))
    assert ask("Parts?", ["yes", "no"], "yes") == "no"
    assert "please one of: yes, no" in capsys.readouterr().out
    assert ask("Parts?", ["yes", "no"], "yes") == "yes"


def test_small_scenes_get_windows_that_overlap_less(tmp_path):
    data = written(tmp_path, write_cover(tmp_path / "d", 3, "s_labels"))["data"]
    assert data["tile"] == 64
    assert DataSettings(**data).overlap == 16
