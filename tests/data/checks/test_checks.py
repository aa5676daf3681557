"""What a look at the data finds before training."""

import io
import re
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from samtune.data.checks import look
from samtune.data.checks.alignment import find_common_step, measure_alignment
from samtune.data.checks.checking import check
from samtune.data.checks.leaks import find_leaks
from samtune.data.checks.look import fingerprint, look_at, thumbnail
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.source import Record, Source, Subset
from samtune.errors import UserError
from samtune.types import Sample


class Pictures(Source):
    """Samples in memory."""

    def __init__(self, *samples):
        self.samples = samples
        self.records = [
            Record(s.image_id, Path(s.image_id), group=s.group) if s else Record("x", Path("x.png"))
            for s in samples
        ]

    def read(self, index):
        if self.samples[index] is None:
            raise UserError("x.png is broken")
        return self.samples[index]

    def stored(self, index):
        return self.samples[index].image


def sample(seed, name="", side=64, size=20, classes=None, group="", value=None):
    rng = np.random.default_rng(seed)
    small = rng.integers(60, 250, (8, 8, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
    image = np.full_like(image, value) if value is not None else image
    labels = np.zeros((1, side, side), np.int32)
    labels[0, :size, :size] = 1
    return Sample(name or f"{seed}", image, labels, classes or {}, group)


def texts(result, level):
    return [finding.text for finding in result.findings if finding.level == level]


def looked(train, val, test, side=64, stretch="none", tile=0):
    sources = {"train": Pictures(*train), "val": Pictures(*val), "test": Pictures(*test)}
    return check(sources, side, stretch, 1, tile)


def test_good_data_are_ok_and_counted():
    result = looked([sample(1), sample(2, side=80)], [sample(3)], [sample(4)])
    assert (result.verdict, result.findings) == ("ok", [])
    train = result.splits["train"]
    assert (train.num_images, train.num_objects, train.num_too_small) == (2, 2, 0)
    assert train.sizes == {"64x64": 1, "80x80": 1}
    assert train.area_quantiles == [400.0] * 5
    assert result.as_dict()["verdict"] == "ok"


def test_the_same_image_in_two_splits_is_an_error_and_twice_in_one_a_warning():
    result = looked([sample(1), sample(1, "again")], [sample(2)], [sample(1, "leak")])
    assert result.verdict == "errors"
    (error,) = texts(result, "error")
    assert error.startswith("1 image lies in two splits, such as 1 (train) and leak (test)")
    (warning,) = texts(result, "warning")
    assert warning.startswith("1 image is there twice within a split, such as 1 (train)")


def test_nearly_the_same_image_is_found_brighter_resized_and_saved_anew(tmp_path):
    original = sample(1)
    bright = np.clip(original.image * 1.05 + 4, 0, 255).astype(np.uint8)
    other = Sample("frame 2", bright, original.labels)
    result = looked([original], [sample(2)], [other])
    (warning,) = texts(result, "warning")
    assert warning.startswith(
        "1 pairs of images in two splits are nearly the same, such as 1 (train)"
    )
    Image.fromarray(original.image).resize((50, 50)).save(tmp_path / "a.jpg", quality=80)
    again = fingerprint(np.asarray(Image.open(tmp_path / "a.jpg")))
    assert (again ^ fingerprint(original.image)).bit_count() <= 2


def test_nearly_the_same_images_within_a_split_are_told_unless_they_belong_together():
    frames = [
        replace(sample(1), image_id=f"f{n}", image=sample(1).image - np.uint8(n), group=group)
        for n, group in enumerate(["", "", "", "v1", "v1"])
    ]
    rest = [sample(2)], [sample(3)]
    result = looked([*frames[:3], sample(4)], *rest)
    assert result.verdict == "warnings"
    (warning,) = texts(result, "warning")
    assert warning.startswith(
        "3 pairs of images within a split are nearly the same, such as f0 (train) and f1 (train): "
    )
    assert looked(frames[3:], *rest).findings == []
    (warning,) = texts(looked(frames[2:], *rest), "warning")
    assert warning.startswith("2 pairs of images within a split")


def test_different_images_and_flat_ones_are_not_alike():
    result = looked(
        [sample(n) for n in range(60)], [sample(100)], [sample(n) for n in range(200, 260)]
    )
    assert result.findings == []
    flat = [sample(n, value=200, size=n + 3) for n in range(3)]
    assert fingerprint(flat[0].image) is None


def fundus(patient, shift=0):
    """A bright disc on black, as all of them are, with vessels of its own."""
    rng = np.random.default_rng(patient)
    rows, columns = np.mgrid[:256, :256]
    image = np.where((rows - 128) ** 2 + (columns - 128) ** 2 < 120**2, 130.0, 5.0)
    image += np.where((rows - 128) ** 2 + (columns - 190) ** 2 < 20**2, 70, 0)
    for _ in range(14):
        x, y, angle, bend = rng.uniform((60, 60, 0, -0.02), (200, 200, 6.3, 0.02))
        for step in range(120):
            x, y = x + np.cos(angle + bend * step), y + np.sin(angle + bend * step)
            image[(rows - y) ** 2 + (columns - x) ** 2 < 9] = 105
    image = np.clip(image + rng.normal(0, 3, image.shape) + shift, 0, 255)
    labels = np.zeros((1, 256, 256), np.uint16)
    labels[0, 40:80, 40:80] = 1
    return Sample(f"p{patient}-{shift}", np.repeat(image[..., None], 3, 2).astype(np.uint8), labels)


def test_pictures_of_one_kind_are_not_nearly_the_same_but_those_of_one_patient_are(monkeypatch):
    patients = [fundus(number) for number in range(8)]
    likeness = thumbnail(patients[0].image) @ thumbnail(patients[1].image)
    assert likeness > 0.97  # their thumbnails alone would say so
    monkeypatch.setattr(look, "fingerprint", lambda image: 7)  # and so may their bits

    def told(val):
        found = texts(looked(patients[:6], [val], [patients[7]]), "warning")
        return [text for text in found if "nearly the same" in text]

    assert told(patients[6]) == []
    (text,) = told(fundus(0, 6))
    assert text.startswith("1 pairs of images in two splits are nearly the same")


def vessel(rng, image, place, angle, width, length, depth):
    """A vessel that bends and forks, drawn into a picture."""
    points = [place]
    for _ in range(int(length)):
        angle += rng.normal(0, 0.06)
        points.append(points[-1] + 2 * np.array([np.cos(angle), np.sin(angle)]))
    line = np.rint(np.array(points) * 16).astype(np.int32)
    cv2.polylines(image, [line], False, 35.0, max(1, round(width)), cv2.LINE_AA, 4)
    for side in (-1, 1) if depth else ():
        turned = angle + side * rng.uniform(0.25, 0.7)
        vessel(rng, image, points[-1], turned, 0.7 * width, 0.75 * length, depth - 1)


def retina(patient, side=256):
    """A fundus photograph as cameras make it: disc, fovea and light where they always are."""
    rng = np.random.default_rng(patient)
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    distance = rows**2 + columns**2
    green = 120 + rng.normal(0, 8) - 255 * distance + rng.normal(0, 12) * columns
    y, x = rng.normal(0, 0.012), 0.17 + rng.normal(0, 0.01)
    green += 70 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 0.002)
    green -= 30 * np.exp(-(rows**2 + (columns + 0.05) ** 2) / 0.005)
    vessels = np.zeros((side, side), np.float32)
    for angle in np.repeat((-2.2, -1.2, 1.2, 2.2), 2):
        start = (np.array([x, y]) + 0.5) * side
        vessel(rng, vessels, start, angle + rng.normal(0, 0.25), side / 90, side / 10, 3)
    green = green - cv2.GaussianBlur(vessels, (0, 0), 1)
    image = np.where(
        (distance < 0.235)[..., None], np.dstack([1.5 * green, green, 0.45 * green]), 4
    )
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)


def of_retina(image, name):
    labels = np.zeros((1, *image.shape[:2]), np.uint16)
    labels[0, 80:120, 80:120] = 1
    return Sample(name, image, labels)


def saved_anew(image, quality):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def resized(image, share):
    side = round(image.shape[0] * share)
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.LANCZOS))


def cropped(image, share):
    edge = round(image.shape[0] * share)
    return image[edge:-edge, edge:-edge]


def test_photographs_of_retinas_are_told_apart_and_copies_are_found():
    """Discs with other vessels are no duplicates; what was saved anew, resized or cut slightly is."""
    images = [retina(patient) for patient in range(36)]
    changes = [
        lambda image: saved_anew(image, 50), lambda image: resized(image, 0.4),
        lambda image: resized(image, 1.5), lambda image: cropped(image, 0.01),
        lambda image: cropped(image, 0.015),
        lambda image: saved_anew(resized(cropped(image, 0.01), 0.6), 70),
        lambda image: np.clip(image * 1.1 + 5.0, 0, 255).astype(np.uint8),
    ]  # fmt: skip
    train = [of_retina(image, f"p{n}") for n, image in enumerate(images[:28])]
    others = [of_retina(image, f"q{n}") for n, image in enumerate(images[28:])]
    copies = [of_retina(changes[n % 7](images[n]), f"c{n}") for n in range(28)]
    found = looked(train, copies, others)
    told = [text for text in texts(found, "warning") if "nearly the same" in text]
    assert len(told) == 1
    assert told[0].startswith("28 pairs of images in two splits are nearly the same")


def test_thousands_of_like_images_are_not_all_counted():
    """Slices of one region: the same bits, some of them alike, some not."""
    first = look_at("train", Pictures(sample(1)), 0, 1)
    rng = np.random.default_rng(0)

    def seen(number, spread):
        values = first.thumbnail + rng.normal(0, spread, 256).astype(np.float32)
        return replace(
            first, split="val" if number % 7 == 0 else "train", image_id=f"{number}",
            digest=f"{number}", thumbnail=values / np.linalg.norm(values),
        )  # fmt: skip

    started = time.process_time()
    ((_, text),) = find_leaks([seen(n, 0.001) for n in range(3000)])
    assert text.startswith("more than 1000 pairs of images in two splits are nearly the same")
    assert list(find_leaks([seen(n, 1.0) for n in range(3000)])) == []
    apart = [replace(seen(n, 1.0), group=f"{n}") for n in range(3000)]
    assert list(find_leaks(apart)) == []
    ((_, text),) = find_leaks([seen(n, 0.001) for n in range(14)])
    assert text.startswith("24 pairs")
    assert time.process_time() - started < 5


def test_like_bits_alone_make_no_duplicates():
    pictures = []
    for jump in (8, 32, 56):  # brighter and brighter to the right, by a jump at another place
        row = np.arange(64) // 2 + 40 + 150 * (np.arange(64) >= jump)
        image = np.repeat(np.tile(row, (64, 1))[..., None], 3, axis=2).astype(np.uint8)
        pictures.append(Sample(f"{jump}", image, sample(0).labels))
    assert len({fingerprint(picture.image) for picture in pictures}) == 1
    assert looked(pictures[:1], pictures[1:2], pictures[2:]).findings == []


def test_groups_in_two_splits_are_an_error():
    result = looked([sample(1, group="p1")], [sample(2, group="p2")], [sample(3, group="p1")])
    assert texts(result, "error")[0].startswith("1 group lies in two splits, such as p1")


def with_column(name, values, split="train"):
    pictures = Pictures(*(sample(hash_of(split) + n, f"{split}{n}") for n in range(len(values))))
    pictures.records = [
        replace(record, split=split, columns=((name, value),))
        for record, value in zip(pictures.records, values, strict=True)
    ]
    return pictures


def hash_of(split):
    return {"train": 0, "val": 100, "test": 200}[split]


@pytest.mark.parametrize(
    ("column", "in_test", "told"),
    [
        ("Patient", ["p1", "p3"], "(3 values) can say .* 1 of them, such as p1, lie in two splits; set "
         "data.group_column Patient"),
        ("slide", ["p3", "p3"], "images that share one are counted as independent; set"),
        ("site", ["p1", "p2"], ""),  # kinds, which all splits should have
        ("colour", ["p1", "p3"], ""),
    ],
)  # fmt: skip
def test_a_column_that_no_setting_names_is_told(column, in_test, told):
    sources = {
        "train": with_column(column, ["p1", "p1", "p2"]), "test": with_column(column, in_test, "test")
    }  # fmt: skip
    found = [text for text in texts(check(sources, 64, "none", 1), "warning") if "column" in text]
    assert len(found) == bool(told)
    assert not told or re.search(told.replace("(3 values)", r"\(3 values\)"), found[0])


def test_a_column_of_groups_that_are_kept_together_already_is_not_told():
    sources = {
        "train": with_column("patient", ["p1", "p1", "p2"]),
        "val": with_column("patient", ["p3"], "val"),
    }
    for source in sources.values():
        source.records = [replace(r, group=dict(r.columns)["patient"]) for r in source.records]
    assert not any("column" in text for text in texts(check(sources, 64, "none", 1), "warning"))


def test_small_objects_are_judged_at_the_model_s_input():
    train = [sample(n, side=512, size=20) for n in (1, 2)]
    rest = [sample(3)], [sample(4)]
    assert looked(train, *rest, side=512).findings == []
    (warning,) = texts(looked(train, *rest, side=64), "warning")
    assert warning.startswith("2 of 2 objects of train are narrower than 8 pixels")
    assert warning.endswith("set data.tile 64")
    warning = texts(looked(train, *rest, side=20, tile=64), "warning")[0]
    assert warning.endswith("set a larger image_size")
    assert looked(train, *rest, side=64, tile=64).findings == []


def test_objects_below_the_smallest_area_are_told():
    grid = np.zeros((1, 64, 64), np.int32)
    for number, place in enumerate([(y, x) for y in range(30, 60, 6) for x in range(0, 60, 6)]):
        grid[0, place[0] : place[0] + 3, place[1] : place[1] + 3] = number + 2
    few = replace(sample(1), labels=sample(1).labels + grid)
    rest = {"val": Pictures(sample(3)), "test": Pictures(sample(4))}
    result = check({"train": Pictures(few), **rest}, 64, "none", 10)
    assert (result.splits["train"].num_objects, result.splits["train"].num_left_out) == (1, 50)
    (warning,) = texts(result, "warning")
    assert warning.startswith(
        "50 of 51 objects of train are smaller than data.min_area pixels and are"
    )
    assert check({"train": Pictures(few), **rest}, 256, "none", 9).findings == []
    (error,) = texts(check({"train": Pictures(few), **rest}, 64, "none", 401), "error")[:1]
    assert error.startswith("train has no objects: all 51 have fewer pixels than data.min_area")


def test_a_speck_among_many_objects_is_nothing_to_warn_of():
    labels = np.arange(1, 401, dtype=np.int32).reshape(1, 20, 20).repeat(3, 1).repeat(3, 2)
    speck = np.pad(labels, ((0, 0), (0, 4), (0, 4)))
    speck[0, 62, 62] = 500
    image = sample(1).image
    result = check({"train": Pictures(Sample("a", image, speck))}, 512, "none", 9)
    assert result.splits["train"].num_left_out == 1
    assert not any("min_area" in text for text in texts(result, "warning"))


def test_dark_images_ask_for_a_stretch():
    dark = [replace(s, image=s.image // 20) for s in (sample(n) for n in (5, 6, 7))]
    rest = [sample(3)], [sample(4)]
    (warning,) = texts(looked(dark, *rest), "warning")
    assert "are dark (mean 7 of 255): set data.stretch auto" in warning
    assert looked(dark, *rest, stretch="auto").findings == []


def test_images_without_a_finite_value_are_told_apart_from_flat_ones(tmp_path):
    for number, values in enumerate((np.full((32, 32), np.nan), np.full((32, 32), 0.5))):
        for folder, pixels in (("images", values.astype(np.float32)), ("labels", np.eye(32))):
            place = tmp_path / folder / f"{number}.tif"
            place.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels.astype(np.float32)).save(place)
    result = check({"train": MaskFolder(tmp_path)}, 64, "none", 1)
    assert result.splits["train"].num_flat == 1
    assert any("0.tif holds no values, only NaN or infinity" in t for t in texts(result, "error"))
    told = texts(result, "warning")
    assert "1 image of train of one colour alone: nothing can be seen in it" in told


def test_flat_images_are_counted_and_are_no_duplicates():
    result = looked([sample(n, value=90) for n in range(3)], [sample(3)], [sample(4)])
    assert texts(result, "warning") == [
        "3 images of train of one colour alone: nothing can be seen in it"
    ]
    assert result.splits["train"].num_flat == 3


def test_what_the_files_hold_is_told_and_several_kinds_are_a_warning():
    wide = Pictures(sample(1))
    wide.stored = lambda index: np.full((4, 4, 5), 700, np.uint16)
    sources = {"train": wide, "val": Pictures(sample(2)), "test": Pictures(sample(3))}
    result = check(sources, 64, "none", 1)
    assert result.splits["train"].values == {"5 x uint16, 700 to 700": 1}
    assert "several kinds (3 x uint8, 5 x uint16)" in texts(result, "warning")[0]


def test_values_that_are_not_finite_do_not_hide_the_range():
    floats = Pictures(sample(1))
    floats.stored = lambda index: np.array([[[np.nan], [2.5], [np.inf]]], np.float32)
    result = check({"train": floats}, 64, "none", 1)
    assert list(result.splits["train"].values) == ["1 x float32, 2.5 to 2.5"]


def test_images_with_a_band_that_holds_nothing_are_counted():
    floats = Pictures(sample(1))
    floats.stored = lambda index: np.dstack([np.full((4, 4), np.nan), np.eye(4)]).astype(np.float32)
    told = texts(check({"train": floats}, 64, "none", 1), "warning")
    assert any("1 images of train have a band that holds nothing but NaN" in text for text in told)


def test_objects_that_touch_or_overlap_are_counted():
    labels = np.zeros((2, 64, 64), np.int32)
    labels[0, 0:9, 0:9], labels[0, 0:9, 9:20], labels[0, 30:40, 30:40] = 1, 2, 3
    labels[1, 35:50, 35:50] = 4
    result = looked([replace(sample(1), labels=labels)], [sample(2)], [sample(3)])
    assert result.splits["train"].num_touching == 3


class TestAlignment:
    @staticmethod
    def bright(seed, step=(0, 0)):
        """A bright disc on noise, and its mask moved by (down, right)."""
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:128, :128]
        row, column = rng.integers(45, 85, 2)
        disc = np.hypot(y - row, x - column) < 18
        image = (rng.integers(60, 80, (128, 128, 3)) + 90 * disc[..., None]).astype(np.uint8)
        return Sample(f"{seed}", image, np.roll(disc, step, (0, 1))[None].astype(np.int32), {})

    @pytest.mark.parametrize("step", [(4, 0), (0, -6), (-5, 9)])
    def test_a_common_step_is_said(self, step):
        samples = [self.bright(n, (-step[0], -step[1])) for n in range(6)]
        found = [measure_alignment(s) for s in samples]
        assert find_common_step(found) == step

    def test_outlines_in_place_or_off_by_chance_are_not(self):
        found = [measure_alignment(self.bright(n)) for n in range(6)]
        assert find_common_step(found) is None
        rng = np.random.default_rng(0)
        steps = rng.integers(-9, 9, (8, 2))
        found = [measure_alignment(self.bright(n, tuple(s))) for n, s in enumerate(steps)]
        assert find_common_step(found) is None

    def test_little_is_not_measured(self):
        assert measure_alignment(sample(1)) is None
        assert measure_alignment(sample(1, side=128, size=0)) is None
        assert measure_alignment(sample(1, side=128, value=7)) is None
        assert find_common_step([measure_alignment(self.bright(1, (5, 0)))] * 4) is None

    def test_the_check_tells_where_to(self):
        moved = [self.bright(n, (-4, 3)) for n in range(6)]
        result = looked(moved, [self.bright(7)], [self.bright(8)], side=128)
        (warning,) = texts(result, "warning")
        assert "moved 4 pixels down and 3 pixels left" in warning


def test_a_short_check_reads_some_images_and_compares_all_groups():
    samples = [sample(n, group=f"g{n}") for n in range(40)]
    result = check(
        {"train": Pictures(*samples), "val": Pictures(samples[17])}, 64, "none", 1, most=5
    )
    assert (result.splits["train"].num_images, result.splits["train"].num_looked_at) == (40, 5)
    assert any("group lies in two splits, such as g17" in text for text in texts(result, "error"))


def test_empty_splits_empty_masks_and_unknown_classes():
    empty = Sample("e", sample(9).image, np.zeros((1, 64, 64), np.int32))
    result = looked([sample(1, classes={1: "cell"})], [empty], [sample(2, classes={1: "vessel"})])
    assert texts(result, "error") == ["val has no objects: its masks are empty"]
    assert texts(result, "warning") == ["test has classes that train lacks: vessel"]
    result = looked([sample(1), empty], [], [])
    assert [finding.level for finding in result.findings] == ["error", "warning", "warning"]
    assert texts(result, "error") == ["val has no images: the best step cannot be chosen"]
    assert "1 of 2 images of train without an object" in texts(result, "warning")[0]


def test_what_cannot_be_read_is_an_error_and_the_rest_is_looked_at():
    result = looked([sample(1), None], [sample(2)], [sample(3)])
    (error,) = texts(result, "error")
    assert error.startswith("cannot be read: x.png is broken (data.on_error: skip")
    skipping = check({"train": Pictures(sample(1), None)}, 64, "none", 1, on_error="skip")
    assert any("x.png is broken" in text for text in texts(skipping, "warning"))
    assert result.splits["train"].num_looked_at == 1


def test_many_images_that_cannot_be_read_are_one_finding():
    sources = {"train": Pictures(sample(1), *[None] * 40), "val": Pictures(sample(2))}
    for on_error in ("fail", "skip"):
        found = check(sources, 64, "none", 1, on_error=on_error).findings
        (text,) = [finding.text for finding in found if "read" in finding.text]
        assert ": 40 images, such as x.png is broken; x.png is broken; x.png is broken" in text
        assert text.count("x.png") == 3


@pytest.mark.realdata
def test_real_nuclei_are_ok(real_data):
    source = MaskFolder(real_data / "nuclei")
    sources = {
        split: Subset(source, [n for n, r in enumerate(source.records) if r.split == split][:20])
        for split in ("train", "val", "test")
    }
    result = check(sources, 1024, "auto", 10)
    assert result.verdict == "ok"
    assert result.splits["train"].num_objects > 100
