"""Hugging Face's data sets as the library writes them, and mistakes in them."""

import io
import json
import pickle
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image as Picture

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.hub import Hub
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value  # noqa: E402

HW = (6, 8)
PIXELS = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
LABELS = np.zeros(HW, np.uint16)
LABELS[1:3, 1:4], LABELS[4:6, 2:8] = 1, 40_000


@pytest.fixture(autouse=True)
def _quiet(tmp_path_factory, monkeypatch):
    """No bars, and the library's cache in a folder of the test."""
    datasets.disable_progress_bars()
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)


def encoded(values):
    buffer = io.BytesIO()
    Picture.fromarray(values).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def rows(labels="mask", values=(LABELS,), **columns):
    """Rows with an image and a label image, or a list of masks, each."""
    is_list = isinstance(values[0], list)
    masks = [[encoded(v) for v in each] if is_list else encoded(each) for each in values]
    features = {"image": Image(), labels: List(Image()) if is_list else Image()}
    features |= {name: feature for name, (feature, _) in columns.items()}
    content = {"image": [encoded(PIXELS)] * len(values), labels: masks}
    content |= {name: values for name, (_, values) in columns.items()}
    return Dataset.from_dict(content, Features(features))


def saved(folder, data):
    data.save_to_disk(folder / "saved")
    return folder / "saved"


@pytest.mark.parametrize(
    ("column", "classes"),
    [
        ("mask", {1: "1", 40_000: "40000"}),
        ("annotation", {1: "1", 40_000: "40000"}),
        ("Label", {1: "1", 40_000: "40000"}),
        ("instances", {}),
        ("labels", {}),
        ("anything", {1: "1", 40_000: "40000"}),
    ],
)
def test_a_label_image_is_read_by_the_name_of_its_column(tmp_path, column, classes):
    source = Hub(saved(tmp_path, rows(column)))
    sample = source.read(0)
    assert source.hw(0) == HW
    np.testing.assert_array_equal(sample.image, PIXELS)
    np.testing.assert_array_equal(sample.labels[0], LABELS)
    assert sample.classes == classes


def test_settings_go_before_names(tmp_path):
    path = saved(tmp_path, rows("mask"))
    assert Hub(path, SourceSettings(labels="instances")).read(0).classes == {}
    assert Hub(path, SourceSettings(labels="binary")).read(0).labels.max() == 1
    assert Hub(path, SourceSettings(class_names=((1, "cell"),))).read(0).classes[1] == "cell"


def test_lists_of_masks_are_objects_that_may_overlap(tmp_path):
    masks = [np.where(LABELS > 0, np.uint8(255), np.uint8(0)), np.full(HW, 255, np.uint8)]
    sample = Hub(saved(tmp_path, rows("instances", [masks]))).read(0)
    np.testing.assert_array_equal(sample.labels[0] == 1, LABELS > 0)
    assert (sample.labels[1] == 2).all()


def test_splits_and_columns_are_kept(tmp_path):
    patients = (Value("string"), ["p1", None])
    stains = (ClassLabel(names=["he", "ihc"]), [1, 0])
    data = DatasetDict(
        {
            "train": rows("mask", [LABELS] * 2, patient=patients, stain=stains),
            "validation": rows("mask", patient=(Value("string"), ["p3"])),
        }
    )
    path = saved(tmp_path, data)
    assert recognise(path) == "hub"
    splits = open_splits(path, "auto", SourceSettings(), SplitSettings(group_column="patient"))
    found = {name: [(r.image_id, r.group) for r in s.records] for name, s in splits.items()}
    assert found == {
        "train": [("train/000000", "p1"), ("train/000001", "")],
        "val": [("validation/000000", "p3")],
        "test": [],
    }
    assert dict(Hub(path).records[0].columns) == {"patient": "p1", "stain": "ihc"}


@pytest.mark.parametrize("layout", ["{}-0000.parquet", "data/{}-0000.parquet", "{}/0.parquet"])
def test_parquet_is_read_with_splits_in_its_names(tmp_path, layout):
    for split in ("train", "val", "test"):
        file = tmp_path / layout.format(split)
        file.parent.mkdir(exist_ok=True)
        rows("instances").to_parquet(file)
    assert recognise(tmp_path) == recognise(file) == "hub"
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: len(part) for name, part in splits.items()} == {"train": 1, "val": 1, "test": 1}
    np.testing.assert_array_equal(splits["val"].read(0).labels[0], LABELS)


def test_parquet_without_the_library_s_description_is_read(tmp_path):
    table = rows("mask").with_format("arrow")[:].replace_schema_metadata(None)
    parquet.write_table(table, tmp_path / "a.parquet")
    np.testing.assert_array_equal(Hub(tmp_path).read(0).labels[0], LABELS)


def test_images_may_lie_beside_the_rows(tmp_path, write):
    image, mask = write(tmp_path / "a b.png", PIXELS), write(tmp_path / "m.png", LABELS)
    data = Dataset.from_dict(
        {"image": [str(image)], "mask": [str(mask)]}, Features(image=Image(), mask=Image())
    )
    parquet.write_table(data.with_format("arrow")[:], tmp_path / "a.parquet")
    source = Hub(tmp_path)
    np.testing.assert_array_equal(source.read(0).labels[0], LABELS)
    mask.unlink()
    with pytest.raises(UserError, match=r"there is no image .*m\.png"):
        source.read(0)


@settings(max_examples=15, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(values=st.lists(arrays.arrays(np.uint16, HW), min_size=1, max_size=3))
def test_what_is_written_is_read(tmp_path_factory, values):
    source = Hub(saved(tmp_path_factory.mktemp("rows"), rows("instances", values)))
    assert len(source) == len(values)
    for index, each in enumerate(values):
        np.testing.assert_array_equal(source.read(index).labels[0], each)


def test_rows_stay_on_disk_and_nothing_is_written(tmp_path):
    noise = np.random.default_rng(0).integers(0, 2**16, (300, 300), dtype=np.uint16)
    data = Dataset.from_dict(
        {"image": [encoded(noise)] * 200, "mask": [encoded(noise)] * 200},
        Features(image=Image(), mask=Image()),
    )
    path = saved(tmp_path, data)
    before = sorted(path.rglob("*"))
    Hub(path)
    tracemalloc.start()
    try:
        source = Hub(path)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / len(source) < 5000
    assert peak < 4e6 < sum(file.stat().st_size for file in path.rglob("*.arrow"))
    again = pickle.dumps(source)
    assert len(again) < 500_000
    assert pickle.loads(again).read(7).image.shape == (300, 300, 3)  # noqa: S301
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"image": Image(), "text": Value("string")}, r"found image \(Image\), text \(string\)"),
        ({"mask": Image()}, r"found mask \(Image\)"),
        ({"image": Image(), "a": Image(), "b": Image()}, r"a \(Image\), b \(Image\); rename them"),
        ({"text": Value("string")}, r"found text \(string\)"),
    ],
)
def test_columns_that_cannot_be_told_are_listed(tmp_path, data, reason):
    content = {name: ["x"] if isinstance(kind, Value) else [None] for name, kind in data.items()}
    path = saved(tmp_path, Dataset.from_dict(content, Features(data)))
    with pytest.raises(UserError, match=rf"no columns of images and masks .*{reason}"):
        Hub(path)


@pytest.mark.parametrize(
    ("image", "mask", "reason"),
    [
        (None, encoded(LABELS), "image of row 000000 of .* is empty"),
        (encoded(PIXELS), None, "mask of row 000000 of .* is empty"),
        ({"bytes": b"", "path": None}, encoded(LABELS), "image of row 000000 .* is no image"),
        (
            {"bytes": b"\x89PNG", "path": None},
            encoded(LABELS),
            "image of row 000000 .* is no image",
        ),
        (encoded(PIXELS), encoded(LABELS[:3]), "mask of row 000000 of .* is 8x3 pixels, .* 8x6"),
    ],
)
def test_rows_that_are_damaged_are_named(tmp_path, image, mask, reason):
    features = Features(image=Image(), mask=Image())
    path = saved(tmp_path, Dataset.from_dict({"image": [image], "mask": [mask]}, features))
    with pytest.raises(UserError, match=reason):
        Hub(path).read(0)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_files_that_are_damaged_are_said(tmp_path, content):
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(UserError, match="cannot be opened as a data set of Hugging Face"):
        Hub(tmp_path)


def test_folders_that_are_damaged_are_said(tmp_path):
    path = saved(tmp_path, DatasetDict(train=rows()))
    for file in (path / "train" / "state.json", path / "dataset_dict.json"):
        whole = file.read_text()
        file.write_text("{")
        with pytest.raises(UserError, match=r"cannot be (read as JSON|opened)"):
            Hub(path)
        file.write_text(whole)


def test_a_table_without_rows_is_said(tmp_path):
    rows().select([]).to_parquet(tmp_path / "a.parquet")
    for path in (tmp_path, saved(tmp_path, rows().select([]))):
        with pytest.raises(UserError, match="cannot be opened"):
            Hub(path)


def test_names_on_the_hub_are_asked_for_there(tmp_path, monkeypatch):
    asked = []
    local = saved(tmp_path, DatasetDict(train=rows(), test=rows()))
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name: asked.append(name) or datasets.load_from_disk(local)
    )
    path = type(tmp_path)("hf:some-one/cells_2.0")
    assert recognise(path) == "hub"
    splits = open_splits(path, "auto", SourceSettings(), SplitSettings())
    assert asked == ["some-one/cells_2.0"]
    assert len(splits["test"]) == 1


@pytest.mark.parametrize("name", ["hf:", "hf:a/b/c", "hf:../x y", "hf:a/b?c"])
def test_names_that_are_none_are_said(tmp_path, name):
    with pytest.raises(UserError, match="a name on the hub is hf:OWNER/NAME"):
        Hub(type(tmp_path)(name))


def test_a_name_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="hf:no-such/data cannot be opened"):
        Hub(type(tmp_path)("hf:no-such/data"))


@pytest.mark.parametrize("layout", ["data/{}-00000-of-00001.parquet", "{}/0000.parquet"])
def test_parquet_is_read_as_the_hub_stores_it(tmp_path, layout):
    for split in ("train", "validation", "test"):
        file = tmp_path / layout.format(split)
        file.parent.mkdir(exist_ok=True)
        rows("instances").to_parquet(file)
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: [r.image_id for r in part.records] for name, part in splits.items()} == {
        "train": ["train/000000"], "val": ["val/000000"], "test": ["test/000000"],
    }  # fmt: skip


def test_tables_may_be_called_by_other_words_for_splits(tmp_path):
    data = DatasetDict({name: rows("mask") for name in ("train", "dev", "test")})
    splits = open_splits(saved(tmp_path, data), "auto", SourceSettings(), SplitSettings())
    assert [r.image_id for r in splits["val"].records] == ["dev/000000"]
    assert len(splits["train"]) == 1


@pytest.mark.parametrize("split", ["", "train"])
def test_offsets_that_lead_out_of_a_file_are_told(tmp_path, split):
    data = rows()
    folder = saved(tmp_path, DatasetDict({split: data}) if split else data)
    (file,) = folder.rglob("*.arrow")
    size = len(encoded(PIXELS)["bytes"])
    content = file.read_bytes()
    place = content.rindex(struct.pack("<ii", 0, size)) + 4
    file.write_bytes(content[:place] + struct.pack("<i", 2**31 - 1) + content[place + 4 :])
    with pytest.raises(UserError, match=rf"{file} is damaged: .*offset"):
        Hub(folder)


@pytest.mark.parametrize("name", ["../other.arrow", "/etc/passwd", 3, None])
def test_files_elsewhere_are_not_opened(tmp_path, name):
    folder = saved(tmp_path, rows())
    state = json.loads((folder / "state.json").read_text())
    state["_data_files"] = [{"filename": name}]
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="expected one beside it"):
        Hub(folder)


def test_classes_among_the_columns_have_their_names(tmp_path):
    kinds = ClassLabel(names=["train", "test"])
    columns = {"split": (kinds, [1, 0]), "patient": (ClassLabel(names=["Ann", "Bob"]), [0, -1]),
               "group": (Value("float32"), [float("nan"), 2.0])}  # fmt: skip
    source = Hub(saved(tmp_path, rows(values=(LABELS, LABELS), **columns)))
    assert [dict(record.columns) for record in source.records] == [
        {"split": "test", "patient": "Ann", "group": ""},
        {"split": "train", "patient": "", "group": "2.0"},
    ]


def test_other_pictures_in_a_row_are_told(tmp_path):
    data = rows().add_column("annotation", [encoded(LABELS)], feature=Image())
    (note,) = Hub(saved(tmp_path, data)).notes
    assert "1 column of pictures beside image and mask left out, such as annotation" in note


def test_a_split_without_masks_is_left_out_and_told(tmp_path):
    data = DatasetDict(train=rows(), test=rows(values=(LABELS,) * 3).remove_columns("mask"))
    source = Hub(saved(tmp_path, data))
    assert [record.image_id for record in source.records] == ["train/000000"]
    assert any("3 rows of a split without masks left out, such as test" in n for n in source.notes)


def test_masks_have_the_classes_of_the_list_beside_them(tmp_path):
    masks = [[(LABELS == 1).astype(np.uint8), (LABELS > 1).astype(np.uint8)]]
    kinds = List(ClassLabel(names=["cat", "dog"]))
    data = rows("masks", masks, categories=(kinds, [[1, 0]]))
    assert Hub(saved(tmp_path, data)).read(0).classes == {1: "dog", 2: "cat"}
    data = rows("masks", masks, categories=(List(Value("int64")), [[7, 8]]))
    given = SourceSettings(class_names=((8, "cat"),))
    assert Hub(saved(tmp_path / "numbers", data), given).read(0).classes == {1: "7", 2: "cat"}
    data = rows("masks", masks, categories=(kinds, [[1]]))
    with pytest.raises(UserError, match="has 2 masks, but 1 categories: expected one for each"):
        Hub(saved(tmp_path / "few", data)).read(0)


def test_pictures_may_be_named_from_the_folder_of_the_rows(tmp_path, write, monkeypatch):
    write(tmp_path / "data" / "img" / "a.png", PIXELS)
    table = {"image": [{"bytes": None, "path": "img/a.png"}], "mask": [encoded(LABELS)]}
    parquet.write_table(pa.table(table), tmp_path / "data" / "train.parquet")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(Hub(tmp_path / "data").read(0).image, PIXELS)
