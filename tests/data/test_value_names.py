"""Names of label values that lie beside, or in, a file of labels."""

import struct

import numpy as np
import pytest
import tifffile

from samtune.data.checks.checking import check
from samtune.data.datamodule import SamDataModule
from samtune.data.readers.geo import GeoScenes
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.readers.masks_beside import MasksBeside
from samtune.data.settings import DataSettings, SourceSettings
from samtune.data.value_names import read_value_names
from samtune.errors import UserError
from samtune.tasks.init import init

VALUES = np.zeros((40, 40), np.uint8)
VALUES[2:12, 2:12], VALUES[20:34, 20:34] = 1, 3
CATEGORIES = (
    "<PAMDataset><PAMRasterBand band='2'><CategoryNames><Category>no</Category><Category>no</Category>"
    "</CategoryNames></PAMRasterBand><PAMRasterBand band='1'><CategoryNames><Category>none</Category>"
    "<Category>road</Category><Category/><Category>roof &amp; wall</Category></CategoryNames>"
    "</PAMRasterBand></PAMDataset>"
)
NAMES = {0: "none", 1: "road", 3: "roof & wall"}


def table(fields, rows, about=""):
    """A GDALRasterAttributeTable of (name, type, usage) fields."""
    parts = [
        f"<FieldDefn><Name>{name}</Name><Type>{kind}</Type><Usage>{usage}</Usage></FieldDefn>"
        for name, kind, usage in fields
    ]
    parts += [
        f"<Row index='{n}'>{''.join(f'<F>{cell}</F>' for cell in row)}</Row>"
        for n, row in enumerate(rows)
    ]
    return f"<GDALRasterAttributeTable {about}>{''.join(parts)}</GDALRasterAttributeTable>"


def in_pam(content):
    return f"<PAMDataset><PAMRasterBand band='1'>{content}</PAMRasterBand></PAMDataset>"


ROWS = [(0, 900, "none"), (1, 100, "road"), (3, 196, "roof &amp; wall")]
BY_USAGE = table([("v", 0, 5), ("n", 0, 1), ("legend", 2, 2)], ROWS, "tableType='thematic'")
BY_NAME = table(
    [("OID", 0, 0), ("VALUE", 1, 0), ("Class_Name", 2, 0), ("Note", 2, 0)],
    [(9, "0.0", "none", "a"), (8, "1.0", "road", "b"), (7, "3.0", "roof &amp; wall", "c")],
)
BY_STEPS = table([("n", 2, 2)], [("none",), ("road",), ("",), ("roof &amp; wall",)],
                 "Row0Min='0' BinSize='1'")  # fmt: skip
BY_ENDS = table(
    [("a", 1, 3), ("b", 1, 4), ("n", 2, 2)],
    [(0, 0, "none"), (1, 1, "road"), (3, 3, "roof &amp; wall"), (4, 9, "range")],
)


def dbf(fields, rows):
    """A dBASE table of (name, kind, width) fields."""
    head = b"".join(struct.pack("<11sc4xB15x", name, kind, w) for name, kind, w in fields) + b"\r"
    width = 1 + sum(w for *_, w in fields)
    body = b"".join(
        b" " + b"".join(cell.ljust(w) for cell, (*_, w) in zip(row, fields, strict=True))
        for row in rows
    )
    return struct.pack("<B3xIHH20x", 3, len(rows), 32 + len(head), width) + head + body + b"\x1a"


VAT = dbf(
    [(b"Value", b"N", 5), (b"Count", b"N", 6), (b"CLASS", b"C", 12)],
    [(b"0", b"9", b"none"), (b"1", b"9", b"road"), (b"3", b"9", b"roof & wall")],
)


@pytest.mark.parametrize("text", [CATEGORIES, *map(in_pam, (BY_USAGE, BY_NAME, BY_STEPS, BY_ENDS))])
def test_names_beside_a_raster_are_read(tmp_path, text):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    (tmp_path / "a.tif.aux.xml").write_text(text)
    assert read_value_names(tmp_path / "a.tif").names == NAMES


def test_names_in_the_raster_itself_are_read(tmp_path):
    item = f"<Item name='DEFAULT_RASTER_ATTRIBUTE_TABLE' sample='0' role='rat'>{BY_USAGE}</Item>"
    tag = (42112, "s", None, f"<GDALMetadata>{item}</GDALMetadata>", True)
    tifffile.imwrite(tmp_path / "a.tif", VALUES, extratags=[tag])
    assert read_value_names(tmp_path / "a.tif").names == NAMES
    (tmp_path / "b.vrt").write_text(CATEGORIES.replace("PAM", "VRT"))
    assert read_value_names(tmp_path / "b.vrt").names == NAMES


def test_the_table_of_arcgis_is_read(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    (tmp_path / "a.tif.vat.dbf").write_bytes(VAT)
    assert read_value_names(tmp_path / "a.tif").names == NAMES
    (tmp_path / "a.tif.vat.dbf").write_bytes(VAT[:-20])
    with pytest.raises(UserError, match=r"a\.tif\.vat\.dbf cannot be read as a table"):
        read_value_names(tmp_path / "a.tif")


def test_what_is_about_no_names_gives_none(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    assert read_value_names(tmp_path / "a.tif").names == {}
    histogram = table([("v", 0, 5), ("n", 0, 1)], [(1, 7)])
    numbers = table([("v", 0, 5), ("name", 2, 2)], [(1, "1"), (3, "3")])
    for text in ("<PAMDataset><Metadata/></PAMDataset>", in_pam(histogram), in_pam(numbers)):
        (tmp_path / "a.tif.aux.xml").write_text(text)
        found = read_value_names(tmp_path / "a.tif")
        assert (found.names, found.trouble) == ({}, "")


def test_a_column_of_names_that_cannot_be_told_is_asked_for(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    rows = [(1, "eins", "un"), (3, "drei", "trois")]
    text = in_pam(table([("value", 0, 0), ("de", 2, 0), ("fr", 2, 0)], rows))
    (tmp_path / "a.tif.aux.xml").write_text(text)
    assert "which of the columns de, fr" in read_value_names(tmp_path / "a.tif").trouble
    assert read_value_names(tmp_path / "a.tif", "fr").names == {1: "un", 3: "trois"}
    with pytest.raises(UserError, match=r"data\.class_column is en, but .* has: value, de, fr"):
        read_value_names(tmp_path / "a.tif", "en")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><PAMDataset/>", "document type"),
        ("<PAMDataset>", "cannot be read as XML"),
        (in_pam(table([("v", 0, 5), ("n", 2, 2)], [(1, "x"), (1, "y")])), "'x', 'y'"),
    ],
)
def test_damaged_names_are_one_line(tmp_path, text, why):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    (tmp_path / "a.tif.aux.xml").write_text(text)
    with pytest.raises(UserError, match=why):
        read_value_names(tmp_path / "a.tif")


def test_two_places_that_differ_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", VALUES)
    (tmp_path / "a.tif.aux.xml").write_text(CATEGORIES.replace("road", "path"))
    (tmp_path / "a.tif.vat.dbf").write_bytes(VAT)
    with pytest.raises(UserError, match=r"calls the value 1 'path', but .*vat\.dbf 'road'"):
        read_value_names(tmp_path / "a.tif")


@pytest.fixture
def scene_with_names(tmp_path, write_scene):
    """A scene whose label raster names its values."""
    values = np.random.default_rng(0).integers(1, 255, (3, 40, 40), np.uint8)
    write_scene("a.tif", values)
    write_scene("a_labels.tif", VALUES[None])
    (tmp_path / "a_labels.tif.aux.xml").write_text(CATEGORIES)
    return tmp_path


def test_label_rasters_of_scenes_are_classes_by_their_names(scene_with_names):
    source = GeoScenes(scene_with_names)
    assert source.read(0).classes == {1: "road", 3: "roof & wall"}
    assert any(
        "names the values, which are classes: 1 road, 3 roof & wall; 0, 'none', is background" in n
        for n in source.notes
    )
    data = SamDataModule(DataSettings(path=str(scene_with_names)))
    result = check({"train": data.whole_source("train")}, 64, "none", 10)
    assert any("1 road, 3 roof & wall" in finding.text for finding in result.findings)


def test_what_contradicts_them_is_taken_and_told(scene_with_names):
    source = GeoScenes(scene_with_names, SourceSettings(class_names=((1, "street"),)))
    assert source.read(0).classes == {1: "street", 3: "roof & wall"}
    assert any("the value 1 'road', but data.class_names 'street'" in n for n in source.notes)
    objects = GeoScenes(scene_with_names, SourceSettings(labels="instances"))
    assert objects.read(0).classes == {}
    assert any("not used: data.labels is instances" in note for note in objects.notes)


def test_init_takes_named_values_as_classes_and_tells_them(scene_with_names, caplog):
    config = scene_with_names / "config.yaml"
    with caplog.at_level("INFO"):
        init(str(scene_with_names), base="nano", out=str(config))
    assert "labels: semantic" in config.read_text()
    assert "1 road, 3 roof & wall" in caplog.text


@pytest.mark.parametrize("under", ["labels", "masks"])
def test_masks_in_a_folder_have_names_too(tmp_path, write, under):
    for name in "ab":
        write(tmp_path / "images" / f"{name}.png", np.repeat(VALUES[..., None], 3, 2))
        write(tmp_path / under / f"{name}.png", VALUES)
        (tmp_path / under / f"{name}.png.aux.xml").write_text(CATEGORIES)
    source = MaskFolder(tmp_path)
    assert source.read(1).classes == {1: "road", 3: "roof & wall"}
    assert sum("1 road" in note for note in source.notes) == 1
    other = tmp_path / under / "b.png.aux.xml"
    other.write_text(CATEGORIES.replace("road", "path"))
    source = MaskFolder(tmp_path)
    assert [source.read(n).classes[1] for n in (0, 1)] == ["road", "path"]
    assert any("the value 1 is 'road'" in n and "'path'" in n for n in source.notes)


def test_masks_beside_images_have_names_too(tmp_path, write):
    write(tmp_path / "a.png", np.repeat(VALUES[..., None], 3, 2))
    write(tmp_path / "a_mask.png", VALUES)
    (tmp_path / "a_mask.png.aux.xml").write_text(CATEGORIES)
    source = MasksBeside(tmp_path)
    assert source.read(0).classes == {1: "road", 3: "roof & wall"}
    assert any("1 road" in note for note in source.notes)
