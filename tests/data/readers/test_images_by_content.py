"""Images are known by their content, wherever they lie and whatever they are called."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from samtune.data.formats import open_splits, recognise
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.images.kinds import content_suffix, is_picture
from samtune.images.pixels import read_image
from samtune.images.writing import write_image

IMAGE = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
LABELS = np.zeros((24, 32), np.uint8)
LABELS[4:12, 5:20] = 1


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def samples(path):
    splits = open_splits(path, "auto", SourceSettings(), SplitSettings())
    return {
        record.image_id: source.read(number)
        for source in splits.values() for number, record in enumerate(source.records)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [("PNG", ".png"), ("JPEG", ".jpg"), ("TIFF", ".tif"), ("BMP", ".bmp"), ("WEBP", ".webp")],
)
def test_each_kind_is_known_by_how_it_begins(tmp_path, kind, suffix):
    content = encoded(IMAGE, kind)
    assert content_suffix(content[:132]) == suffix
    for name in ("scan", "scan.0001", "scan.dat"):
        put(tmp_path / name, content)
        assert is_picture(tmp_path / name)
        assert write_image(tmp_path / name, IMAGE, tmp_path / "o" / name).suffix == suffix
    assert read_image(tmp_path / "scan").shape == IMAGE.shape


@pytest.mark.parametrize(
    "content",
    [b"", b"BM is how this text begins, and a long one", b"RIFF....WAVEfmt ", b"\0" * 200],
)
def test_other_files_are_none(tmp_path, content):
    put(tmp_path / "x", content)
    assert not is_picture(tmp_path / "x")
    assert not is_picture(tmp_path)


def test_in_folders_of_yolo_pascal_cellpose_and_masks(tmp_path):
    yolo, voc, beside, masks = (tmp_path / name for name in ("yolo", "voc", "beside", "masks"))
    for name in ("a", "b"):
        put(yolo / "images" / "train" / name, encoded(IMAGE))
        put(yolo / "labels" / "train" / f"{name}.txt", b"0 0.2 0.2 0.6 0.2 0.6 0.5 0.2 0.5\n")
        put(voc / "JPEGImages" / name, encoded(IMAGE))
        put(voc / "SegmentationObject" / f"{name}.png", encoded(LABELS))
        put(beside / name, encoded(IMAGE))
        put(beside / f"{name}_masks.png", encoded(LABELS))
        put(masks / "images" / name, encoded(IMAGE))
        put(masks / "labels" / f"{name}.png", encoded(LABELS))
    put(yolo / "data.yaml", b"train: images/train\nval: images/train\nnames: [cell]\n")
    for folder in (yolo, voc, beside, masks):
        found = samples(folder)
        assert len(found) in (2, 4), folder
        for sample in found.values():
            np.testing.assert_array_equal(sample.image, IMAGE)
            assert sample.labels.any()


def test_what_is_none_among_images_is_told(tmp_path):
    put(tmp_path / "images" / "a.png", encoded(IMAGE))
    put(tmp_path / "images" / "b.gif", encoded(IMAGE, "GIF"))
    put(tmp_path / "labels" / "a.png", encoded(LABELS))
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    (note,) = splits["train"].notes
    assert "1 file among the images that is none left out, such as images/b.gif" in note


def test_images_of_shards_with_other_names_are_counted(tmp_path):
    with tarfile.open(tmp_path / "0.tar", "w") as tar:
        for name, content in (
            ("a.png", encoded(IMAGE)), ("a.seg.png", encoded(LABELS)), ("b.scan", encoded(IMAGE)),
            ("a.cls", b"7"),
        ):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    (note,) = splits["train"].notes
    assert "1 image whose name does not end as images do left out, such as b.scan" in note


class TestDicomInsideOthers:
    @pytest.fixture
    def scan(self, write_slices):
        """The bytes of a picture with a window, and what is seen of it."""
        values = np.random.default_rng(1).integers(-500, 500, (1, 24, 32)).astype(np.int16)
        folder = write_slices("s", values, WindowCenter=50, WindowWidth=400)
        (file,) = folder.iterdir()
        seen = read_image(file)
        assert 0 < np.mean((seen > 0) & (seen < 255)) < 1
        return file.read_bytes(), seen

    @pytest.mark.parametrize("name", ["a.dcm", "a.ima"])
    def test_in_a_tar(self, tmp_path, scan, name):
        with tarfile.open(tmp_path / "0.tar", "w") as tar:
            for member, content in ((name, scan[0]), ("a.seg.png", encoded(LABELS))):
                head = tarfile.TarInfo(member)
                head.size = len(content)
                tar.addfile(head, io.BytesIO(content))
        (sample,) = samples(tmp_path / "0.tar").values()
        np.testing.assert_array_equal(sample.image, scan[1])

    @pytest.mark.parametrize("is_plain", [False, True])
    def test_in_parquet(self, tmp_path, scan, is_plain):
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("datasets")
        from pyarrow import parquet

        def cell(content):
            return content if is_plain else {"bytes": content, "path": None}

        table = {"image": [cell(scan[0])], "instances": [cell(encoded(LABELS))], "site": ["x"]}
        parquet.write_table(pyarrow.table(table), tmp_path / "rows.parquet")
        assert recognise(tmp_path) == "hub"
        (sample,) = samples(tmp_path).values()
        np.testing.assert_array_equal(sample.image, scan[1])
        np.testing.assert_array_equal(sample.labels[0], LABELS)

    def test_is_written_as_dicom(self, tmp_path, scan):
        from samtune.images.kinds import EncodedImage

        place = write_image(EncodedImage("x", scan[0]), scan[1], tmp_path / "out")
        assert place.name == "out.dcm"
        np.testing.assert_array_equal(read_image(place), scan[1])
