"""Detections of every format, and rows that cannot be used: named, never lost."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samtune.errors import UserError
from samtune.inference.prelabel.detection_text import read_detections
from samtune.inference.prelabel.detections import Detection, RowError

BOX = (10.0, 20.0, 40.0, 60.0)
RESULT = {"image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40], "score": 0.5}


def read(path, content, images_json=None, min_score=0.0):
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_text(text)
    return read_detections(path, images_json, min_score)


def told(found):
    return [(row.image, row.category, row.box, row.score) for row in found.rows]


def reasons(found):
    return [(each.where, each.reason) for each in found.rejected]


def test_results_with_names(tmp_path):
    rows = [RESULT | {"file_name": "a.png"}, RESULT | {"image_id": "b.png"}, RESULT]
    found = read(tmp_path / "d.json", rows)
    assert told(found) == [(name, 3, BOX, 0.5) for name in ("a.png", "b.png", "7")]
    assert found.categories == [{"id": 3, "name": "3"}]
    assert [row.number for row in found.rows] == [1, 2, 3]


def test_results_with_ids_of_another_file(tmp_path):
    index = tmp_path / "images.json"
    image = {"id": 7, "file_name": "x/a.png", "height": 50, "width": 70}
    category = {"id": 3, "name": "cell", "supercategory": "thing", "colour": "red"}
    index.write_text(json.dumps({"images": [image], "categories": [category]}))
    found = read(tmp_path / "d.json", [RESULT, RESULT | {"image_id": 8}], index)
    assert told(found)[0] == ("x/a.png", 3, BOX, 0.5)
    assert found.rows[1].image == "image_id 8"
    assert found.categories == [{"id": 3, "name": "cell", "supercategory": "thing"}]
    assert (found.image_ids, found.image_hws) == ({"x/a.png": 7}, {"x/a.png": (50, 70)})


def test_a_whole_coco_file_keeps_its_ids_and_categories(tmp_path):
    content = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "annotations": [RESULT | {"id": 90}, RESULT | {"id": 80, "iscrowd": 1}],
        "categories": [{"id": 3, "name": "cell"}, {"id": 4, "name": "dust"}],
    }
    found = read(tmp_path / "d.json", content)
    assert [(row.number, row.image) for row in found.rows] == [(90, "a.png")]
    assert [category["name"] for category in found.categories] == ["cell", "dust"]
    assert reasons(found) == [("annotation 80", "a crowd's region, not an object")]
    # CVAT marks every mask so
    content["annotations"][1] |= {"attributes": {"occluded": False}}
    assert len(read(tmp_path / "d.json", content).rows) == 2


def test_keypoints_stand_in_for_a_box(tmp_path):
    row = {"file_name": "a.png", "category_id": 1, "keypoints": [5, 6, 2, 0, 0, 0, 7, 8, 1]}
    (found,) = read(tmp_path / "d.json", [row]).rows
    assert (found.box, found.points) == (None, ((5, 6), (7, 8)))
    prompt, is_cut = found.to_prompt((20, 20))
    assert prompt.point_coords.tolist() == [[5, 6], [7, 8]]
    assert prompt.point_labels.tolist() == [1, 1]
    assert not is_cut


def test_yolo_s_folder(tmp_path):
    labels = tmp_path / "labels"
    (labels / "train").mkdir(parents=True)
    (labels / "train" / "a.txt").write_text("1 0.5 0.5 0.2 0.4 0.9\n\n0 0.1 0.1 0.2 0.2\n")
    (labels / "b.txt").write_text("0 0.5 0.5\n-1 0.5 0.5 0.2 0.2\nx 0 0 1 1\n")
    (labels / "classes.txt").write_text("cell\nroof\n")
    found = read_detections(labels, None, 0.0)
    assert [(row.image, row.category, row.score) for row in found.rows] == [
        ("train/a", 2, 0.9),
        ("train/a", 1, None),
    ]
    assert found.categories == [{"id": 1, "name": "cell"}, {"id": 2, "name": "roof"}]
    prompt, _ = found.rows[0].to_prompt((100, 200))
    np.testing.assert_allclose(prompt.box_xyxy, [80, 30, 119, 69], atol=1e-4)
    assert [where for where, _ in reasons(found)] == [f"b.txt, line {n}" for n in (1, 2, 3)]
    assert len({row.number for row in found.rows}) == 2


def test_names_of_yolo_s_yaml(tmp_path):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.4")
    (tmp_path / "data.yaml").write_text("names: {0: cell, 1: roof}")
    found = read_detections(tmp_path / "labels", None, 0.0)
    assert [category["name"] for category in found.categories] == ["cell", "roof"]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_boxes(tmp_path, mark):
    lines = ["File,x0,y0,x1,y1,label,score", "a.png,10,20,40,60,roof,0.5", "a.png,10,20,40,60,,"]
    found = read(tmp_path / "d.csv", "\ufeff" + "\n".join(lines).replace(",", mark))
    assert told(found) == [("a.png", 2, BOX, 0.5), ("a.png", 1, BOX, None)]
    assert [category["name"] for category in found.categories] == ["object", "roof"]


def test_a_table_of_points(tmp_path):
    (found,) = read(tmp_path / "d.csv", 'file,x,y,label\n"a,b.png",3,4,cell\n').rows
    assert (found.image, found.box, found.points) == ("a,b.png", None, ((3, 4),))


def test_low_scores_are_left_out_and_counted(tmp_path):
    rows = [RESULT, RESULT | {"score": 0.1}, {k: v for k, v in RESULT.items() if k != "score"}]
    found = read(tmp_path / "d.json", rows, min_score=0.3)
    assert [row.number for row in found.rows] == [1, 3]
    assert (found.num_below, found.num_read) == (1, 3)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": [1, 2, 0, 5]}, "no area"),
        ({"bbox": [1, 2, -3, 5]}, "no area"),
        ({"bbox": [1, 2, float("nan"), 5]}, "not finite"),
        ({"bbox": [1e308, 2, 1e308, 5]}, "not finite"),
        ({"bbox": [10**400, 2, 3, 5]}, "bbox is no list of numbers"),
        ({"bbox": [1, 2, 3]}, "bbox has another length"),
        ({"bbox": "wide"}, "bbox is no list of numbers"),
        ({"bbox": 5}, "bbox is no list of numbers"),
        ({"bbox": None}, "neither bbox nor keypoints"),
        ({"bbox": None, "keypoints": [1, 2, 0]}, "no keypoint is labelled"),
        ({"score": "high"}, "the score is no list of numbers"),
        ({"score": float("inf")}, "not finite"),
        ({"category_id": "cell"}, "category_id is no whole number"),
        ({"image_id": None}, "names no image"),
        ({"image_id": [1]}, "names no image"),
    ],
)
def test_a_bad_row_is_named_and_the_others_stay(tmp_path, change, reason):
    found = read(tmp_path / "d.json", [RESULT, RESULT | change])
    assert reasons(found) == [("entry 1", reason)]
    assert told(found) == [("7", 3, BOX, 0.5)]


def test_bad_rows_of_a_table(tmp_path):
    lines = [
        "file,x0,y0,x1,y1,score",
        "a,9,9,9,9,1",
        "a,,2,3,4,1",
        ",1,2,3,4,1",
        "a,1,2,3,4,x",
        "a",
    ]
    found = read(tmp_path / "d.csv", "\n".join(lines))
    assert [where for where, _ in reasons(found)] == [f"row {n}" for n in (1, 2, 3, 4, 5)]
    assert found.rows == []


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "7", '{"images": []}', '{"annotations": 4, "images": []}', "null", '"text"'],
)
def test_a_file_without_detections_is_an_error(tmp_path, content):
    with pytest.raises(UserError, match=r"d\.json"):
        read(tmp_path / "d.json", content)


@pytest.mark.parametrize("content", ["", "a,b\n1,2", "file,x0,y0,x1\n", "file,x,y\n", "x,y\n1,2\n"])
def test_a_table_without_detections_is_an_error(tmp_path, content):
    with pytest.raises(UserError, match=r"d\.csv"):
        read(tmp_path / "d.csv", content)


def test_a_folder_without_text_and_a_path_that_is_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "no.json"):
        with pytest.raises(UserError, match="detections"):
            read_detections(path, None, 0.0)


def test_a_box_is_cut_to_its_image_and_one_outside_is_refused():
    def row(*box):
        return Detection(1, "", "a", 1, None, tuple(map(float, box)))

    prompt, is_cut = row(-5, 10, 300, 20).to_prompt((100, 200))
    assert (prompt.box_xyxy.tolist(), is_cut) == ([0, 10, 199, 19], True)
    assert row(0, 0, 200.4, 100).to_prompt((100, 200))[1] is False
    for box in ((200, 0, 220, 10), (-9, 0, 0, 10), (0, 100, 5, 120)):
        with pytest.raises(RowError, match="outside the image"):
            row(*box).to_prompt((100, 200))
    with pytest.raises(RowError, match="outside the image"):
        Detection(1, "", "a", 1, None, None, ((500.0, 5.0),)).to_prompt((100, 200))


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_subnormal=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["image_id", "file_name", "bbox", "category_id", "score", "keypoints"]),
            inner,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(entries=st.lists(_ANYTHING, min_size=1, max_size=6))
def test_whatever_a_list_holds_each_entry_is_kept_or_named(tmp_path_factory, entries):
    path = tmp_path_factory.mktemp("any") / "d.json"
    found = read(path, entries)
    assert len(found.rows) + len(found.rejected) + found.num_below == len(entries)
    known = {category["id"] for category in found.categories}
    assert {row.category for row in found.rows} <= known
    json.dumps(found.categories, allow_nan=False)


_SHARE = st.floats(0.01, 0.99)


@settings(max_examples=30, deadline=None)
@given(centre=st.tuples(_SHARE, _SHARE), size=st.tuples(_SHARE, _SHARE))
def test_all_formats_of_a_box_give_the_same_prompt(tmp_path_factory, centre, size):
    folder = tmp_path_factory.mktemp("same")
    hw = (90, 170)
    (cx, cy), (width, height) = np.array(centre) * (170, 90), np.array(size) * (170, 90)
    x0, y0 = float(cx - width / 2), float(cy - height / 2)
    coco = read(
        folder / "d.json",
        [{"file_name": "a", "category_id": 1, "bbox": [x0, y0, float(width), float(height)]}],
    )
    table = read(folder / "d.csv", f"file,x0,y0,x1,y1\na,{x0},{y0},{x0 + width},{y0 + height}")
    (folder / "yolo").mkdir()
    (folder / "yolo" / "a.txt").write_text(f"0 {centre[0]} {centre[1]} {size[0]} {size[1]}")
    yolo = read_detections(folder / "yolo", None, 0.0)
    first, *others = (found.rows[0].to_prompt(hw)[0].box_xyxy for found in (coco, table, yolo))
    assert 0 <= first[0] <= first[2] <= 169
    assert 0 <= first[1] <= first[3] <= 89
    for other in others:
        np.testing.assert_allclose(other, first, atol=1e-3)
