"""CVAT's export of images, and mistakes in it."""

from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from samtune.data.formats import open_splits, recognise
from samtune.data.readers.cvat import Cvat
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError

HW = (20, 40)
SQUARE = "5.00,5.00;15.00,5.00;15.00,10.00;5.00,10.00"


def element(kind, **values):
    attributes = " ".join(f"{name}={quoteattr(str(value))}" for name, value in values.items())
    return f'<{kind} {attributes}><attribute name="a">1</attribute></{kind}>'


def polygon(points=SQUARE, label="cell", **more):
    return element("polygon", label=label, points=points, occluded=0, **more)


def image(*shapes, name="a.png", **more):
    more = {"id": 0, "name": name, "width": HW[1], "height": HW[0], **more}
    attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in more.items())
    return f"<image {attributes}>{''.join(shapes)}</image>"


@pytest.fixture
def cvat(tmp_path, write):
    """A function that opens an export of the given images, or of one image with given shapes."""
    write(tmp_path / "images" / "a.png", np.full((*HW, 3), 90, np.uint8))

    def make(*parts, **more):
        images = parts if parts and parts[0].startswith("<image") else [image(*parts, **more)]
        text = f"<annotations><version>1.1</version><meta/>{''.join(images)}</annotations>"
        (tmp_path / "annotations.xml").write_text(text, encoding="utf-8")
        return Cvat(tmp_path)

    return make


def window(rows, columns):
    mask = np.zeros(HW, bool)
    mask[rows, columns] = True
    return mask


def row_runs(mask):
    """Lengths of runs along the rows, the first one of zeros."""
    values = mask.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], values, [not values[-1]]])))
    return np.diff(np.concatenate([[0], edges])).tolist()


def test_polygons_and_boxes_cover_the_pixels_between_their_corners(cvat):
    box = element("box", label="cell", xtl="5", ytl="5", xbr="15", ybr="10")
    turned = element(
        "box", label="cell", xtl="7.5", ytl="2.5", xbr="12.5", ybr="12.5", rotation="90"
    )
    for each in (polygon(), box, turned):
        sample = cvat(each).read(0)
        np.testing.assert_array_equal(sample.labels[0], window(slice(5, 10), slice(5, 15)))
        assert sample.classes == {1: "cell"}


def test_ellipses_turn_clockwise(cvat):
    values = {"label": "cell", "cx": 20, "cy": 10, "rx": 9, "ry": 3}
    labels = cvat(element("ellipse", **values)).read(0).labels[0]
    assert labels.sum() == pytest.approx(np.pi * 27, rel=0.05)
    labels = cvat(element("ellipse", rotation=30, **values)).read(0).labels[0]
    assert labels.sum() == pytest.approx(np.pi * 27, rel=0.05)
    assert labels[13, 26]
    assert not labels[7, 26]


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(part=arrays.arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 40))).filter(np.any),
       data=st.data())  # fmt: skip
def test_masks_are_read_as_written(cvat, part, data):
    top = data.draw(st.integers(0, HW[0] - part.shape[0]))
    left = data.draw(st.integers(0, HW[1] - part.shape[1]))
    shape = element(
        "mask", label="cell", rle=", ".join(map(str, row_runs(part))), left=left, top=top,
        width=part.shape[1], height=part.shape[0],
    )  # fmt: skip
    expected = np.zeros(HW, bool)
    expected[top : top + part.shape[0], left : left + part.shape[1]] = part
    np.testing.assert_array_equal(cvat(shape).read(0).labels[0], expected)


def test_objects_stand_from_back_to_front_and_stay_whole(cvat):
    front = polygon(label="front", z_order=1)
    back = polygon("0,0;40,0;40,20;0,20", label="back", z_order=-1)
    sample = cvat(front, back).read(0)
    assert sample.classes == {1: "back", 2: "front"}
    assert (sample.labels[0] == 1).all()
    assert (sample.labels[1] == 2).sum() == 50


def test_shapes_of_one_group_are_one_object(cvat):
    other = "20,5;25,5;25,10;20,10"
    sample = cvat(polygon(group_id=3), polygon(other, group_id=3), polygon(other, "b")).read(0)
    assert sample.classes == {1: "cell", 2: "b"}
    assert (sample.labels[0] == 1).sum() == 50 + 25
    single = cvat(polygon(group_id=0), polygon(other, group_id=0)).read(0)
    assert len(single.classes) == 2


def test_subsets_are_splits_and_names_may_be_any(cvat, tmp_path, write):
    names = {"Train": "d\u00e9j\u00e0 vu/1 & 2.png", "Validation": "b.png", "default": "c.png"}
    for subset, name in names.items():
        write(tmp_path / "images" / subset / name, np.zeros((*HW, 3), np.uint8))
    images = [image(polygon(), name=name, subset=subset) for subset, name in names.items()]
    cvat(*images)
    assert recognise(tmp_path) == recognise(tmp_path / "annotations.xml") == "cvat"
    splits = open_splits(tmp_path, "auto", SourceSettings(), SplitSettings())
    assert {name: [r.image_id for r in part.records] for name, part in splits.items()} == {
        "train": ["Train/d\u00e9j\u00e0 vu/1 & 2.png"], "val": ["Validation/b.png"], "test": [],
    }  # fmt: skip
    assert splits["train"].read(0).labels.sum() == 50


def test_tags_are_no_objects(cvat):
    assert cvat(element("tag", label="good")).read(0).classes == {}


def test_what_has_no_area_is_left_out_and_told(cvat):
    shapes = [element("polyline", label="a", points=SQUARE), element("skeleton", label="a")]
    source = cvat(*shapes, polygon(SQUARE), shapes[0])
    assert len(source.read(0).classes) == 1
    assert [note.partition(": ")[2] for note in source.notes] == [
        "2 shapes without an area, of the kind polyline, left out, such as a.png",
        "1 shape without an area, of the kind skeleton, left out, such as a.png",
    ]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (polygon("1,1;2,2"), "has 2 corners"),
        (polygon("1,1;2,nan;3,3"), "not finite"),
        (polygon("1,1;2,1e12;3,3"), "far outside"),
        (polygon("1,1;2;3,3"), "is damaged"),
        (polygon(""), "is damaged"),
        (element("polygon", label="a"), "lacks 'points'"),
        (element("box", label="a", xtl="1", ytl="2", xbr="x", ybr="3"), "is damaged"),
        (element("mask", label="a", rle="3", left=0, top=0, width=2, height=2), "runs sum to 3"),
        (element("mask", label="a", rle="-3", left=0, top=0, width=2, height=2), "is below 0"),
        (
            element("mask", label="a", rle="4", left=39, top=0, width=2, height=2),
            "leaves the image",
        ),
        (
            element("mask", label="a", rle=f"{10**30}", left=0, top=0, width=2, height=2),
            "is damaged",
        ),
    ],
)
def test_a_shape_that_is_no_area_is_named(cvat, wrong, reason):
    with pytest.raises(UserError, match=rf"annotations\.xml, \w+ 1 of a\.png.*{reason}"):
        cvat(polygon(), wrong).read(0)


def test_a_polygon_that_crosses_itself_or_leaves_the_image_is_read(cvat):
    labels = cvat(polygon("-5,-5;15,15;15,-5;-5,15")).read(0).labels[0]
    assert labels[10, 14]
    assert not labels[10, 8]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cannot be read as XML"),
        ("<annotations><image", "cannot be read as XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "document type"),
        ("<boxes/>", r"found <boxes>, expected <annotations>"),
        ('<annotations><track><box frame="x"/></track></annotations>', "frame 'x' is no whole"),
        ('<annotations><track task_id="1"/><track task_id="2"/></annotations>', "export each task"),
        ("<annotations/>", "names no images"),
        ("<annotations><image/></annotations>", "image 0 has no name"),
        (
            f"<annotations>{image(polygon(z_order='x'))}</annotations>",
            "z_order .x. is no whole number",
        ),
        (f"<annotations>{image(name='gone.png')}</annotations>", r"gone\.png .* was not found"),
        (f"<annotations>{image(name='../../a.png', id=1)}</annotations>", None),
        ('<?xml version="1.0" encoding="nonsense"?><annotations/>', "cannot be read as XML"),
    ],
)
def test_a_file_that_is_none_is_said(cvat, tmp_path, text, reason):
    (tmp_path / "annotations.xml").write_text(text)
    if reason is None:  # it does not lead out of the folder
        assert Cvat(tmp_path).records[0].path == tmp_path / "images" / "a.png"
        return
    with pytest.raises(UserError, match=reason):
        Cvat(tmp_path)


def test_an_image_of_another_size_is_said(cvat):
    with pytest.raises(
        UserError, match=r"a\.png is 40x20 pixels, but .*annotations\.xml says 41x20"
    ):
        cvat(polygon(), width=41).read(0)


def track(*shapes, **more):
    attributes = " ".join(f"{key}={quoteattr(str(value))}" for key, value in more.items())
    return f"<track {attributes}>{''.join(shapes)}</track>"


def box(frame, left, outside=0):
    """A box of 4 x 4 pixels, as CVAT writes it of a track."""
    sides = {"xtl": left, "ytl": 2, "xbr": left + 4, "ybr": 6}
    return element("box", frame=frame, outside=outside, occluded=0, keyframe=1, **sides)


def video(folder, *tracks, size=3, side=HW):
    """Writes a file of CVAT for video."""
    original = f"<original_size><width>{side[1]}</width><height>{side[0]}</height></original_size>"
    meta = f"<meta><task><size>{size}</size><mode>interpolation</mode>{original}</task></meta>"
    text = f"<annotations><version>1.1</version>{meta}{''.join(tracks)}</annotations>"
    (folder / "annotations.xml").write_text(text)


TRACKS = (
    track(box(0, 4), box(1, 8), box(2, 12, outside=1), id=0, label="cell"),
    track(box(1, 20), element("points", frame=1, outside=0, points="1,1"), id=1, label="dust"),
)


@pytest.mark.parametrize(
    "names", [[f"images/frame_{n:06d}.PNG" for n in range(3)], ["images/z1.png", "images/z9.png",
                                                                "images/z10.png"]]
)  # fmt: skip
def test_a_video_has_an_object_for_each_track_that_a_frame_shows(tmp_path, write, names):
    for name in names:
        write(tmp_path / name, np.full((*HW, 3), 90, np.uint8))
    video(tmp_path, *TRACKS)
    if names[-1] == "images/z10.png":  # sorted as text, 10 comes before 9: the order is not told
        with pytest.raises(UserError, match="none of its frames was found"):
            Cvat(tmp_path)
        (tmp_path / names[-1]).rename(tmp_path / "images" / "zz11.png")
    source = Cvat(tmp_path)
    first, second, third = (source.read(n) for n in range(3))
    np.testing.assert_array_equal(first.labels[0], window(slice(2, 6), slice(4, 8)))
    assert second.classes == {1: "cell", 2: "dust"}
    np.testing.assert_array_equal(second.labels[0] == 2, window(slice(2, 6), slice(20, 24)))
    assert not third.labels.any()
    (note,) = source.notes
    assert "1 shape without an area, of the kind points, left out" in note


def test_frames_of_a_video_that_are_not_there_are_told(tmp_path, write):
    write(tmp_path / "images" / "frame_000001.png", np.full((*HW, 3), 90, np.uint8))
    video(tmp_path, *TRACKS)
    source = Cvat(tmp_path)
    assert len(source.read(0).classes) == 2
    assert "1 frame with shapes but without an image left out, such as 0" in source.notes[0]


def test_frames_of_another_size_than_the_video_are_said(tmp_path, write):
    write(tmp_path / "images" / "frame_000001.png", np.full((*HW, 3), 90, np.uint8))
    video(tmp_path, *TRACKS, side=(200, 400))
    with pytest.raises(UserError, match=r"is 40x20 pixels, but .* says 400x200"):
        Cvat(tmp_path).read(0)


def test_two_images_of_one_name_are_refused(cvat):
    with pytest.raises(
        UserError, match=r"names the images a\.png and a\.png, but there is one picture"
    ):
        cvat(image(polygon()), image(polygon(), id=1))


def test_frames_between_two_of_a_track_are_told(tmp_path, write):
    """CVAT writes the shapes between key frames; other tools write the key frames alone."""
    for number in range(5):
        write(tmp_path / "images" / f"frame_{number:06d}.png", np.full((*HW, 3), 90, np.uint8))
    shapes = [polygon(frame=frame, outside=0) for frame in (0, 3)]
    gone = polygon(frame=0, outside=0) + polygon(frame=1, outside=1) + polygon(frame=4, outside=0)
    (tmp_path / "annotations.xml").write_text(
        f"<annotations><track label='a'>{''.join(shapes)}</track><track label='b'>{gone}</track>"
        "</annotations>"
    )
    (note,) = Cvat(tmp_path).notes
    assert (
        "2 shapes of frames between two of a track, which the file does not hold, left out" in note
    )
