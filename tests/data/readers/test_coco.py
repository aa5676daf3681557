import json
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from samtune.data.formats import recognise
from samtune.data.objects import find_objects, object_mask
from samtune.data.readers.coco import Coco
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.errors import UserError
from samtune.masks import mask_to_rings, mask_to_rle
from samtune.reading import Reading

HW = (10, 12)


def block(rows, columns):
    mask = np.zeros(HW, bool)
    mask[slice(*rows), slice(*columns)] = True
    return mask


def polygon(rows, columns):
    (top, bottom), (left, right) = rows, columns
    return [left, top, right, top, right, bottom, left, bottom]


def annotation(number, segmentation, **more):
    base = {"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0}
    return base | {"segmentation": segmentation} | more


def entry(number, name, **more):
    return {"id": number, "file_name": name} | more


@pytest.fixture
def coco(tmp_path, write):
    """Opens a COCO file of the given annotations over images a.png and b.png."""
    pixels = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
    write(tmp_path / "a.png", pixels)
    write(tmp_path / "b.png", 255 - pixels)

    def open_coco(annotations, settings=None, split="", **content):
        images = [entry(1, "a.png", height=10, width=12), entry(2, "b.png")]
        categories = [{"id": 1, "name": "roof"}, {"id": 7, "name": "road"}]
        content = {"images": images, "categories": categories} | content
        file = tmp_path / "coco.json"
        file.write_text(json.dumps(content | {"annotations": annotations}))
        return Coco(file, settings, split)

    return open_coco


def masks_of(sample):
    places = find_objects(sample.labels)
    return {place.object_id: object_mask(sample.labels, place) for place in places}


def test_each_image_is_a_record(coco):
    source = coco([])
    assert len(source) == 2
    assert [record.image_id for record in source.records] == ["a.png", "b.png"]
    assert [record.path.name for record in source.records] == ["a.png", "b.png"]
    assert source.hw(0) == HW


def test_polygons_become_masks(coco):
    sample = coco([annotation(5, [polygon((2, 5), (3, 9))])]).read(0)
    assert sample.image_id == "a.png"
    np.testing.assert_array_equal(masks_of(sample)[5], block((2, 5), (3, 9)))


def test_parts_of_an_object_are_one_object(coco):
    parts = [polygon((0, 2), (0, 3)), polygon((6, 9), (8, 12))]
    found = masks_of(coco([annotation(5, parts)]).read(0))
    np.testing.assert_array_equal(found[5], block((0, 2), (0, 3)) | block((6, 9), (8, 12)))


def test_compressed_rle_becomes_a_mask(coco):
    mask = np.random.default_rng(1).random(HW) < 0.4
    np.testing.assert_array_equal(
        masks_of(coco([annotation(5, mask_to_rle(mask))]).read(0))[5], mask
    )


def test_uncompressed_rle_becomes_a_mask(coco):
    rle = {"size": [10, 12], "counts": [20, 30, 70]}
    found = masks_of(coco([annotation(5, rle)]).read(0))
    np.testing.assert_array_equal(found[5], block((0, 10), (2, 5)))


def test_crowds_are_left_out(coco):
    crowd = {"size": [10, 12], "counts": [0, 120]}
    annotations = [annotation(5, [polygon((2, 5), (3, 9))]), annotation(6, crowd, iscrowd=1)]
    sample = coco(annotations).read(0)
    assert list(masks_of(sample)) == [5]
    assert sample.classes == {5: "roof"}


def test_annotations_without_a_segmentation_are_left_out(coco):
    sample = coco([annotation(5, []), annotation(6, [polygon((2, 5), (3, 9))])]).read(0)
    assert list(masks_of(sample)) == [6]


def test_objects_have_the_names_of_their_categories(coco):
    shapes = [[polygon((0, 2), (0, 2))], [polygon((4, 6), (4, 6))], [polygon((7, 9), (7, 9))]]
    categories = [1, 7, None]
    annotations = [
        annotation(number, shape, category_id=category)
        for number, (shape, category) in enumerate(zip(shapes, categories, strict=True), start=3)
    ]
    assert coco(annotations).read(0).classes == {3: "roof", 4: "road", 5: ""}


def test_objects_that_overlap_are_both_whole(coco):
    annotations = [
        annotation(5, [polygon((2, 8), (2, 8))]),
        annotation(6, [polygon((4, 10), (4, 12))]),
    ]
    sample = coco(annotations).read(0)
    assert sample.labels.shape == (2, *HW)
    found = masks_of(sample)
    np.testing.assert_array_equal(found[5], block((2, 8), (2, 8)))
    np.testing.assert_array_equal(found[6], block((4, 10), (4, 12)))


def test_an_image_has_only_its_own_objects(coco):
    annotations = [
        annotation(5, [polygon((2, 5), (3, 9))]),
        annotation(6, [polygon((0, 3), (0, 3))], image_id=2),
    ]
    source = coco(annotations)
    assert list(masks_of(source.read(0))) == [5]
    assert list(masks_of(source.read(1))) == [6]


def test_an_image_without_annotations_has_no_objects(coco):
    sample = coco([]).read(1)
    assert sample.labels.shape == (1, *HW)
    assert not sample.labels.any()
    assert sample.classes == {}


@pytest.mark.parametrize("ids", [[2**40, 2**40 + 1], ["x", "y"], [0, 1], [4, 4]])
def test_ids_that_fit_no_label_map_are_numbered_anew(coco, ids):
    annotations = [
        annotation(ids[0], [polygon((0, 3), (0, 3))]),
        annotation(ids[1], [polygon((5, 8), (5, 8))], category_id=7),
    ]
    sample = coco(annotations).read(0)
    found = masks_of(sample)
    assert sample.classes == {1: "roof", 2: "road"}
    np.testing.assert_array_equal(found[1], block((0, 3), (0, 3)))
    np.testing.assert_array_equal(found[2], block((5, 8), (5, 8)))


def test_parts_can_be_objects_of_their_own(coco):
    parts = [polygon((0, 2), (0, 3)), polygon((6, 9), (8, 12))]
    sample = coco([annotation(5, parts)], SourceSettings(with_components=True)).read(0)
    found = masks_of(sample)
    assert sample.classes == {1: "roof", 2: "roof"}
    np.testing.assert_array_equal(found[1], block((0, 2), (0, 3)))
    np.testing.assert_array_equal(found[2], block((6, 9), (8, 12)))


def test_bands_and_stretch_reach_the_image(coco):
    plain = coco([]).read(0).image
    swapped = coco([], SourceSettings(Reading(bands=(2, 1, 0)))).read(0).image
    np.testing.assert_array_equal(swapped, plain[..., ::-1])


def test_a_split_is_part_of_each_id(coco):
    record = coco([], split="train").records[0]
    assert (record.image_id, record.split) == ("train/a.png", "train")


@pytest.mark.parametrize(
    ("json_file", "image_file", "split"),
    [
        ("coco.json", "images/a.png", ""),
        ("annotations/instances_train2017.json", "train2017/a.png", "train"),
        ("annotations/train.json", "train/a.png", "train"),
        ("annotations/coco.json", "a.png", ""),
        ("annotations/train.json", "images/train/a.png", "train"),
        ("coco.json", "deep/er/a.png", ""),
    ],
)
def test_images_are_found_in_the_usual_places(tmp_path, write, json_file, image_file, split):
    write(tmp_path / image_file, np.zeros((*HW, 3), np.uint8))
    file_name = "deep/er/a.png" if "deep" in image_file else "a.png"
    file = tmp_path / json_file
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({"images": [entry(1, file_name)], "annotations": []}))
    assert Coco(file, split=split).read(0).image.shape == (*HW, 3)


def test_an_image_of_another_size_than_declared_is_refused(coco):
    source = coco([], images=[entry(1, "a.png", height=12, width=10)])
    with pytest.raises(UserError, match=r"a\.png is 12x10 pixels, but .*coco\.json says 10x12"):
        source.read(0)


def test_rle_of_another_size_than_the_image_is_refused(coco):
    source = coco([annotation(5, {"size": [4, 5], "counts": [3, 17]})])
    with pytest.raises(
        UserError, match=r"annotation 5 of .* is 5x4 pixels, but its image is 12x10"
    ):
        source.read(0)


@pytest.mark.parametrize(
    "segmentation",
    [
        [1, 2, 3, 4, 5, 6],
        [["a"] * 6],
        [[1, 2, 3]],
        "text",
        {"size": [10, 12]},
        {"counts": [1, 2]},
        {"size": [10], "counts": [10]},
        {"size": [10, 12], "counts": "zzzzzzz"},
        {"size": [10, 12], "counts": None},
        {"size": [10, 12], "counts": [400]},
        {"size": [10, 12], "counts": [20, 30]},
    ],
)
def test_a_broken_segmentation_is_named(coco, segmentation):
    source = coco([annotation(5, segmentation)])
    with pytest.raises(UserError, match=r"annotation 5 of .*coco\.json has a segmentation that"):
        source.read(0)


def test_a_polygon_without_three_corners_is_named(coco):
    with pytest.raises(UserError, match=r"annotation 5 .*none of its polygons has three corners"):
        coco([annotation(5, [[1, 1, 3, 3]])]).read(0)


def test_a_polygon_that_is_not_finite_is_named(coco):
    source = coco([annotation(5, [[0, 0, float("nan"), 0, 3, 3]])])
    with pytest.raises(UserError, match=r"annotation 5 of .*coco\.json has a segmentation that"):
        source.read(0)


def test_a_missing_image_is_named(coco, tmp_path):
    with pytest.raises(UserError, match=r"the image gone\.png of .*coco\.json was not found under"):
        coco([], images=[entry(1, "gone.png")])


def test_a_single_missing_image_is_named_when_it_is_read(coco):
    source = coco([], images=[entry(1, "a.png"), entry(2, "gone.png")])
    with pytest.raises(UserError, match=r"there is no image .*gone\.png"):
        source.read(1)


def test_a_file_without_images_is_refused(coco):
    with pytest.raises(UserError, match="names no images"):
        coco([], images=[])


@pytest.mark.parametrize("content", [[], {}, {"images": []}, {"annotations": []}, 3])
def test_a_file_that_is_not_coco_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"a\.json is not COCO: it lacks"):
        Coco(tmp_path / "a.json")


@pytest.mark.parametrize(
    "content",
    [
        {"images": [{"id": 1}]},
        {"images": [{"file_name": "a.png"}]},
        {"categories": [{"id": 1}]},
        {"annotations": [{"id": 1, "segmentation": [polygon((0, 3), (0, 3))]}]},
    ],
    ids=["file name", "image id", "category name", "annotation's image"],
)
def test_an_entry_without_a_needed_field_is_the_users_error(coco, content):
    content = {"annotations": []} | content
    with pytest.raises(UserError, match=r"coco\.json"):
        coco(content.pop("annotations"), **content).read(0)


@pytest.mark.parametrize(
    ("field", "value"),
    [("file_name", 3), ("file_name", None), ("id", [1]), ("height", "ten")],
)
def test_a_field_of_another_kind_is_named(coco, field, value):
    with pytest.raises(UserError, match=rf"coco\.json is not COCO.*images\[0\]\.{field}"):
        coco([], images=[entry(1, "a.png") | {field: value}])


@pytest.mark.parametrize(
    ("category", "reason"),
    [
        (99, r"has the category_id 99, which 'categories' does not list: it has 1, 7$"),
        ("7", r"has the category_id '7', which 'categories' does not list: it has 1, 7$"),
        ([1], r"Expected .*category_id"),
    ],
)
def test_a_category_that_is_not_listed_is_named(coco, category, reason):
    shape = [polygon((2, 5), (3, 9))]
    with pytest.raises(UserError, match=rf"coco\.json: entry 1 of 'annotations'.*{reason}"):
        coco([annotation(5, shape), annotation(6, shape, category_id=category)])


def test_without_any_categories_objects_have_none(coco):
    source = coco([annotation(5, [polygon((2, 5), (3, 9))])], categories=[])
    assert source.read(0).classes == {5: ""}


def test_two_images_of_one_id_are_named(coco):
    with pytest.raises(UserError, match=r"images a\.png and b\.png both have the id 3: number"):
        coco([], images=[entry(3, "a.png"), entry(3, "b.png")])


@pytest.mark.parametrize(("image", "own"), [("1", 1), (1, "1")])
def test_ids_of_images_as_text_and_as_numbers_are_both_named(coco, image, own):
    wrong = annotation(5, [polygon((2, 5), (3, 9))], image_id=image)
    with pytest.raises(UserError, match=f"entry 0 .* image_id {image!r}, .* such as {own!r}"):
        coco([wrong], images=[entry(own, "a.png")])


def test_what_is_left_out_is_told_by_number(coco):
    shape = [polygon((2, 5), (3, 9))]
    boxes = [annotation(6, [], bbox=[1, 1, 3, 3]), annotation(7, None), annotation(8, [[]])]
    del boxes[1]["segmentation"]
    crowd = annotation(9, [], iscrowd=1)
    whole = [annotation(5, shape), *boxes, crowd, annotation(10, shape, image_id=9)]
    source = coco(whole)
    assert list(masks_of(source.read(0))) == [5]
    outlines, lost, crowds = (note.partition(": ")[2] for note in source.notes)
    assert outlines.startswith("3 annotations without an outline, with a box at most")
    assert lost == "1 annotation of images that it does not name left out"
    assert crowds.startswith("1 annotation with iscrowd 1 ")
    assert coco([annotation(5, shape)]).notes == []


def run_lengths(rows, columns):
    return mask_to_rle(block(rows, columns))


def marked(number, rows, columns, **more):
    return annotation(number, run_lengths(rows, columns), iscrowd=1, **more)


CVAT = {"attributes": {"occluded": False}}
OUTLINED = annotation(1, [polygon((2, 5), (3, 9))])


@pytest.mark.parametrize(
    ("annotations", "objects"),
    [
        # CVAT: what is no polygon is marked, and has attributes
        ([OUTLINED | CVAT, marked(2, (6, 8), (0, 4), **CVAT)], [1, 2]),
        # nothing but masks
        ([marked(1, (0, 2), (0, 4)), marked(2, (6, 8), (0, 4), image_id=2)], [1]),
        # COCO has one crowd for a category of an image
        ([OUTLINED, marked(2, (0, 2), (0, 4)), marked(3, (6, 8), (0, 4))], [1, 2, 3]),
        ([OUTLINED, marked(2, (0, 2), (0, 4)), marked(3, (6, 8), (0, 4), category_id=7)], [1]),
        ([OUTLINED, marked(2, (0, 2), (0, 4)), marked(3, (6, 8), (0, 4), image_id=2)], [1]),
        ([OUTLINED | {"iscrowd": "0"}], [1]),
        ([OUTLINED, marked(2, (0, 2), (0, 4)) | {"iscrowd": "1"}], [1]),
    ],
)
def test_what_is_marked_as_a_crowd_is_what_its_tool_means_by_it(coco, annotations, objects):
    source = coco(annotations)
    assert sorted(masks_of(source.read(0))) == objects
    is_told = any("iscrowd 1" in note for note in source.notes)
    assert is_told == any(str(each["iscrowd"]) == "1" for each in annotations)


@pytest.mark.parametrize(("crowds", "objects"), [("objects", [1, 2]), ("left_out", [1])])
def test_a_setting_says_what_crowds_are(coco, crowds, objects):
    source = coco([OUTLINED, marked(2, (6, 8), (0, 4))], SourceSettings(crowds=crowds))
    assert sorted(masks_of(source.read(0))) == objects
    assert len(source.notes) == (crowds == "left_out")


def lay_out(folder, places, names, stem="instances_default"):
    """A COCO file of one object an image, and images where an export puts them."""
    for place in places:
        (folder / place).mkdir(parents=True, exist_ok=True)
        for name in names:
            Image.fromarray(np.zeros((*HW, 3), np.uint8)).save(folder / place / name)
    (folder / "annotations").mkdir(exist_ok=True)
    images = [entry(number, name) for number, name in enumerate(names, start=1)]
    annotations = [OUTLINED | {"image_id": image["id"]} for image in images]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (folder / "annotations" / f"{stem}.json").write_text(json.dumps(content))
    return folder / "annotations" / f"{stem}.json"


@pytest.mark.parametrize(
    ("stem", "subset"), [("instances_default", "default"), ("annotations", "batch 7")]
)
def test_images_lie_in_whatever_folder_of_images_an_export_has(tmp_path, stem, subset):
    file = lay_out(tmp_path, [f"images/{subset}"], ["a.png", "b.png"], stem)
    source = Coco(file)
    assert [record.path.parent.name for record in source.records] == [subset, subset]
    assert list(masks_of(source.read(1))) == [1]


def test_an_image_in_two_folders_of_images_is_the_one_that_the_file_is_called_as(tmp_path):
    file = lay_out(tmp_path, ["images/one", "images/two"], ["a.png"], "instances_two")
    assert Coco(file).records[0].path.parent.name == "two"
    with pytest.raises(UserError, match=r"is in .*one and in .*two: give the file names"):
        Coco(file.rename(file.with_name("other.json")))


def test_a_first_image_that_is_missing_does_not_hide_where_the_others_are(tmp_path):
    file = lay_out(tmp_path, ["images/default"], ["a.png", "b.png"])
    (tmp_path / "images" / "default" / "a.png").unlink()
    assert list(masks_of(Coco(file).read(1))) == [1]


def test_files_that_are_no_split_beside_some_that_are_are_told(tmp_path):
    lay_out(tmp_path, ["images/train"], ["a.png", "b.png", "c.png"], "instances_train")
    lay_out(tmp_path, ["images/more"], ["d.png"], "instances_more")
    (found,) = Coco.open(tmp_path, SourceSettings(), SplitSettings())["train"].notes
    assert found.endswith("1 JSON file named after no split left out, such as instances_more.json")


@pytest.mark.parametrize("content", [b"", b"{", b'{"images": [', b"[" * 100_000, b"\xff\xd8\xff"])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "coco.json").write_bytes(content)
    with pytest.raises(UserError, match=r"coco\.json (cannot be read as JSON|is not COCO)"):
        Coco(tmp_path / "coco.json")


@pytest.mark.parametrize("rle", [
    {"size": [10**9, 10**9], "counts": [10**18]}, {"size": [10, 12], "counts": "o"},
    {"size": [10, 12], "counts": "ooooooooooooo0"}, {"size": [10, 12], "counts": "é"},
    {"size": [10, 12], "counts": [-5, 125]}, {"size": ["a", 2], "counts": "a"},
])  # fmt: skip
def test_absurd_run_lengths_are_named(coco, rle):
    with pytest.raises(UserError, match=r"annotation 5 of .*coco\.json"):
        coco([annotation(5, rle)]).read(0)


@pytest.mark.parametrize("corner", [1e9, -1e300])
def test_a_corner_far_outside_is_named(coco, corner):
    source = coco([annotation(5, [[0, 0, corner, 0, 3, 3]])])
    with pytest.raises(UserError, match=r"annotation 5 .* far outside the image"):
        source.read(0)


def test_what_is_not_finite_elsewhere_does_no_harm(coco):
    """Tools that write with pandas leave NaN as area; the places of all else must stay right."""
    odd = {"area": float("nan"), "note": 'NaN "Infinity', "bbox": [-float("inf")] * 4}
    shapes = [annotation(5, [polygon((2, 5), (3, 9))], **odd),
              annotation(6, [polygon((7, 9), (1, 4))], **odd)]  # fmt: skip
    found = masks_of(coco(shapes).read(0))
    np.testing.assert_array_equal(found[5], block((2, 5), (3, 9)))
    np.testing.assert_array_equal(found[6], block((7, 9), (1, 4)))


@pytest.mark.parametrize("area", [1.0, float("nan")])
def test_a_mark_of_byte_order_does_no_harm(coco, area):
    source = coco([annotation(5, [polygon((2, 5), (3, 9))], area=area)])
    source.file.write_bytes(b"\xef\xbb\xbf" + source.file.read_bytes())
    np.testing.assert_array_equal(masks_of(Coco(source.file).read(0))[5], block((2, 5), (3, 9)))


def test_an_id_that_is_no_text_is_named(coco):
    file = coco([annotation(5, [polygon((2, 5), (3, 9))], category_id=None)]).file
    file.write_bytes(file.read_bytes().replace(b'"category_id": null', b'"category_id": "\xff"'))
    with pytest.raises(UserError, match=r"coco\.json: entry 0 of 'annotations'.*utf-8"):
        Coco(file)


def test_a_file_that_changed_since_is_said(coco, tmp_path):
    source = coco([annotation(5, [polygon((2, 5), (3, 9))])])
    (tmp_path / "coco.json").write_text("{}")
    with pytest.raises(UserError, match=r"coco\.json cannot be read any more"):
        source.read(0)


MASKS = arrays.arrays(bool, st.just(HW)).filter(np.any)


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(objects=st.lists(st.tuples(MASKS, st.sampled_from([1, 7])), max_size=4),
       first_id=st.integers(1, 2**31 - 10))  # fmt: skip
def test_what_is_written_is_read(coco, objects, first_id):
    annotations = []
    for number, (mask, category) in enumerate(objects, start=first_id):
        annotations.append(annotation(number, mask_to_rle(mask), category_id=category))
    sample = coco(annotations).read(0)
    found = masks_of(sample)
    names = {1: "roof", 7: "road"}
    for number, (mask, category) in enumerate(objects, start=first_id):
        np.testing.assert_array_equal(found[number], mask)
        assert sample.classes[number] == names[category]
    assert len(found) == len(objects)


@settings(max_examples=40, deadline=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(mask=arrays.arrays(bool, st.just((5, 6))).filter(np.any))
def test_outlines_along_pixels_are_read_to_the_pixel(coco, mask):
    whole = np.zeros(HW, bool)
    whole[::2, ::2] = mask  # parts without holes
    rings = [ring.reshape(-1).tolist() for ring in mask_to_rings(whole)]
    np.testing.assert_array_equal(masks_of(coco([annotation(5, rings)]).read(0))[5], whole)


def test_an_object_costs_little_memory(coco):
    corners = np.random.default_rng(0).uniform(0, 10, 30).round(2).tolist()
    number = 20_000
    file = coco([annotation(each, [corners]) for each in range(number)]).file
    tracemalloc.start()
    try:
        source = Coco(file)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept / number < 40
    assert peak / number < 200
    assert len(pickle.dumps(source)) / number < 20


def test_processes_that_read_get_a_copy(coco):
    source = coco([annotation(5, [polygon((2, 5), (3, 9))])])
    again = pickle.loads(pickle.dumps(source))  # noqa: S301
    np.testing.assert_array_equal(again.read(0).labels, source.read(0).labels)


def test_two_categories_with_one_id_are_refused(coco):
    with pytest.raises(UserError, match=r"categories roof and road both have the id 1"):
        coco([], categories=[{"id": 1, "name": "roof"}, {"id": 1, "name": "road"}])
    assert len(coco([], categories=[{"id": 1, "name": "roof"}] * 2)) == 2


def test_what_is_to_be_ignored_is_left_out_and_told(coco):
    shapes = [annotation(n, [polygon((2, 5), (3, 9))], ignore=n - 1) for n in (1, 2)]
    source = coco(shapes)
    assert list(masks_of(source.read(0))) == [1]
    assert source.notes == [f"{source.file}: 1 annotation with ignore 1 left out, such as 1"]


def test_images_of_lvis_are_named_by_their_address(coco):
    images = [{"id": 1, "coco_url": "http://images.cocodataset.org/train2017/a.png"}]
    source = coco([annotation(5, [polygon((2, 5), (3, 9))])], images=images)
    assert source.records[0].path.name == "a.png"
    np.testing.assert_array_equal(masks_of(source.read(0))[5], block((2, 5), (3, 9)))
    with pytest.raises(UserError, match="the image 1 has no file_name"):
        coco([], images=[{"id": 1}])


@pytest.mark.parametrize(
    "segmentation", [polygon((2, 5), (3, 9)), [[[3, 2], [9, 2], [9, 5]]], [{"counts": [1]}]]
)
def test_a_segmentation_in_another_form_is_named(coco, segmentation):
    source = coco([annotation(5, segmentation)])
    with pytest.raises(
        UserError, match=r"expected run lengths .* or a list of polygons, each a list x"
    ):
        source.read(0)


def test_a_file_of_keypoints_with_outlines_is_read_where_there_is_no_other(coco, tmp_path):
    coco([annotation(5, [polygon((2, 5), (3, 9))], keypoints=[1, 2, 2])])
    (tmp_path / "coco.json").rename(tmp_path / "person_keypoints.json")
    assert recognise(tmp_path) == "coco"


def test_of_an_image_with_a_part_no_more_is_read(coco):
    # columns 3 to 8 of rows 2 to 6 are read: 5 x 6 pixels
    images = [entry(1, "a.png", part=[3, 2, 6, 5]), entry(2, "b.png", part=[0, 0, 0, 0])]
    inside, half, less = block((2, 4), (3, 5)), block((0, 4), (7, 9)), block((5, 8), (7, 12))
    annotations = [
        annotation(number, mask_to_rle(mask)) for number, mask in enumerate((inside, half, less), 1)
    ]
    source = coco(annotations, images=images)
    assert [record.path.name for record in source.records] == ["a.png"]
    assert any("1 image of which no part is used" in note for note in source.notes)
    assert source.is_part
    assert source.hw(0) == (5, 6)
    sample = source.read(0)
    whole = coco(annotations).read(0)
    assert np.array_equal(sample.image, whole.image[2:7, 3:9])
    assert np.array_equal(source.stored(0), sample.image)
    # the third lies in it by 4 of 15 pixels; the second by 4 of 8
    assert set(np.unique(sample.labels)) == {0, 1, 2}
    assert np.array_equal((sample.labels == 1).any(0), inside[2:7, 3:9])
    assert np.array_equal((sample.labels == 2).any(0), half[2:7, 3:9])


def test_a_part_that_reaches_out_of_its_image_is_refused(coco):
    source = coco([], images=[entry(1, "a.png", part=[3, 2, 10**12, 5])])
    for use in (source.read, source.hw, source.stored):
        with pytest.raises(UserError, match="reaches out of"):
            use(0)


def test_a_part_in_numbers_with_a_point_is_one(coco):
    source = coco([], images=[entry(1, "a.png", part=[3.0, 2.0, 6.0, 5.0])])
    assert source.read(0).image.shape[:2] == (5, 6)


@pytest.mark.parametrize("part", ["left", [1, 2, 3], [0.5, 0, 3, 3], None])
def test_what_other_tools_call_a_part_is_none(coco, part):
    source = coco([], images=[entry(1, "a.png", part=part)])
    assert source.read(0).image.shape[:2] == HW
