"""Tar shards of SA-1B and webdataset, and mistakes in them."""

import io
import json
import pickle
import tarfile
import tracemalloc
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.shards import Shards
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.masks import mask_to_rle

HW = (6, 8)
PIXELS = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
LABELS = np.zeros(HW, np.uint16)
LABELS[1:3, 1:4], LABELS[4:6, 2:8] = 1, 40_000


def encoded(values, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def annotations(*masks, first_id=1):
    found = [
        {"id": number, "segmentation": mask_to_rle(mask), "area": int(mask.sum())}
        for number, mask in enumerate(masks, start=first_id)
    ]
    about = {"image_id": 1, "width": HW[1], "height": HW[0], "file_name": "sa_1.jpg"}
    return json.dumps({"image": about, "annotations": found}).encode()


def write_tar(file, members, form=tarfile.PAX_FORMAT):
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w", format=form) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file


@pytest.fixture
def shard(tmp_path):
    """A function that opens a shard of given members."""
    return lambda members, **more: Shards(
        write_tar(tmp_path / "sa_000000.tar", members), SourceSettings(**more)
    )


SA1B = {"./sa_1.jpg": encoded(PIXELS, "JPEG"), "./sa_1.json": annotations(LABELS == 1, LABELS > 1)}


def test_sa_1b_is_read(shard, tmp_path):
    source = shard(SA1B)
    sample = source.read(0)
    assert sample.image_id == "sa_000000/sa_1"
    assert source.hw(0) == HW == sample.image.shape[:2]
    np.testing.assert_array_equal(sample.labels[0], np.where(LABELS > 1, 2, LABELS))
    assert sample.classes == {1: "", 2: ""}
    assert recognise(tmp_path) == recognise(tmp_path / "sa_000000.tar") == "shards"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_every_kind_and_names_of_every_length(tmp_path, form):
    long = "déjà vu/" * 10 + "x" * 60
    members = {f"{long}.v1.png": encoded(PIXELS), f"{long}.v1.seg.png": encoded(LABELS)}
    if form == tarfile.USTAR_FORMAT:
        members = {name.removeprefix("déjà vu/" * 2): each for name, each in members.items()}
    source = Shards(write_tar(tmp_path / "a.tar", members, form))
    np.testing.assert_array_equal(source.read(0).image, PIXELS)
    np.testing.assert_array_equal(source.read(0).labels[0], LABELS)


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("a.jpg", "a.png"), {}),
        (("a.png", "a.seg.png"), {}),
        (("a.webp", "a.labels.png"), {}),
        (("a.jpeg", "a.mask.png"), {1: "1", 40_000: "40000"}),
    ],
)
def test_label_images_are_read(shard, names, classes):
    kinds = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "png": "PNG"}
    pixels = encoded(PIXELS, kinds[names[0].split(".")[1]])
    sample = shard({names[1]: encoded(LABELS), names[0]: pixels}).read(0)
    np.testing.assert_array_equal(sample.labels[0], LABELS)
    assert sample.classes == classes


def test_a_mask_goes_before_a_json_of_something_else(shard):
    members = {"a.jpg": encoded(PIXELS, "JPEG"), "a.json": b'{"caption": "x"}',
               "a.png": encoded(LABELS), "._a.jpg": b"", "README.txt": b"about"}  # fmt: skip
    assert shard(members).read(0).labels.max() == 40_000


def test_names_of_shards_and_folders_are_splits(tmp_path):
    members = {"a.png": encoded(PIXELS), "a.seg.png": encoded(LABELS)}
    for name in ("train-0000", "val-0000", "test/0000"):
        write_tar(tmp_path / f"{name}.tar", members)
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: [r.image_id for r in part.records] for name, part in splits.items()} == {
        "train": ["train-0000/a"], "val": ["val-0000/a"], "test": ["test/0000/a"],
    }  # fmt: skip


MASKS = st.lists(arrays.arrays(bool, HW).filter(np.any), max_size=3)


@settings(max_examples=30, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(images=st.lists(MASKS, min_size=1, max_size=3),
       first_id=st.integers(1, 2**31 - 5))  # fmt: skip
def test_what_is_written_is_read(shard, images, first_id):
    members = {}
    for number, masks in enumerate(images):
        members[f"sa_{number}.jpg"] = encoded(PIXELS, "JPEG")
        members[f"sa_{number}.json"] = annotations(*masks, first_id=first_id)
    source = shard(members)
    for index, masks in enumerate(images):
        labels = source.read(index).labels
        for number, mask in enumerate(masks, start=first_id):
            np.testing.assert_array_equal((labels == number).any(0), mask)


def test_processes_that_read_get_a_copy(shard):
    source = shard(SA1B)
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    np.testing.assert_array_equal(again.read(0).labels, source.read(0).labels)


def test_an_image_costs_little_memory_however_large_it_is(shard):
    members = {}
    for number in range(300):
        members[f"{number}.png"], members[f"{number}.seg.png"] = bytes(50_000), bytes(10)
    file = shard(members).records[0].path
    tracemalloc.start()
    try:
        source = Shards(file)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(source) == 300
    assert kept / 300 < 2000
    assert peak / 300 < 4000


def test_a_tar_that_is_cut_off_is_said_or_read(tmp_path):
    whole = write_tar(tmp_path / "a.tar", SA1B).read_bytes()
    for length in range(0, len(whole), 100):
        (tmp_path / "a.tar").write_bytes(whole[:length])
        with suppress(UserError):
            assert Shards(tmp_path / "a.tar").read(0).labels.any()


@settings(max_examples=150, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(
    changes=st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_damaged_tars_are_said_or_read(tmp_path, changes):
    content = bytearray(write_tar(tmp_path / "a.tar", SA1B).read_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    (tmp_path / "a.tar").write_bytes(content)
    with suppress(UserError):
        assert Shards(tmp_path / "a.tar").read(0).labels.shape[1:] == HW


@pytest.mark.parametrize("size", [-512, -1, 2**62])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_sizes_that_lead_backwards_or_far_away_are_said(tmp_path, size, kind):
    info = tarfile.TarInfo("a.jpg")
    info.size, info.type = size, kind
    header = info.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "a.tar").write_bytes(header + bytes(4096))
    with pytest.raises(UserError, match=r"a\.tar is no whole tar"):
        Shards(tmp_path / "a.tar")


def test_a_chain_of_long_names_is_said(tmp_path):
    info = tarfile.TarInfo("a")
    info.size, info.type = 1, tarfile.GNUTYPE_LONGNAME
    member = info.tobuf(tarfile.GNU_FORMAT) + b"a".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(member * 5000 + bytes(1024))
    with pytest.raises(UserError, match=r"a\.tar is no whole tar"):
        Shards(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["../../etc/passwd.jpg", "/etc/a.jpg", "C:\\a.jpg", "a\nb.jpg"])
def test_names_that_lead_elsewhere_are_only_names(shard, name):
    source = shard({name: encoded(PIXELS), f"{name[:-4]}.seg.png": encoded(LABELS)})
    assert source.read(0).labels.max() == 40_000


def test_links_and_folders_are_passed_over(tmp_path):
    file = write_tar(tmp_path / "a.tar", SA1B)
    with tarfile.open(file, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo("sa_2.jpg")
            info.type, info.linkname = kind, "/etc/passwd"
            tar.addfile(info)
    assert len(Shards(file)) == 1


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"a.jpg": b"x"}, r"a\.jpg has no partner: expected a with \.seg\.png, .*\.json"),
        ({"a.json": b"{}"}, r"a\.json has no partner: expected a with \.png, \.jpg"),
        ({"a.txt": b"x"}, "holds no images"),
        ({}, "holds no images"),
    ],
)
def test_members_without_partners_are_said(shard, members, reason):
    with pytest.raises(UserError, match=rf"sa_000000\.tar.*{reason}"):
        shard(members)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (b"", "no annotations as SA-1B has them"),
        (b"[]", "no annotations as SA-1B has them"),
        (b'{"annotations": 3}', "no annotations as SA-1B has them"),
        (b'{"annotations": [3]}', "no annotations as SA-1B has them"),
        (b"[" * 100_000, "no annotations as SA-1B has them"),
        (
            annotations(np.ones((4, 4), bool)),
            "annotation 1 of .* is 4x4 pixels, but its image is 8x6",
        ),
    ],
)
def test_annotations_that_are_none_are_named(shard, labels, reason):
    source = shard({"a.jpg": encoded(PIXELS, "JPEG"), "a.json": labels})
    with pytest.raises(UserError, match=reason):
        source.read(0)


@pytest.mark.parametrize(
    ("image", "labels"),
    [(b"", encoded(LABELS)), (encoded(PIXELS), b""), (encoded(PIXELS), encoded(LABELS[:3])),
     (encoded(PIXELS)[:60], encoded(LABELS)), (b"II*\0" + bytes(100), encoded(LABELS))],
)  # fmt: skip
def test_images_that_are_damaged_or_of_another_size_are_named(shard, image, labels):
    with pytest.raises(UserError, match=r"sa_000000\.tar, a\.(seg\.)?png"):
        shard({"a.png": image, "a.seg.png": labels}).read(0)


def test_compressed_tars_and_empty_folders_are_said(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(UserError, match=r"a\.tar is no whole tar without compression"):
        Shards(tmp_path)
    (tmp_path / "a.tar").unlink()
    with pytest.raises(UserError, match=r"holds no shards \*\.tar"):
        Shards(tmp_path)


@pytest.mark.parametrize("layout", ["{}-000000.tar", "{}/000000.tar"])
def test_shards_may_be_called_by_other_words_for_splits(tmp_path, layout):
    for split in ("training", "validation", "test"):
        write_tar(tmp_path / layout.format(split), SA1B)
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: len(part) for name, part in splits.items()} == {"train": 1, "val": 1, "test": 1}


def test_a_member_that_is_there_twice_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, content in (("a.png", encoded(PIXELS)), *[("a.seg.png", encoded(LABELS))] * 2):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(UserError, match=r"holds a\.seg\.png twice"):
        Shards(tmp_path / "a.tar")


def test_what_lies_beside_image_and_labels_is_counted(shard):
    members = {"a.png": encoded(PIXELS), "a.seg.png": encoded(LABELS), "a.json": b"{}"}
    (note,) = shard(members | {"a.mask.png": encoded(LABELS)}).notes
    assert "2 files beside an image and its labels left out" in note


@pytest.mark.parametrize(
    ("told", "more"),
    [
        ({"category_id": 3}, {"categories": [{"id": 3, "name": "cat"}]}),
        ({"category_id": "cat"}, {}),
        ({"category": "cat"}, {}),
        ({"category_name": "cat"}, {}),
    ],
)
def test_classes_of_annotations_have_their_names(shard, told, more):
    content = json.loads(annotations(LABELS == 1)) | more
    content["annotations"][0] |= told
    source = shard({"a.png": encoded(PIXELS), "a.json": json.dumps(content).encode()})
    assert source.read(0).classes == {1: "cat"}


@pytest.mark.parametrize("marked", [{"iscrowd": 1}, {"segmentation": []}])
def test_annotations_that_are_left_out_are_told_once(shard, marked, caplog):
    content = json.loads(annotations(LABELS == 1, LABELS > 1))
    content["annotations"][0] |= marked
    source = shard({"a.png": encoded(PIXELS), "a.json": json.dumps(content).encode()})
    assert np.unique(source.read(0).labels).tolist() == [0, 2]
    source.read(0)
    assert caplog.text.count("1 annotation without a segmentation, or of a crowd, left out") == 1
