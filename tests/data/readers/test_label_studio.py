"""Label Studio's export, and mistakes in it."""

import base64
import io
import json
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from samtune.data.brush_code import decode_brush, encode_brush
from samtune.data.formats import open_splits, recognise
from samtune.data.readers.label_studio import LabelStudio
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (20, 40)


def result(kind, label="cell", is_split=False, **value):
    name = kind if is_split else f"{kind}labels"
    value |= {} if is_split else {name: [label]}
    return {
        "id": "r1", "type": name, "value": value, "from_name": "a", "to_name": "image",
        "original_width": HW[1], "original_height": HW[0], "image_rotation": 0,
    }  # fmt: skip


def polygon(*corners, **more):
    corners = corners or ((5, 5), (15, 5), (15, 10), (5, 10))
    return result(
        "polygon", points=[[100 * x / HW[1], 100 * y / HW[0]] for x, y in corners], **more
    )


def task(*results, image="/data/upload/1/0a1b2c3d-a.png", **more):
    annotations = [{"id": 1, "was_cancelled": False, "result": list(results)}]
    return {"id": 7, "data": {"image": image}, "annotations": annotations, "predictions": []} | more


def bitmask(mask):
    """A mask as Label Studio saves it: black pixels on a transparent picture, as an address."""
    pixels = np.dstack([np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.uint8) * 255])
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


@pytest.fixture
def exported(tmp_path, write):
    """A function that opens an export of the given tasks, or of one task of the given results."""
    write(tmp_path / "images" / "a.png", np.full((*HW, 3), 90, np.uint8))

    def make(*parts):
        tasks = parts if parts and "data" in parts[0] else [task(*parts)]
        (tmp_path / "project-1.json").write_text(json.dumps(list(tasks)))
        return LabelStudio(tmp_path)

    return make


def window(rows, columns):
    mask = np.zeros(HW, bool)
    mask[rows, columns] = True
    return mask


def brush_code(values, lengths=(2, 4, 8, 16)):
    """thi.ng's run-length code of bytes: as few runs as there are, in the shortest length field."""
    bits = f"{len(values):032b}" + f"{7:05b}" + "".join(f"{n - 1:04b}" for n in lengths)
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    singles = []

    def run(is_run, number, each):
        field = next(n for n, size in enumerate(lengths) if number <= 2**size)
        body = "".join(f"{value:08b}" for value in each)
        return f"{is_run:b}{field:02b}{number - 1:0{lengths[field]}b}{body}"

    for start, stop in pairwise(edges):
        if stop - start == 1 and len(singles) < 2 ** lengths[-1]:
            singles.append(values[start])
            continue
        if singles:
            bits += run(False, len(singles), singles)
            singles = []
        for first in range(start, stop, 2 ** lengths[-1]):
            bits += run(True, min(stop - first, 2 ** lengths[-1]), values[start : start + 1])
    if singles:
        bits += run(False, len(singles), singles)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[place : place + 8], 2) for place in range(0, len(bits), 8)]


def stroke(mask):
    rgba = np.zeros((*mask.shape, 4), np.uint8)
    rgba[mask] = (30, 0, 200, 255)
    return rgba.reshape(-1)


def test_polygons_and_rectangles_are_percent_of_the_image(exported):
    box = result("rectangle", x=12.5, y=25, width=25, height=25, rotation=0)
    # turned about its first corner, which is then the top right one
    turned = result("rectangle", x=37.5, y=25, width=12.5, height=50, rotation=90)
    for each in (polygon(), box, turned):
        sample = exported(each).read(0)
        np.testing.assert_array_equal(sample.labels[0], window(slice(5, 10), slice(5, 15)))
        assert sample.classes == {1: "cell"}


def test_ellipses_turn_clockwise_about_their_centre(exported):
    values = {"x": 50, "y": 50, "radiusX": 22.5, "radiusY": 15}
    labels = exported(result("ellipse", **values)).read(0).labels[0]
    assert labels.sum() == pytest.approx(np.pi * 27, rel=0.05)
    labels = exported(result("ellipse", rotation=30, **values)).read(0).labels[0]
    assert labels[13, 26]
    assert not labels[7, 26]


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(mask=arrays.arrays(bool, HW).filter(np.any))
def test_brush_strokes_are_read_as_written(exported, mask):
    code = brush_code(stroke(mask))
    np.testing.assert_array_equal(
        exported(result("brush", format="rle", rle=code)).read(0).labels[0], mask
    )


@pytest.mark.parametrize("lengths", [(1, 2, 3, 4), (3, 4, 8, 16), (16, 16, 16, 16)])
def test_the_brush_s_code_has_lengths_of_any_width(lengths):
    mask = np.random.default_rng(0).random((3, 50)) < 0.4
    mask[:, 10:30] = True
    np.testing.assert_array_equal(decode_brush(brush_code(stroke(mask), lengths), (3, 50)), mask)


@settings(max_examples=60, deadline=None)
@given(mask=arrays.arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 90))))
def test_a_mask_written_as_a_stroke_is_read_as_it_was(mask):
    code = encode_brush(mask)
    assert all(type(each) is int and 0 <= each < 256 for each in code)
    np.testing.assert_array_equal(decode_brush(code, mask.shape), mask)


def test_long_runs_are_written_as_several():
    mask = np.ones((300, 400), bool)  # 480,000 values: a length has 16 bits at most
    mask[-1, -1] = False
    np.testing.assert_array_equal(decode_brush(encode_brush(mask), mask.shape), mask)


@settings(max_examples=200, deadline=None)
@given(code=st.lists(st.integers(0, 255), max_size=60), is_sized=st.booleans())
def test_any_other_code_is_refused_or_read(code, is_sized):
    head = list((4 * HW[0] * HW[1]).to_bytes(4, "big")) if is_sized else []
    with suppress(ValueError):
        assert decode_brush(head + code, HW).shape == HW


def test_each_result_is_an_object_and_choices_are_none(exported):
    other = polygon((20, 5), (25, 5), (25, 10), label="\u7ec6\u80de")
    choice = {"id": "c", "type": "choices", "value": {"choices": ["good"]}}
    relation = {"type": "relation", "from_id": "r1", "to_id": "c"}
    sample = exported(polygon(), choice, relation, other).read(0)
    assert sample.classes == {1: "cell", 2: "\u7ec6\u80de"}


def test_labels_may_stand_apart_from_their_shapes(exported):
    apart = result("polygon", is_split=True, points=polygon()["value"]["points"])
    label = {**apart, "type": "labels", "value": {**apart["value"], "labels": ["roof"]}}
    assert exported(label, apart).read(0).classes == {1: "roof"}


def test_the_first_annotation_that_was_not_cancelled_counts(exported):
    cancelled = {"was_cancelled": True, "result": [polygon(label="x")]}
    others = [{"result": [polygon(label=name)]} for name in ("y", "z")]
    chosen = task(annotations=[cancelled, *others])
    source = exported(chosen, task(annotations=[cancelled]), task(annotations=[]), task())
    assert len(source) == 2
    assert source.read(0).classes == {1: "y"}
    assert source.read(1).classes == {}
    further, skipped, bare = (note.partition(": ")[2] for note in source.notes)
    assert further.startswith("1 further annotation of tasks that have several")
    assert skipped == "1 task marked as skipped left out, such as task 7"
    assert bare == "1 task without an annotation left out, such as task 7"


def test_the_starred_annotation_counts_and_a_prediction_does_not(exported):
    first, starred = {"result": [polygon(label="y")]}, {"result": [polygon(label="z")]}
    starred |= {"ground_truth": True}
    cancelled = starred | {"was_cancelled": True}
    guess = task(annotations=[], predictions=[{"result": [polygon(label="p")]}])
    source = exported(task(annotations=[cancelled, first, starred]), guess)
    assert [source.read(n).classes for n in range(len(source))] == [{1: "z"}]
    assert any("without an annotation (but predictions) left out" in note for note in source.notes)


def of(name, *results, **more):
    return [each | {"to_name": name, **more} for each in results]


HERE, THERE = polygon(label="a"), polygon((20, 5), (30, 5), (30, 10), (20, 10), label="b")


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (("t1", "t2"), ("img-t1", "img-t2")),
        (("image", "image2"), ("image", "image2")),
        (("image1", "image2"), ("img_1", "img_2")),
        (("left", "right"), ("RightImage", "LeftImage")),
    ],
)
def test_images_of_one_task_have_the_results_that_name_them(exported, tmp_path, write, keys, names):
    for name in ("b.png", "c.png"):
        write(tmp_path / "images" / name, np.zeros((*HW, 3), np.uint8))
    data = {keys[0]: "/data/upload/1/0a1b2c3d-b.png", keys[1]: "c.png", "patient": "p"}
    if keys[0] == "left":
        names = names[::-1]
    source = exported(task(*of(names[0], HERE), *of(names[1], THERE), data=data))
    found = {r.image_id: source.read(n).classes for n, r in enumerate(source.records)}
    assert found == {"b.png": {1: "a"}, "c.png": {1: "b"}}
    assert {record.group for record in source.records} == {"task 7"}
    np.testing.assert_array_equal(source.read(1).labels[0] > 0, window(slice(5, 10), slice(20, 30)))


def test_an_image_of_a_task_may_have_no_result(exported, tmp_path, write):
    write(tmp_path / "images" / "b.png", np.zeros((*HW, 3), np.uint8))
    both = {"t1": "a.png", "t2": "b.png"}
    source = exported(task(*of("img-t1", HERE), *of("img-t2", THERE), data=both),
                      task(*of("img-t2", THERE), data=both, id=8))  # fmt: skip
    assert [source.read(n).classes for n in range(4)] == [{1: "a"}, {1: "b"}, {}, {1: "b"}]


def test_which_image_a_result_is_of_is_asked_for_where_names_do_not_tell(exported, tmp_path, write):
    write(tmp_path / "images" / "b.png", np.zeros((*HW, 3), np.uint8))
    several = task(*of("x", HERE), *of("y", THERE), data={"before": "a.png", "after": "b.png"})
    with pytest.raises(UserError, match=r"before, after, .*'x'.* cannot be told.*config\.xml"):
        exported(several)
    (tmp_path / "config.xml").write_text(
        '<View><Image name="x" value="$after"/><Image name="y" value="$before"/></View>'
    )
    assert [exported(several).read(n).classes for n in range(2)] == [{1: "b"}, {1: "a"}]


@pytest.mark.parametrize("is_repeated", [False, True])
def test_pages_have_their_own_results(exported, tmp_path, write, is_repeated):
    write(tmp_path / "images" / "b.png", np.zeros((*HW, 3), np.uint8))
    if is_repeated:  # a Repeater gives each page a name
        pages = [{"url": "a.png"}, {"url": "b.png"}]
        results = [*of("page_0", HERE), *of("page_1", THERE), *of("page_5", HERE)]
    else:
        pages = ["a.png", "b.png"]
        results = [*of("pdf", HERE, item_index=0), *of("pdf", THERE, item_index=1),
                   *of("pdf", HERE, item_index=5)]  # fmt: skip
    source = exported(task(*results, data={"pages": pages}))
    assert [source.read(n).classes for n in range(2)] == [{1: "a"}, {1: "b"}]
    (note,) = source.notes
    assert note.endswith("1 result of a page that its task lacks left out, such as 5")


@pytest.mark.parametrize("link", [
    "/data/local-files/?d=scans%2Fd%C3%A9j%C3%A0%20vu.png",
    "s3://bucket/far/scans/d\u00e9j\u00e0 vu.png",
    "https://example.org/scans/d%C3%A9j%C3%A0%20vu.png?token=1", "d\u00e9j\u00e0 vu.png",
    "/data/upload/3/00ff00ff-d\u00e9j\u00e0%20vu.png", "..\\..\\scans\\d\u00e9j\u00e0 vu.png",
])  # fmt: skip
@pytest.mark.parametrize("place", ["", "images"])
def test_images_are_found_by_every_kind_of_link(exported, tmp_path, write, link, place):
    folder = tmp_path / place / ("scans" if "scans" in link else "")
    write(folder / "d\u00e9j\u00e0 vu.png", np.zeros((*HW, 3), np.uint8))
    sample = exported(task(polygon(), image=link)).read(0)
    assert sample.labels.sum() == 50


def test_it_is_recognised_and_data_name_splits_and_groups(exported, tmp_path, write):
    write(tmp_path / "b.png", np.zeros((*HW, 3), np.uint8))
    first, second = task(), task(image="b.png")
    first["data"] |= {"split": "train", "patient": "p1"}
    second["data"] |= {"split": "validation", "patient": "p2"}
    exported(first, second)
    assert recognise(tmp_path) == recognise(tmp_path / "project-1.json") == "label_studio"
    settings = SplitSettings(group_column="patient")
    splits = open_splits(tmp_path, "auto", SourceSettings(), settings)
    found = {name: [(r.image_id, r.group) for r in s.records] for name, s in splits.items()}
    assert found == {"train": [("a.png", "p1")], "val": [("b.png", "p2")], "test": []}


def test_tasks_of_one_image_are_told_apart(exported):
    source = exported(task(polygon()), task(id=8))
    assert [record.image_id for record in source.records] == ["7/a.png", "8/a.png"]


def test_results_without_an_area_are_left_out_and_counted(exported):
    points = [result("keypoint", x=1, y=1)] * 2
    source = exported(task(*points, polygon()), task(result("vector", vertices=[])))
    np.testing.assert_array_equal(source.read(0).labels[0] > 0, window(slice(5, 10), slice(5, 15)))
    assert [note.partition(": ")[2] for note in source.notes] == [
        "2 results without an area, of the kind keypoint, left out, such as task 7",
        "1 result without an area, of the kind vector, left out, such as task 7",
    ]
    assert exported(polygon()).notes == []


@pytest.mark.parametrize("is_split", [False, True])
def test_bitmasks_and_areas_of_the_magic_wand_are_read(exported, is_split):
    first, second = window(slice(2, 9), slice(3, 11)), window(slice(12, 18), slice(20, 33))
    first[4, 5] = False  # every pixel counts
    shapes = [
        result("bitmask", is_split=is_split, imageDataURL=bitmask(first)),
        result("magicwand", is_split=is_split, format="rle", rle=brush_code(stroke(second))),
    ]
    for number, shape in enumerate(shapes):
        shape["id"] = f"r{number}"
    apart = [
        {"id": f"r{n}", "type": "labels", "value": {"labels": ["cell"]}, "to_name": "image"}
        for n in range(2)
    ]
    source = exported(*shapes, *(apart if is_split else []))
    sample = source.read(0)
    assert source.notes == []
    assert list(sample.classes.values()) == ["cell", "cell"]
    for number, mask in enumerate((first, second), start=1):
        np.testing.assert_array_equal((sample.labels == number).any(axis=0), mask)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (result("bitmask", imageDataURL="x"), "is no PNG, but 'x'"),
        (result("bitmask", imageDataURL="data:image/png;base64,?"), "is damaged"),
        (
            result("bitmask", imageDataURL=bitmask(np.ones((3, 4), bool))),
            "is 4x3 pixels, not 40x20",
        ),
        (result("bitmask", imageDataURL=bitmask(np.ones(HW, bool))[:-80]), "cut off"),
        (result("bitmask"), "lacks 'imageDataURL'"),
        (polygon((1, 1), (2, 2)), "has 2 corners"),
        (polygon((1, 1), (2, float("nan")), (3, 3)), "not finite"),
        (polygon((1, 1), (2, 1e12), (3, 3)), "far outside"),
        (result("polygon", points="x"), "is damaged"),
        (result("polygon"), "lacks 'points'"),
        (result("rectangle", x=1, y=1, width="x", height=3), "is damaged"),
        (result("brush", rle=[1, 2, 3]), "cut off"),
        (result("brush", rle=[255] * 50), "of 4294967295 values, not 40x20x4"),
        (result("brush", rle=[300]), "is damaged"),
        (result("brush", rle=brush_code(stroke(window(3, 3)))[:-4]), "cut off"),
        (polygon() | {"original_width": 41}, "was drawn on 41x20 pixels"),
        (polygon() | {"image_rotation": 90}, "turned in Label Studio"),
        (7, "no list of results"),
    ],
)
def test_a_result_that_is_no_area_is_named(exported, wrong, reason):
    with pytest.raises(UserError, match=rf"project-1\.json, a\.png.*{reason}"):
        exported(polygon(), wrong).read(0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ([], "no task with an annotation"),
        ([{"id": 1, "image": "/data/a.png", "label": []}], "no export of Label Studio.*JSON-MIN"),
        ([3], "no export of Label Studio"),
        ([task(image="x.txt")], "task 7 has no image among its data"),
        ([task(image="http://[")], "task 7 has no image among its data"),
        ([task(image="s3://b/gone.png")], r"the image s3://b/gone\.png of .* put gone\.png beside"),
        ([task(image=f"{'x' * 260}.png")], "is not there"),
        ([task(image="a\0.png")], "is not there"),
    ],
)
def test_a_file_that_is_none_is_said(tmp_path, content, reason):
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=reason):
        LabelStudio(tmp_path / "p.json")


def test_one_image_that_is_missing_is_said_when_it_is_read(exported):
    source = exported(task(), task(image="gone.png"))
    with pytest.raises(UserError, match=r"the image gone\.png of .* is not there"):
        source.read(1)


def test_a_folder_without_a_list_is_said(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        LabelStudio(tmp_path)


def test_one_page_alone_may_have_a_result(exported, tmp_path, write):
    write(tmp_path / "images" / "b.png", np.zeros((*HW, 3), np.uint8))
    pages = [{"url": "a.png"}, {"url": "b.png"}]
    source = exported(task(*of("page_1", THERE), data={"pages": pages}))
    assert [source.read(n).classes for n in range(2)] == [{}, {1: "b"}]


def test_an_object_of_several_labels_is_called_by_all(exported):
    both = polygon()
    both["value"]["polygonlabels"] = ["cell", "dividing"]
    assert exported(both).read(0).classes == {1: "cell, dividing"}


@pytest.mark.parametrize("end", ["presign", "resolve"])
def test_links_that_label_studio_makes_for_clouds_are_found(exported, end):
    link = base64.b64encode(b"s3://bucket/scans/a.png").decode()
    source = exported(task(polygon(), image=f"/tasks/7/{end}/?fileuri={link}"))
    np.testing.assert_array_equal(source.read(0).labels[0], window(slice(5, 10), slice(5, 15)))
