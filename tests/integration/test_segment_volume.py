"""`samtune segment-volume`: from a volume and a prompt to labels, a report, figures in space."""

import json
import shutil
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from samtune.cli import main
from samtune.data.volume_io import read_volume_labels, read_voxels
from samtune.geometry import mask_to_rle

AFFINE = np.diag([-0.5, 0.5, 2.0, 1.0])  # stored left, anterior, superior


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A volume of 64 x 56 x 8 voxels with two bright balls, and their labels 3 and 5."""
    folder = tmp_path_factory.mktemp("volume")
    x, y, z = np.meshgrid(np.arange(64), np.arange(56), np.arange(8), indexing="ij")
    labels = np.zeros(x.shape, np.uint8)
    for value, (cx, cy, cz, radius) in {3: (18, 20, 3, 12), 5: (45, 36, 4, 11)}.items():
        labels[(x - cx) ** 2 + (y - cy) ** 2 + (4 * (z - cz)) ** 2 <= radius**2] = value
    values = np.random.default_rng(0).normal(60, 5, labels.shape) + 100 * (labels > 0)
    for name, voxels in (("image", values.astype(np.int16)), ("labels", labels)):
        nib.save(nib.Nifti1Image(voxels, AFFINE), folder / f"{name}.nii.gz")
    return folder


def fails(capsys, arguments, *parts):
    """One line that names all parts, and exit code 2."""
    assert main([str(argument) for argument in arguments]) == 2
    message = capsys.readouterr().err.strip()
    assert "\n" not in message
    assert message.startswith("samtune: ")
    for part in parts:
        assert part in message


def segment(place, *arguments):
    volume = str(place / "image.nii.gz")
    return main(["segment-volume", "nano", volume, *[str(argument) for argument in arguments]])


def test_prompts_from_labels_and_figures_in_space(place, tmp_path, capsys):
    labels, out = place / "labels.nii.gz", tmp_path / "out.nii.gz"
    assert segment(place, "--from-labels", labels, "--truth", labels, "--out", out) == 0
    found, truth = nib.load(out), nib.load(labels)
    np.testing.assert_array_equal(found.affine, truth.affine)
    assert found.get_data_dtype() == np.uint8
    report = json.loads((tmp_path / "out.json").read_text())
    assert [entry["id"] for entry in report["objects"]] == [3, 5]
    for entry in report["objects"]:
        mask = np.asarray(found.dataobj) == entry["id"]
        expected = np.asarray(truth.dataobj) == entry["id"]
        dice = 2 * (mask & expected).sum() / (mask.sum() + expected.sum())
        assert entry["truth"]["dice"] == pytest.approx(dice)
        assert dice > 0.8
        assert entry["num_voxels"] == mask.sum()
        assert entry["millilitres"] == pytest.approx(mask.sum() * 0.5 / 1000)
        assert entry["slices"].keys() == {str(n) for n in np.flatnonzero(mask.any((0, 1)))}
        assert set(entry["stops"]) == {"up", "down"}
    told = capsys.readouterr().out.splitlines()
    assert f"Dice {report['objects'][0]['truth']['dice']:.3f}, IoU" in told[0]
    assert "HD95" in told[0]
    assert report["objects"][1]["stops"]["up"] in told[1]


def test_a_box_is_in_pixels_of_the_slice_as_seen(place, tmp_path):
    """The first stored axis runs to the left, as the picture's columns do; rows run down."""
    out = tmp_path / "out.nii.gz"
    box = f"{18 - 12},{55 - 32},{18 + 12},{55 - 8}"
    flags = ("--slice", 3, "--box", box, "--point", "18,35", "--name", "left", "--out", out)
    assert segment(place, *flags) == 0
    found = np.asarray(nib.load(out).dataobj)
    truth = np.asarray(nib.load(place / "labels.nii.gz").dataobj)
    assert set(np.unique(found)) == {0, 1}
    assert 2 * ((found == 1) & (truth == 3)).sum() / ((found == 1).sum() + (truth == 3).sum()) > 0.8
    assert json.loads((tmp_path / "out.json").read_text())["objects"][0]["name"] == "left"


def test_a_file_of_prompts_and_another_axis(place, tmp_path):
    prompts, out = tmp_path / "p.json", tmp_path / "out.nrrd"
    # from the right: the picture's columns run to the back, its rows down
    prompts.write_text(json.dumps([{"slice": 45, "points": [[35, 3]], "id": 300, "name": "ball"}]))
    assert segment(place, "--prompts", prompts, "--axis", "sagittal", "--out", out) == 0
    assert json.loads((tmp_path / "out.json").read_text())["axis"] == "sagittal"
    assert read_voxels(out).dtype == np.uint16
    assert set(np.unique(read_voxels(out))) <= {0, 300}


def test_slices_are_seen_as_the_run_was_trained(place, lora_run, tmp_path):
    """Settings of the run's data count, and flags before them."""
    run = shutil.copytree(lora_run, tmp_path / "run")
    config = (run / "config.yaml").read_text()
    assert "axis: auto" in config
    config = config.replace("axis: auto", "axis: coronal").replace(
        "window: ''", "window: '100,300'"
    )
    (run / "config.yaml").write_text(config)
    arguments = ["segment-volume", str(run), str(place / "image.nii.gz"), "--slice", "20", "--box"]
    arguments += ["5,1,30,6", "--out", str(tmp_path / "a.nii.gz")]
    assert main(arguments) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert (report["axis"], report["range"]) == ("coronal", [-50, 250])
    assert main([*arguments, "--overwrite", "--axis", "sagittal", "--value-range", "0", "255"]) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert (report["axis"], report["range"]) == ("sagittal", [0, 255])


@pytest.mark.filterwarnings("ignore")
def test_a_dicom_series_becomes_seg(write_slices, tmp_path):
    slices, rows, columns = np.mgrid[:7, :56, :64]
    ball = (rows - 24) ** 2 + (columns - 30) ** 2 + (4 * (slices - 3)) ** 2 <= 12**2
    values = np.random.default_rng(0).normal(60, 5, ball.shape) + 100 * ball
    folder = write_slices("ct", values, PatientName="Phantom^Test")
    flags = ["--slice", "3", "--box", "18,12,42,36", "--name", "ball"]
    for name in ("seg.dcm", "labels.nii.gz"):
        out = ["--out", str(tmp_path / name), "--overwrite"]
        assert main(["segment-volume", "nano", str(folder), *flags, *out]) == 0
    seg = read_volume_labels(tmp_path / "seg.dcm", folder)
    plain = read_volume_labels(tmp_path / "labels.nii.gz", folder)
    assert seg.names == {1: "ball"}
    np.testing.assert_array_equal(seg.layers, plain.layers)
    truth = np.transpose(ball, (2, 1, 0))[::-1, ::-1]
    found = seg.layers[0] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def test_without_a_prompt_a_finder_is_asked(place, tmp_path, monkeypatch):
    """The search for objects, here a threshold, is linked through the slices."""

    class Generator:
        def __init__(self, sam):
            assert sam.image_size == 256

        def search(self, picture):
            labels, count = ndimage.label(picture[..., 1] > 128)
            rles = [mask_to_rle(labels == n) for n in range(1, count + 1)]
            return [SimpleNamespace(rle=lambda rle=rle: rle) for rle in rles]

    module = SimpleNamespace(AutomaticMaskGenerator=Generator)
    monkeypatch.setitem(sys.modules, "samtune.inference.automatic", module)
    out = tmp_path / "out.mha"
    assert segment(place, "--out", out, "--largest-part", "--min-iou", "0.3") == 0
    found = read_voxels(out)
    truth = read_voxels(place / "labels.nii.gz")
    for value in (3, 5):
        numbers, counts = np.unique(found[truth == value], return_counts=True)
        best = numbers[counts.argmax()]
        assert best > 0
        assert (found == best).sum() == pytest.approx((truth == value).sum(), rel=0.25)


class TestMistakes:
    def test_of_places_and_names(self, capsys, place, tmp_path):
        volume, out = place / "image.nii.gz", tmp_path / "o.nii.gz"
        say = lambda *rest: ["segment-volume", "nano", volume, *rest]  # noqa: E731
        prompt = ["--slice", "3", "--box", "6,23,30,47"]
        fails(capsys, say(*prompt, "--out", tmp_path / "o.png"), "o.png", ".nii.gz")
        fails(capsys, say(*prompt, "--out", tmp_path / "o.dcm"), "DICOM")
        missing = tmp_path / "no.nii"
        fails(capsys, ["segment-volume", "nano", missing, "--out", out], "no.nii")
        out.write_bytes(b"precious")
        fails(capsys, say(*prompt, "--out", out), "there already", "--overwrite")
        assert out.read_bytes() == b"precious"
        kept = volume.read_bytes()
        fails(capsys, say(*prompt, "--out", volume, "--overwrite"), "cannot be written over")
        prompts = tmp_path / "p.json"
        prompts.write_text('[{"slice": 3, "box": [6, 23, 30, 47]}]')
        fails(
            capsys, say("--prompts", prompts, "--out", tmp_path / "p.nii", "--overwrite"), "p.json"
        )
        assert volume.read_bytes() == kept

    def test_labels_among_the_slices_of_a_series(self, capsys, write_slices):
        folder = write_slices("ct", np.zeros((3, 8, 8)))
        out = ["--slice", "1", "--box", "1,1,5,5", "--out", folder / "seg.dcm"]
        fails(capsys, ["segment-volume", "nano", folder, *out], "among the slices")

    @pytest.mark.parametrize(
        ("flags", "parts"),
        [
            (["--slice", "8", "--box", "1,1,9,9"], ["no slice 8", "0 to 7"]),
            (["--slice", "2", "--box", "1,1,99,9"], ["99,9", "outside slice 2", "64x56"]),
            (["--slice", "2", "--box", "9,9,1,1"], ["x0 <= x1"]),
            (["--slice", "2", "--box", "1,1,9"], ["--box 1,1,9", "4 numbers"]),
            (["--slice", "2", "--box", "1,1,9,9", "--box", "1,1,9,9"], ["--prompts FILE"]),
            (["--slice", "two", "--box", "1,1,9,9"], ["--slice", "two"]),
            (["--slice", "2"], ["neither 'points' nor 'box'"]),
            (["--box", "1,1,9,9"], ["--slice N"]),
            (["--slice", "2", "--point", "4,4,7"], ["labels are 1"]),
            (["--slice", "2", "--box", "1,1,9,9", "--device", "cuda:99"], ["cuda:99"]),
            (["--slice", "2", "--box", "1,1,9,9", "--max-change", "0.5"], ["--max-change", "1 up"]),
            (["--slice", "2", "--box", "1,1,9,9", "--growth", "nan"], ["--growth"]),
            (["--slice", "2", "--box", "1,1,9,9", "--window", "liverr"], ["liverr"]),
            (
                ["--slice", "2", "--box", "1,1,9,9", "--value-range", "9", "2"],
                ["the lower one first"],
            ),
            (["--slice", "2", "--box", "1,1,9,9", "--truth", "LABELS"], ["no label 1", "'id'"]),
            (["--from-labels", "LABELS", "--slice", "2"], ["one way"]),
            (["--truth", "LABELS"], ["--truth goes with prompts"]),
            (["--from-labels", "SMALL"], ["4x4x4 voxels", "64x56x8"]),
            (["--from-labels", "EMPTY"], ["are empty"]),
            ([], ["there is no prompt", "--from-labels"]),
        ],
    )
    def test_of_prompts_and_numbers(self, capsys, place, tmp_path, flags, parts, monkeypatch):
        monkeypatch.setitem(sys.modules, "samtune.inference.automatic", None)
        for name, shape in (("SMALL", (4, 4, 4)), ("EMPTY", (64, 56, 8))):
            nib.save(nib.Nifti1Image(np.zeros(shape, np.uint8), AFFINE), tmp_path / f"{name}.nii")
        files = {name: tmp_path / f"{name}.nii" for name in ("SMALL", "EMPTY")}
        files["LABELS"] = place / "labels.nii.gz"
        flags = [files.get(flag, flag) for flag in flags]
        out = tmp_path / "out.nii.gz"
        arguments = ["segment-volume", "nano", place / "image.nii.gz", *flags, "--out", out]
        fails(capsys, arguments, *parts)
        assert not out.exists()

    @pytest.mark.parametrize(
        ("content", "part"),
        [
            ("[]", "no prompts"),
            ('{"slice": 3}', "no prompts"),
            ("[7]", "object 1: expected"),
            ('[{"slice": 1.5, "box": [1, 1, 4, 4]}]', "'slice', a whole number"),
            ('[{"slice": 1, "box": [1, 1, 4]}]', "a box is"),
            ('[{"slice": 1, "id": 0, "box": [1, 1, 4, 4]}]', "'id' is 0"),
            (
                '[{"slice": 1, "id": 2, "box": [1, 1, 4, 4]}, {"slice": 1, "box": [1, 1, 4, 4]}]',
                "id 2",
            ),
            ("[", "JSON"),
        ],
    )
    def test_of_files_of_prompts(self, capsys, place, tmp_path, content, part):
        file = tmp_path / "p.json"
        file.write_text(content)
        volume, out = place / "image.nii.gz", tmp_path / "o.nii.gz"
        arguments = ["segment-volume", "nano", volume, "--prompts", file, "--out", out]
        fails(capsys, arguments, "p.json", part)
