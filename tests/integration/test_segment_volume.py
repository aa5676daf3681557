"""`samtune segment-volume`: from a volume and a prompt to labels, a report, figures in space."""

import json
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from scipy import ndimage

from samtune.cli import main
from samtune.data.volumes.labels import read_volume_labels
from samtune.data.volumes.voxels import read_voxels
from samtune.inference.automatic.candidates import Candidate, box_and_bits
from samtune.inference.automatic.generator import AutomaticMaskGenerator
from samtune.models.mask_thresholds import FittedThresholds, MaskThresholds
from tests.conftest import set_reading

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


# nano's own input has a side of 256 pixels; slices have one of 64
BASE = ["nano", "--image_size", "128"]


def segment(place, *arguments):
    volume = str(place / "image.nii.gz")
    return main(["segment-volume", *BASE, volume, *[str(argument) for argument in arguments]])


def test_prompts_from_labels_and_figures_in_space(place, tmp_path, capsys):
    labels, out = place / "labels.nii.gz", tmp_path / "out.nii.gz"
    assert segment(place, "--from_labels", labels, "--truth", labels, "--out", out) == 0
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
    flags = ("--slice", 3, "--box", box, "--points", "18,35", "--name", "left", "--out", out)
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
    assert segment(place, "--prompts", prompts, "--reading.axis", "sagittal", "--out", out) == 0
    assert json.loads((tmp_path / "out.json").read_text())["axis"] == "sagittal"
    assert read_voxels(out).dtype == np.uint16
    assert set(np.unique(read_voxels(out))) <= {0, 300}


def test_a_folder_of_pictures_is_no_volume(discs, tmp_path, capfd):
    folder = discs / "test" / "images"
    assert main(["segment-volume", *BASE, str(folder), "-o", str(tmp_path / "a.nii.gz")]) == 2
    assert capfd.readouterr().err.endswith(
        "is a folder without a DICOM slice: give one with, or a file\n"
    )


def test_slices_are_seen_as_the_run_was_trained(place, lora_run, tmp_path):
    """What the model says of its training counts, also without its run, and flags before that."""
    run = shutil.copytree(lora_run, tmp_path / "run")
    set_reading(run, axis="coronal", window="100,300")
    model = tmp_path / "exported"
    assert main(["export", str(run), "--to", "adapter", "--out", str(model)]) == 0
    assert "seen through the window 100,300" in (model / "README.md").read_text()
    arguments = [
        "segment-volume",
        str(model),
        str(place / "image.nii.gz"),
        "--slice",
        "20",
        "--box",
    ]
    arguments += ["5,1,30,6", "--out", str(tmp_path / "a.nii.gz")]
    assert main(arguments) == 0
    report = json.loads((tmp_path / "a.json").read_text())
    assert (report["axis"], report["range"]) == ("coronal", [-50, 250])
    assert (
        main(
            [
                *arguments,
                "--overwrite",
                "--reading.axis",
                "sagittal",
                "--reading.value_range",
                "0",
                "255",
            ]
        )
        == 0
    )
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
        assert main(["segment-volume", *BASE, str(folder), *flags, *out]) == 0
    seg = read_volume_labels(tmp_path / "seg.dcm", folder)
    plain = read_volume_labels(tmp_path / "labels.nii.gz", folder)
    assert seg.names == {1: "ball"}
    np.testing.assert_array_equal(seg.layers, plain.layers)
    truth = np.transpose(ball, (2, 1, 0))[::-1, ::-1]
    found = seg.layers[0] == 1
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.8


def candidate(mask, score):
    return Candidate(
        *box_and_bits(mask), mask.shape, score, 1.0, (0.0, 0.0), (0, 0, *mask.shape[::-1])
    )


@pytest.fixture
def searched(monkeypatch):
    """The search for objects, here a threshold; gives the slices that were looked at."""
    seen = []

    def search(generator, picture):
        seen.append(picture)
        labels, count = ndimage.label(picture[..., 1] > 128)
        parts = [labels == n for n in range(1, count + 1)]
        return [candidate(part, 0.5) for part in parts if part.sum() > 20]

    monkeypatch.setattr(AutomaticMaskGenerator, "search", search)
    return seen


class TestWithoutAPrompt:
    def test_a_search_is_linked_through_the_slices(self, place, tmp_path, searched):
        out = tmp_path / "out.mha"
        assert segment(place, "-o", out, "--largest_part", "--min_iou", "0.3") == 0
        found = read_voxels(out)
        truth = read_voxels(place / "labels.nii.gz")
        for value in (3, 5):
            numbers, counts = np.unique(found[truth == value], return_counts=True)
            best = numbers[counts.argmax()]
            assert best > 0
            assert (found == best).sum() == pytest.approx((truth == value).sum(), rel=0.25)
        report = json.loads((tmp_path / "out.json").read_text())
        assert report["rule"] is None
        for entry in report["objects"]:
            assert entry["num_voxels"] == (found == entry["label"]).sum()
            assert (entry["score"], set(entry["slices"].values())) == (0.5, {0.5})

    def test_the_generator_takes_options_and_fitted_thresholds(self, place, lora_run, tmp_path):
        run = shutil.copytree(lora_run, tmp_path / "run")
        FittedThresholds(MaskThresholds(0.1, 0.2, 0.6), 4).save(run / "adapter")
        arguments = ["segment-volume", str(run), str(place / "image.nii.gz")]
        flags = ["--search.points_per_side", "4", "--search.stability_score_thresh", "0.25"]
        assert main([*arguments, "--out", str(tmp_path / "a.nii.gz"), *flags]) == 0
        report = json.loads((tmp_path / "a.json").read_text())
        expected = {
            "points_per_side": 4, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.25,
            "box_nms_thresh": 0.6,
        }  # fmt: skip
        assert expected.items() <= report["search"].items()
        assert report["objects"]
        assert all(0.1 < entry["score"] <= 1.5 for entry in report["objects"])
        labels = np.asarray(nib.load(tmp_path / "a.nii.gz").dataobj)
        counts = np.bincount(labels.ravel(), minlength=1 + len(report["objects"]))
        assert [e["num_voxels"] for e in report["objects"]] == counts[1:].tolist()

    @pytest.fixture
    def broken_off(self, place, tmp_path, searched, monkeypatch, capsys):
        """Labels that are to be written; the process was interrupted after three slices of eight."""
        out, ready = tmp_path / "a.nii.gz", AutomaticMaskGenerator.search

        def breaks(generator, picture):
            if len(searched) == 3:
                raise KeyboardInterrupt
            return ready(generator, picture)

        with monkeypatch.context() as patch:
            patch.setattr(AutomaticMaskGenerator, "search", breaks)
            assert segment(place, "--out", out) == 2
        assert "interrupted" in capsys.readouterr().err
        assert not out.exists()
        assert len(list(tmp_path.glob("*.partial"))) == 1
        searched.clear()
        return out

    def test_an_interrupted_run_goes_on(self, place, tmp_path, searched, broken_off):
        assert segment(place, "--out", broken_off, "--min_slices", "2") == 0
        assert len(searched) == 5
        assert not list(tmp_path.glob("*.partial"))
        whole = tmp_path / "b.nii.gz"
        assert segment(place, "--out", whole) == 0
        np.testing.assert_array_equal(read_voxels(broken_off), read_voxels(whole))

    @pytest.mark.parametrize(
        "flags",
        [["--search.pred_iou_thresh", "0.5"], ["--reading.value_range", "0", "200"],
         ["--reading.axis", "coronal"]],
    )  # fmt: skip
    def test_what_was_searched_otherwise_is_searched_again(
        self, place, tmp_path, searched, broken_off, flags
    ):
        assert segment(place, "--out", broken_off, *flags) == 0
        assert len(searched) == (56 if "coronal" in flags else 8)
        assert not list(tmp_path.glob("*.partial"))
        whole = tmp_path / "b.nii.gz"
        assert segment(place, "--out", whole, *flags) == 0
        np.testing.assert_array_equal(read_voxels(broken_off), read_voxels(whole))

    def test_what_can_be_tried_where_nothing_is_found(self, place, tmp_path, capsys):
        out = tmp_path / "a.nii.gz"
        flags = ["--search.points_per_side", "2", "--search.pred_iou_thresh", "0.9999"]
        assert segment(place, "--out", out, *flags) == 0
        told = capsys.readouterr().out
        assert (
            "lower search.pred_iou_thresh (0.9999) and search.stability_score_thresh (0.95)" in told
        )
        assert not read_voxels(out).any()
        assert json.loads((tmp_path / "a.json").read_text())["objects"] == []

    @pytest.mark.filterwarnings("ignore")
    def test_a_report_without_seg(self, write_slices, tmp_path, capsys):
        folder = write_slices("ct", np.zeros((3, 24, 24)))
        arguments = ["segment-volume", *BASE, str(folder), "-o", str(tmp_path / "a.dcm")]
        assert (
            main(
                [*arguments, "--search.points_per_side", "2", "--search.pred_iou_thresh", "0.9999"]
            )
            == 1
        )
        told = capsys.readouterr()
        assert "a.dcm is not written: DICOM SEG needs an object" in told.err
        assert "lower search.pred_iou_thresh" in told.out
        report = json.loads((tmp_path / "a.json").read_text())
        assert (report["labels"], report["objects"]) == (None, [])
        assert "none was found" in report["not_written"]
        assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "ct"]

    @pytest.mark.filterwarnings("ignore")
    def test_slices_are_kept_where_seg_is_refused(
        self, write_slices, tmp_path, searched, monkeypatch
    ):
        values = np.zeros((3, 24, 24))
        values[:, 5:15, 5:15] = 100
        folder = write_slices("ct", values)
        arguments = ["segment-volume", *BASE, str(folder), "-o"]
        with monkeypatch.context() as patch:
            patch.setattr(
                "samtune.data.volumes.dicom_seg.read_dicom_headers", lambda _: [pydicom.Dataset()]
            )
            assert main([*arguments, str(tmp_path / "a.dcm")]) == 1
        assert len(json.loads((tmp_path / "a.json").read_text())["objects"]) == 1
        assert len(searched) == 3
        assert main([*arguments, str(tmp_path / "a.nii.gz"), "--overwrite"]) == 0
        assert len(searched) == 3


@pytest.mark.filterwarnings("ignore")
def test_what_is_told_is_what_was_written(write_slices, tmp_path):
    """An organ with a lesion in it: the organ keeps less in labels than in SEG."""
    slices, rows, columns = np.mgrid[:7, :64, :64]
    organ = (rows - 32) ** 2 + (columns - 32) ** 2 + (4 * (slices - 3)) ** 2 <= 24**2
    lesion = (rows - 34) ** 2 + (columns - 28) ** 2 + (4 * (slices - 3)) ** 2 <= 9**2
    values = np.random.default_rng(0).normal(60, 3, organ.shape) + 60 * organ + 90 * lesion
    folder = write_slices("ct", values)
    prompts = tmp_path / "p.json"
    boxes = {4: [8, 8, 56, 56], 6: [19, 25, 37, 43]}
    named = [{"slice": 3, "box": box, "id": n} for n, box in boxes.items()]
    prompts.write_text(json.dumps(named))
    reports = {}
    for name in ("seg.dcm", "labels.nii.gz"):
        out = ["--prompts", str(prompts), "-o", str(tmp_path / name)]
        assert main(["segment-volume", *BASE, str(folder), *out]) == 0
        entries = json.loads((tmp_path / f"{name.split('.')[0]}.json").read_text())["objects"]
        written = read_volume_labels(tmp_path / name, folder).layers
        for entry in entries:
            assert entry["num_voxels"] == (written == entry["label"]).sum() > 0
            assert entry["millilitres"] == pytest.approx(entry["num_voxels"] * 1.2 / 1000)
        reports[name] = entries
        if name == "seg.dcm":
            both = (written == 1).any(0) & (written == 2).any(0)
    assert [entry["label"] for entry in reports["seg.dcm"]] == [1, 2]
    assert [entry["label"] for entry in reports["labels.nii.gz"]] == [4, 6]
    seg, labels = ([e["num_voxels"] for e in entries] for entries in reports.values())
    assert seg[1] == labels[1]
    assert 0 < seg[0] - labels[0] == both.sum()


@pytest.mark.filterwarnings("ignore")
def test_a_film_has_no_millimetres(write_slices, tmp_path, capsys):
    frames = np.random.default_rng(0).normal(60, 5, (3, 48, 48)).astype(np.int16)
    frames[:, 10:30, 10:30] += 100
    (file,) = write_slices("s", frames[:1]).iterdir()
    film = pydicom.dcmread(file)
    film.NumberOfFrames, film.PixelData = 3, frames.tobytes()
    del film.ImagePositionPatient, film.SliceThickness
    film.save_as(file)
    labels, out = tmp_path / "labels.nii.gz", tmp_path / "out.nii.gz"
    arguments = ["segment-volume", *BASE, str(file), "--slice", "1", "--box", "9,9,30,30"]
    assert main([*arguments, "--out", str(labels)]) == 0
    assert main([*arguments, "--truth", str(labels), "--out", str(out)]) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    (entry,) = report["objects"]
    assert report["spacing_mm"] == [0.5, 0.8, None]
    assert entry["millilitres"] is entry["truth"]["hd95"] is None
    assert entry["truth"]["dice"] == 1
    told = capsys.readouterr().out
    assert f"{entry['num_voxels']:,} voxels" in told
    assert "nan" not in told


def test_scores_are_of_the_labels(place, tmp_path, monkeypatch):
    """Two objects that share all their voxels: one of them keeps nothing, and is measured so."""
    labels, out = place / "labels.nii.gz", tmp_path / "out.nii.gz"
    same = {"slice": 3, "box": [6, 23, 30, 47]}
    prompts = tmp_path / "p.json"
    prompts.write_text(json.dumps([{**same, "id": 3}, {**same, "id": 5}]))
    assert segment(place, "--prompts", prompts, "--truth", labels, "-o", out) == 0
    found, truth = (np.asarray(nib.load(file).dataobj) for file in (out, labels))
    for entry in json.loads((tmp_path / "out.json").read_text())["objects"]:
        mask, expected = found == entry["id"], truth == entry["id"]
        dice = 2 * (mask & expected).sum() / (mask.sum() + expected.sum())
        assert entry["truth"]["dice"] == pytest.approx(dice)
        assert entry["num_voxels"] == mask.sum()
        assert (entry["score"] is None) == (not mask.any())
    assert set(np.unique(found)) == {0, 5}


class TestMistakes:
    def test_of_places_and_names(self, capsys, place, tmp_path):
        volume, out = place / "image.nii.gz", tmp_path / "o.nii.gz"
        say = lambda *rest: ["segment-volume", "nano", volume, *rest]  # noqa: E731
        prompt = ["--slice", "3", "--box", "6,23,30,47"]
        fails(capsys, say(*prompt, "--out", tmp_path / "o.png"), "o.png", ".nii.gz")
        fails(capsys, say(*prompt, "--out", tmp_path / "o.dcm"), "DICOM")
        search = ["--search.points_per_side", "4", "--out", out]
        fails(
            capsys,
            say(*prompt, *search),
            "search.points_per_side is for a search without prompts",
        )
        missing = tmp_path / "no.nii"
        fails(capsys, ["segment-volume", "nano", missing, "--out", out], "no.nii")
        out.write_bytes(b"precious")
        fails(capsys, say(*prompt, "--out", out), "is there already", "--overwrite")
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
            (["--slice", "2", "--box", "1,1,9"], ["slice 2", "a box is [x0, y0, x1, y1]"]),
            (["--slice", "2", "--box", "1,1,9,9", "--box", "1,1,9,9"], ["box"]),
            (["--slice", "two", "--box", "1,1,9,9"], ["--slice", "two"]),
            (["--slice", "2"], ["neither 'points' nor 'box'"]),
            (["--box", "1,1,9,9"], ["--slice N"]),
            (["--slice", "2", "--points", "4,4,7"], ["labels are 1"]),
            (["--slice", "2", "--box", "1,1,9,9", "--device", "cuda:99"], ["cuda:99"]),
            (
                ["--slice", "2", "--box", "1,1,9,9", "--stop.max_change", "0.5"],
                ["stop.max_change is 0.5", "1 up"],
            ),
            (["--slice", "2", "--box", "1,1,9,9", "--growth", "nan"], ["growth is", "nan"]),
            (["--slice", "2", "--box", "1,1,9,9", "--reading.window", "liverr"], ["liverr"]),
            (
                ["--slice", "2", "--box", "1,1,9,9", "--reading.value_range", "9", "2"],
                ["the lower one first"],
            ),
            (["--slice", "2", "--box", "1,1,9,9", "--truth", "LABELS"], ["no label 1", "'id'"]),
            (["--from_labels", "LABELS", "--slice", "2"], ["one way"]),
            (["--truth", "LABELS"], ["truth goes with prompts"]),
            (["--from_labels", "SMALL"], ["4x4x4 voxels", "64x56x8"]),
            (["--from_labels", "EMPTY"], ["are empty"]),
            (["--slice", "2", "--box", "9,9,9,9"], ["slice 2", "no width or no height"]),
            (["--slice", "2", "--box", "9,9,9,20"], ["no width or no height"]),
            (["--slice", "2", "--points", "9,9,0"], ["not of the object", "add a box"]),
            (["--slice", "2", "--box", "1,1,9,9", "--segment_code", "SCT:1:a"], ["for DICOM SEG"]),
            (["--search.points_per_side", "0"], ["points_per_side is '0'"]),
        ],
    )
    def test_of_prompts_and_numbers(self, capsys, place, tmp_path, flags, parts):
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
            ('[{"slice": 1, "box": [4, 4, 4, 4]}]', "object 1: the box"),
            ('[{"slice": 1, "points": [[4, 4]], "labels": [0]}]', "not of the object"),
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
