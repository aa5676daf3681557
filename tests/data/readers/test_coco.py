import json

import numpy as np
import pytest

from samtune.data.objects import find_objects, object_mask
from samtune.data.readers.coco import Coco
from samtune.data.source import ReadSettings
from samtune.errors import UserError
from samtune.geometry import mask_to_rle

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
    categories = [1, 7, 99]
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
    sample = coco([annotation(5, parts)], ReadSettings(with_components=True)).read(0)
    found = masks_of(sample)
    assert sample.classes == {1: "roof", 2: "roof"}
    np.testing.assert_array_equal(found[1], block((0, 2), (0, 3)))
    np.testing.assert_array_equal(found[2], block((6, 9), (8, 12)))


def test_bands_and_stretch_reach_the_image(coco):
    plain = coco([]).read(0).image
    swapped = coco([], ReadSettings(bands=(2, 1, 0))).read(0).image
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
