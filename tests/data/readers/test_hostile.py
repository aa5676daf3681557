"""What holds for every reader: damage of any kind is one clear line, or is read; names may be any."""

import io
import json
import pickle
import shutil
import struct
import tarfile
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from samtune.data.formats import open_splits, recognise
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.masks import mask_to_rle

HW = (12, 16)
PIXELS = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
LABELS = np.zeros(HW, np.uint8)
LABELS[2:8, 3:11] = 1
CORNERS = [[3, 2], [11, 2], [11, 8], [3, 8]]


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def huge_png():
    """The head of a picture of 10 GB."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def mask_folder(folder, write):
    write(folder / "images" / "a.png", PIXELS)
    write(folder / "labels" / "a.png", LABELS)
    (folder / "manifest.csv").write_text("id,split\na,train\n")


def masks_of_objects(folder, write):
    write(folder / "images" / "a.png", PIXELS)
    write(folder / "masks" / "a" / "1.png", LABELS)


def coco(folder, write):
    write(folder / "images" / "a.png", PIXELS)
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [np.ravel(CORNERS).tolist()]},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": mask_to_rle(LABELS > 0)},
    ]
    images = [{"id": 1, "file_name": "a.png", "height": HW[0], "width": HW[1]}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (folder / "coco.json").write_text(json.dumps(content))


def yolo(folder, write):
    write(folder / "images" / "a.png", PIXELS)
    (folder / "labels").mkdir()
    shares = " ".join(str(share) for share in (np.array(CORNERS) / HW[::-1]).ravel())
    (folder / "labels" / "a.txt").write_text(f"0 {shares}\n")
    (folder / "train.txt").write_text("images/a.png\n")
    (folder / "data.yaml").write_text("train: train.txt\nnames: [x]\n")


def labelme(folder, write):
    write(folder / "a.png", PIXELS)
    shape = {"label": "x", "points": CORNERS, "shape_type": "polygon", "group_id": None}
    content = {"shapes": [shape], "imagePath": "a.png", "imageHeight": HW[0], "imageWidth": HW[1]}
    (folder / "a.json").write_text(json.dumps(content))


def voc(folder, write):
    write(folder / "JPEGImages" / "a.jpg", PIXELS)
    write(folder / "SegmentationObject" / "a.png", LABELS)
    write(folder / "SegmentationClass" / "a.png", LABELS)
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    (folder / "labelmap.txt").write_text("background:0,0,0::\nx:128,0,0::\n")


def cvat(folder, write):
    write(folder / "images" / "a.png", PIXELS)
    points = ";".join(f"{x},{y}" for x, y in CORNERS)
    (folder / "annotations.xml").write_text(
        f'<annotations><image id="0" name="a.png" width="{HW[1]}" height="{HW[0]}">'
        f'<polygon label="x" points="{points}"/></image></annotations>'
    )


def label_studio(folder, write):
    write(folder / "images" / "a.png", PIXELS)
    points = (100 * np.array(CORNERS) / HW[::-1]).tolist()
    value = {"points": points, "polygonlabels": ["x"]}
    result = {"id": "r", "type": "polygonlabels", "value": value}
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [result]}]}
    (folder / "project.json").write_text(json.dumps([task]))


def shards(folder, write):
    rle = {"annotations": [{"id": 1, "segmentation": mask_to_rle(LABELS > 0)}]}
    members = {"a.png": png(PIXELS), "a.seg.png": png(LABELS), "b.png": png(PIXELS),
               "b.json": json.dumps(rle).encode()}  # fmt: skip
    with tarfile.open(folder / "train-0.tar", "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def volumes(folder, write):
    nibabel = pytest.importorskip("nibabel")
    for kind, values in (("images", PIXELS), ("labels", np.repeat(LABELS[..., None], 3, axis=2))):
        (folder / kind).mkdir()
        volume = nibabel.Nifti1Image(values.astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
        nibabel.save(volume, folder / kind / "p.nii.gz")


def geo(folder, write):
    rasterio = pytest.importorskip("rasterio")
    place = rasterio.transform.from_origin(500_000, 6_000_000, 2, 2)
    about = {"driver": "GTiff", "count": 3, "height": HW[0], "width": HW[1], "dtype": "uint8",
             "crs": "EPSG:32633", "transform": place}  # fmt: skip
    with rasterio.open(folder / "a.tif", "w", **about) as scene:
        scene.write(np.moveaxis(PIXELS, 2, 0))
    ring = [place * (x, y) for x, y in (*CORNERS, CORNERS[0])]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
        "features": [{"type": "Feature", "properties": {"class": "x"}, "geometry": polygon}],
    }
    (folder / "a.geojson").write_text(json.dumps(content))


def hub(folder, write):
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    content = {name: [{"bytes": png(v), "path": None}] for name, v in
               (("image", PIXELS), ("instances", LABELS))}  # fmt: skip
    features = datasets.Features(image=datasets.Image(), instances=datasets.Image())
    datasets.Dataset.from_dict(content, features).save_to_disk(folder / "saved")
    for file in (folder / "saved").iterdir():
        file.rename(folder / file.name)
    (folder / "saved").rmdir()


WRITERS = (mask_folder, masks_of_objects, coco, yolo, labelme, voc, cvat, label_studio, shards,
           volumes, geo, hub)  # fmt: skip
EVERY = pytest.mark.parametrize("written", WRITERS, ids=lambda w: w.__name__, indirect=True)
FILES = (
    "*.png", "*.jpg", "*.json", "*.geojson", "*.txt", "*.yaml", "*.xml", "*.csv", "*.tar", "*.gz",
    "*.tif", "*.arrow",
)  # fmt: skip


@pytest.fixture
def written(request, tmp_path, write):
    """A folder of one image and its object, in one of the formats, and the format's name."""
    folder = tmp_path / "data"
    folder.mkdir()
    request.param(folder, write)
    name = request.param.__name__
    return folder, "mask_folder" if name == "masks_of_objects" else name


def read_all(folder, name):
    """Each sample, the way a run reads it."""
    splits = SplitSettings(val_fraction=0, test_fraction=0)
    sources = open_splits(folder, name, SourceSettings(), splits).values()
    samples = []
    for source in sources:
        for index in range(len(source)):
            sample = source.read(index)
            assert sample.image.ndim == sample.labels.ndim == 3
            assert sample.image.shape[:2] == sample.labels.shape[1:] == source.hw(index)
            assert source.stored(index).shape[:2] == source.hw(index)
            samples.append(sample)
    return samples


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


@EVERY
def test_files_that_are_cut_off_are_said_or_read(written):
    folder, name = written
    for file in files_of(folder):
        content = file.read_bytes()
        for part in np.linspace(0.02, 0.98, 12):
            file.write_bytes(content[: int(part * len(content))])
            assert_clear(folder, name)
        file.write_bytes(content)


@EVERY
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


# Values that JSON, YAML and XML can hold and that no annotation should.
ABSURD = (
    None, True, -1, 0, 1.5, 2**31, 2**64, 10**400, float("nan"), float("inf"), 1e308,
    "", "x", "\0", "\ud800", "../../../../etc/passwd", "/etc", "x" * 5000,
    [], {}, [[]], [None], [[1, 2]], {"x": 1}, [float("nan")] * 6,
)  # fmt: skip


def with_leaf(content, number, value):
    """JSON content with one of its leaves or branches, by number, exchanged for a value."""
    places = []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk(content)
    node, key = places[number % len(places)]
    node[key] = value
    return content


@pytest.mark.parametrize(
    "written", [coco, labelme, label_studio], ids=lambda w: w.__name__, indirect=True
)
def test_fields_of_any_other_kind_are_said_or_read(written):
    folder, name = written
    (file,) = folder.glob("*.json")
    text = file.read_text()
    for number in range(40):
        for value in ABSURD[number % 4 :: 4]:  # all of them, over neighbouring fields
            file.write_text(json.dumps(with_leaf(json.loads(text), number, value)))
            assert_clear(folder, name)


@pytest.mark.parametrize("value", ABSURD, ids=lambda v: repr(v)[:20])
def test_fields_of_yolo_s_yaml_are_said_or_read(tmp_path, write, value):
    yolo(tmp_path, write)
    for key in ("train", "names", "path"):
        content = {"train": "train.txt", "names": ["x"], key: value}
        (tmp_path / "data.yaml").write_text(json.dumps(content))
        assert_clear(tmp_path, "yolo")
