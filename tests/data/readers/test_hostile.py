"""What holds for every reader: damage of any kind is one clear line, or is read; names may be any."""

import json
import pickle
import shutil
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from samtune.data.formats import open_splits, recognise
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from tests.fuzzing.damage import ABSURD, with_leaf
from tests.fuzzing.formats import FORMATS, LABELS, NEEDS, read_all, yolo


def huge_png():
    """The head of a picture of 10 GB."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


EVERY = pytest.mark.parametrize("written", FORMATS, indirect=True)
# The hub's files are opened in a process of their own, each damage anew
MANY_TIMES = pytest.mark.parametrize(
    "written",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "hub")) for name in FORMATS],
    indirect=True,
)
FILES = (
    "*.png", "*.jpg", "*.json", "*.geojson", "*.txt", "*.yaml", "*.xml", "*.csv", "*.tar", "*.gz",
    "*.tif", "*.arrow",
)  # fmt: skip


@pytest.fixture
def written(request, tmp_path):
    """A folder of one image and its object, in one of the formats, and the format's name."""
    folder = tmp_path / "data"
    folder.mkdir()
    if request.param in NEEDS:
        pytest.importorskip(NEEDS[request.param])
    FORMATS[request.param](folder)
    named = {"masks_of_objects": "mask_folder", "cvat_video": "cvat"}
    return folder, named.get(request.param, request.param)


def assert_clear(folder, name):
    """It is read, or refused by one line that names a file of it."""
    try:
        read_all(folder, name)
    except UserError as error:
        text = str(error)
        assert "\n" not in text.strip()
        assert str(folder.parent) in text
        assert len(text) <= 1000
    try:
        recognise(folder)
    except UserError as error:
        assert "is not recognised" in str(error)  # noqa: PT017


def files_of(folder):
    return sorted(file for pattern in FILES for file in folder.rglob(pattern))


@EVERY
def test_it_is_recognised_and_read(written):
    folder, name = written
    assert recognise(folder) == name
    for sample in read_all(folder, "auto"):
        assert (sample.labels.max(0) > 0).any()
        if name != "volumes":
            np.testing.assert_array_equal(sample.labels.max(0) > 0, LABELS > 0)


@EVERY
def test_folders_may_have_any_name(written, monkeypatch):
    folder, name = written
    other = folder.parent / "drei Äpfel [1] 100% #苹果"
    folder.rename(other)
    assert read_all(other, "auto")
    monkeypatch.chdir(other.parent)
    assert read_all(type(other)(other.name), name)


@EVERY
def test_a_link_to_the_folder_is_the_folder(written):
    folder, _ = written
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert read_all(link, "auto")


@EVERY
def test_links_that_run_in_circles_do_no_harm(written):
    folder, name = written
    (folder / "loop").symlink_to(folder)
    for inner in [path for path in folder.iterdir() if path.is_dir() and not path.is_symlink()]:
        (inner / "loop").symlink_to(inner)
    assert read_all(folder, name)
    for file in files_of(folder):
        content = file.read_bytes()
        file.unlink()
        file.symlink_to(file)
        assert_clear(folder, name)
        file.unlink()
        file.write_bytes(content)


@EVERY
def test_processes_that_read_get_a_copy(written):
    folder, name = written
    splits = open_splits(
        folder, name, SourceSettings(), SplitSettings(val_fraction=0, test_fraction=0)
    )
    again = pickle.loads(pickle.dumps(splits["train"]))  # noqa: S301
    np.testing.assert_array_equal(again.read(0).labels, splits["train"].read(0).labels)


@EVERY
@pytest.mark.parametrize(
    "damage", ["gone", "empty", "folder", "zeros", "noise", "text", "deep", "huge"]
)
def test_files_that_are_none_are_said(written, damage):
    folder, name = written
    contents = {"empty": b"", "zeros": bytes(4000), "text": "naïve\n".encode("latin-1") * 9,
                "noise": np.random.default_rng(1).bytes(4000), "deep": b"[" * 200_000,
                "huge": huge_png()}  # fmt: skip
    for file in files_of(folder):
        content = file.read_bytes()
        file.unlink()
        if damage == "folder":
            file.mkdir()
        elif damage != "gone":
            file.write_bytes(contents[damage])
        assert_clear(folder, name)
        shutil.rmtree(file) if damage == "folder" else file.unlink(missing_ok=True)
        file.write_bytes(content)


@MANY_TIMES
def test_files_that_are_cut_off_are_said_or_read(written):
    folder, name = written
    for file in files_of(folder):
        content = file.read_bytes()
        for part in np.linspace(0.02, 0.98, 12):
            file.write_bytes(content[: int(part * len(content))])
            assert_clear(folder, name)
        file.write_bytes(content)


@MANY_TIMES
@settings(max_examples=60, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(place=st.integers(0, 999), value=st.integers(0, 255), number=st.integers(0, 30))
@example(place=0, value=0, number=0)
@example(place=309, value=2, number=1)  # a GeoTIFF whose CRS is another
@example(place=328, value=128, number=1)  # text in Label Studio's file that is not UTF-8
@example(place=309, value=0, number=1)  # ... or none to which a way leads
def test_files_with_a_wrong_byte_are_said_or_read(written, place, value, number):
    folder, name = written
    files = files_of(folder)
    file = files[number % len(files)]
    content = file.read_bytes()
    changed = bytearray(content)
    changed[place * len(content) // 1000] = value
    try:
        file.write_bytes(changed)
        assert_clear(folder, name)
    finally:
        file.write_bytes(content)


@pytest.mark.parametrize("written", ["coco", "labelme", "label_studio"], indirect=True)
def test_fields_of_any_other_kind_are_said_or_read(written):
    folder, name = written
    (file,) = folder.glob("*.json")
    text = file.read_text()
    for number in range(40):
        for value in ABSURD[number % 4 :: 4]:  # all of them, over neighbouring fields
            file.write_text(json.dumps(with_leaf(json.loads(text), number, value)))
            assert_clear(folder, name)


@pytest.mark.parametrize("value", ABSURD, ids=lambda v: repr(v)[:20])
def test_fields_of_yolo_s_yaml_are_said_or_read(tmp_path, value):
    yolo(tmp_path)
    for key in ("train", "names", "path"):
        content = {"train": "train.txt", "names": ["x"], key: value}
        (tmp_path / "data.yaml").write_text(json.dumps(content))
        assert_clear(tmp_path, "yolo")
