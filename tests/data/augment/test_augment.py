from dataclasses import replace

import numpy as np
import pytest
from albumentations import Compose, MotionBlur
from scipy import ndimage

from samtune.data.augment.effects import ObjectTint
from samtune.data.augment.presets import PRESETS, augment, build_augmentation
from samtune.errors import UserError
from samtune.types import Sample

RED, GREEN = 7, 300
NAMES = [name for name in PRESETS if name != "none"]
ALL_WAYS = ["microscopy", "fluorescence", "he", "aerial", "other_places", "satellite", "endoscopy"]
UPRIGHT = ["ct", "mr", "xray", "medical"]
presets = pytest.mark.parametrize("preset", NAMES)


def painted(red=RED, green=GREEN):
    """A dark scene, with a red and a green object that have the ids given."""
    labels = np.zeros((1, 120, 160), np.int32)
    labels[0, 20:60, 15:90] = red
    rows, columns = np.mgrid[:120, :160]
    labels[0, np.hypot(rows - 80, columns - 110) < 30] = green
    image = np.full((120, 160, 3), 20, np.uint8)
    image[labels[0] == red] = (230, 20, 20)
    image[labels[0] == green] = (20, 230, 20)
    return Sample("a", image, labels, {red: "red", green: "green"}, "group")


def three_marks(shape=(120, 160)):
    """Three discs of a grey picture that is another one after every turn and mirroring."""
    labels = np.zeros((1, *shape), np.int32)
    rows, columns = np.mgrid[: shape[0], : shape[1]] / np.reshape(shape, (2, 1, 1))
    for object_id, (y, x) in enumerate(((0.3, 0.35), (0.3, 0.7), (0.65, 0.35)), start=1):
        labels[0, np.hypot(rows - y, columns - x) < 0.12] = object_id
    noise = np.random.default_rng(0).integers(0, 30, shape)
    grey = (60 + 40 * labels[0] + noise).astype(np.uint8)
    return Sample("marks", np.repeat(grey[..., None], 3, 2), labels)


def corners(labels):
    """Of the three discs: steps (y, x) from the first to the second, and to the third."""
    centres = [np.argwhere(labels[0] == object_id).mean(0) for object_id in (1, 2, 3)]
    return centres[1] - centres[0], centres[2] - centres[0]


def colours_in(image):
    """Where the picture is red, and where it is green, by a wide margin."""
    red, green, blue = ndimage.uniform_filter(image.astype(float), (3, 3, 1)).transpose(2, 0, 1)
    return red - np.maximum(green, blue) > 70, green - np.maximum(red, blue) > 70


def iou(first, second):
    return (first & second).sum() / max(1, (first | second).sum())


def augmented(sample, name, seed):
    return augment(sample, build_augmentation(name), np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(6))
def test_where_any_hue_may_become_any_other_shapes_stay(seed):
    sample = painted()
    sample.image[:] = 120
    sample.image[sample.labels[0] == RED] = 255
    result = augmented(sample, "other_places", seed)
    grey = ndimage.median_filter(result.image.mean(-1), 5)
    is_there = result.labels[0] == RED
    beyond = ndimage.binary_dilation(is_there, iterations=3) & (result.labels[0] == 0)
    edge = np.abs(ndimage.sobel(grey, 0)) + np.abs(ndimage.sobel(grey, 1))
    outline = beyond & ndimage.binary_dilation(is_there)
    assert abs(grey[is_there].mean() - grey[beyond].mean()) > 5 or edge[outline].mean() > 5


def test_objects_get_colours_of_their_own_and_the_ground_another():
    sample = painted()
    sample.image[:] = (200, 190, 180)
    result = augment(sample, Compose([ObjectTint(p=1.0)]), np.random.default_rng(0))
    np.testing.assert_array_equal(result.labels, sample.labels)
    inner = [
        ndimage.binary_erosion(result.labels[0] == number, iterations=2)
        for number in (RED, GREEN, 0)
    ]
    colours = [np.unique(result.image[part], axis=0) for part in inner]
    assert [len(found) for found in colours] == [1, 1, 1]
    assert len({tuple(found[0]) for found in colours}) == 3


@pytest.mark.parametrize("preset", [name for name in NAMES if name not in ("he", "other_places")])
@pytest.mark.parametrize("seed", range(4))
def test_image_and_masks_move_together(preset, seed):
    result = augmented(painted(), preset, seed)
    red, green = colours_in(result.image)
    assert result.image.shape[:2] == result.labels.shape[1:]
    assert iou(red, result.labels[0] == RED) > 0.9
    assert iou(green, result.labels[0] == GREEN) > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_stained_tissue_and_masks_move_together(seed):
    sample = painted()
    sample.image[:] = (245, 245, 245)
    sample.image[sample.labels[0] == RED] = (80, 50, 130)  # nuclei
    sample.image[sample.labels[0] == GREEN] = (225, 150, 190)  # muscle
    result = augmented(sample, "he", seed)
    red, green, _ = ndimage.uniform_filter(result.image.astype(float), (3, 3, 1)).transpose(2, 0, 1)
    assert iou(red < 150, result.labels[0] == RED) > 0.9
    assert iou((red >= 150) & (green < 0.9 * red), result.labels[0] == GREEN) > 0.85


@presets
def test_a_grey_picture_stays_grey(preset):
    for seed in range(24):
        image = augmented(three_marks(), preset, seed).image
        assert (image == image[..., :1]).all()


def test_a_blur_moves_nothing():
    marks = three_marks()
    marks.image[:] = 200 * (marks.labels[0] > 0)[..., None]
    centre = ndimage.center_of_mass(marks.image[..., 0])
    (blur,) = [step for step in build_augmentation("endoscopy") if isinstance(step, MotionBlur)]
    blur.p = 1
    for seed in range(40):
        result = augment(marks, Compose([blur]), np.random.default_rng(seed))
        moved = np.subtract(ndimage.center_of_mass(result.image[..., 0]), centre)
        assert np.abs(moved).max() < 0.25


@pytest.mark.parametrize("preset", UPRIGHT)
def test_a_body_is_neither_mirrored_nor_turned_over(preset):
    for seed in range(40):
        right, down = corners(augmented(three_marks(), preset, seed).labels)
        assert right[1] > 3 * abs(right[0])
        assert down[0] > 2 * abs(down[1])


def test_ultrasound_is_mirrored_but_depth_goes_down():
    steps = [corners(augmented(three_marks(), "ultrasound", seed).labels) for seed in range(40)]
    assert {right[1] > 0 for right, _ in steps} == {True, False}
    assert all(down[0] > 2 * abs(down[1]) for _, down in steps)


@pytest.mark.parametrize("preset", ALL_WAYS)
def test_what_has_no_upright_direction_is_seen_in_all_eight(preset):
    sample, found = three_marks(), set()
    turned = [np.rot90(sample.labels, number, (1, 2)) for number in range(4)]
    ways = [*turned, *(labels[..., ::-1] for labels in turned)]
    for seed in range(120):
        labels = augmented(sample, preset, seed).labels
        found |= {n for n, way in enumerate(ways) if np.array_equal(labels, way)}
    assert found == set(range(8))


@pytest.mark.parametrize("preset", ["fluorescence", "ct", "xray", "ultrasound", "endoscopy"])
def test_what_is_black_stays_black(preset):
    sample = three_marks()
    sample.image[..., 2] = 0 if preset == "fluorescence" else 90  # of two stains
    sample.image[sample.labels[0] == 3] = 0
    for seed in range(24):
        result = augmented(sample, preset, seed)
        assert result.image[..., 2].any() == (preset != "fluorescence")
        inside = ndimage.binary_erosion(result.labels[0] == 3, iterations=5)
        assert not result.image[inside].any()


def test_two_stains_are_as_bright_as_each_has_taken_up():
    sample = three_marks()
    sample.image[..., 2] = 0
    sample.image[..., 1] //= 2
    ratios = set()
    for seed in range(12):
        red, green = augmented(sample, "fluorescence", seed).image[..., :2].mean((0, 1))
        ratios.add(round(red / green, 1))
    assert len(ratios) > 3


@pytest.mark.parametrize("preset", ["ct", "mr"])
def test_neighbouring_slices_move_and_change_alike(preset):
    sample = three_marks()
    sample.image[:] = 60
    for channel in range(3):
        sample.image[..., channel][sample.labels[0] == channel + 1] = 200
    for seed in range(12):
        result = augmented(sample, preset, seed)
        smooth = ndimage.uniform_filter(result.image.astype(float), (3, 3, 1))
        above = smooth - smooth.min(2, keepdims=True)
        for channel in range(3):
            assert iou(above[..., channel] > 25, result.labels[0] == channel + 1) > 0.85


@presets
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (5, 300)])
def test_any_size_is_augmented(preset, shape):
    labels = np.full((1, *shape), 9, np.int32)
    sample = Sample("a", np.full((*shape, 3), 120, np.uint8), labels)
    for seed in range(12):
        result = augmented(sample, preset, seed)
        assert result.image.shape == (*result.labels.shape[1:], 3)
        assert sorted(result.image.shape[:2]) == sorted(shape)
        assert set(np.unique(result.labels)) <= {0, 9}


@presets
def test_wide_pictures_lose_no_more_than_square_ones(preset):
    for shape in ((128, 128), (64, 256)):
        kept = [
            len(np.unique(augmented(three_marks(shape), preset, seed).labels)) for seed in range(24)
        ]
        assert np.mean(kept) > 3.5


@presets
def test_a_preset_changes_the_image_and_keeps_its_kind(preset):
    sample = painted()
    results = [augmented(sample, preset, seed) for seed in range(12)]
    assert any((r.image.shape, r.image.tobytes()) != (sample.image.shape, sample.image.tobytes())
               for r in results)  # fmt: skip
    for result in results:
        assert (result.image.dtype, result.labels.dtype) == (np.uint8, np.int32)
        assert result.image.flags.c_contiguous
        assert (result.image_id, result.group) == ("a", "group")
        assert result.classes == sample.classes


@presets
@pytest.mark.parametrize(("red", "green"), [(1, 2), (7, 65_536), (70_000, 2**31 - 1)])
def test_ids_are_preserved(preset, red, green):
    for seed in range(6):
        result = augmented(painted(red, green), preset, seed)
        assert np.unique(result.labels).tolist() == [0, red, green]


@presets
def test_masks_of_other_ids_move_in_the_same_way(preset):
    first = augmented(painted(1, 2), preset, 5)
    second = augmented(painted(70_000, 90_000), preset, 5)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels == 2, second.labels == 90_000)


@presets
def test_all_layers_move_together(preset):
    sample = painted()
    sample.labels = np.concatenate([sample.labels, sample.labels * 1000, sample.labels * 0])
    for seed in range(6):
        first, second, third = augmented(sample, preset, seed).labels
        np.testing.assert_array_equal(second, first * 1000)
        assert not third.any()


@presets
def test_the_same_generator_gives_the_same_result(preset):
    first, second = (augmented(painted(), preset, 3) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)


@presets
def test_a_result_does_not_depend_on_what_was_augmented_before(preset):
    pipeline = build_augmentation(preset)
    augment(painted(), pipeline, np.random.default_rng(99))
    again = augment(painted(), pipeline, np.random.default_rng(3))
    np.testing.assert_array_equal(again.image, augmented(painted(), preset, 3).image)


@presets
def test_other_generators_give_other_results(preset):
    results = {augmented(painted(), preset, seed).image.tobytes() for seed in range(24)}
    assert len(results) > 8


def test_each_transform_of_a_preset_is_drawn_on_its_own():
    sample, outcomes = painted(), set()
    for seed in range(40):
        result = augmented(sample, "light", seed)
        is_flipped = not np.array_equal(result.labels, sample.labels)
        upright = result.image[:, ::-1] if is_flipped else result.image
        outcomes.add((is_flipped, np.array_equal(upright, sample.image)))
    assert len(outcomes) == 4


@presets
def test_an_image_without_objects_stays_without(preset):
    sample = painted()
    empty = replace(sample, labels=np.zeros_like(sample.labels))
    assert not augmented(empty, preset, 1).labels.any()


@presets
def test_the_sample_itself_is_left_alone(preset):
    sample = painted()
    augmented(sample, preset, 1)
    np.testing.assert_array_equal(sample.image, painted().image)
    np.testing.assert_array_equal(sample.labels, painted().labels)


def test_a_body_keeps_its_side():
    labels = np.zeros((1, 100, 100), np.int32)
    labels[0, 40:60, 10:30] = 1
    sample = Sample("a", np.full((100, 100, 3), 90, np.uint8), labels)
    for seed in range(30):
        columns = np.nonzero(augmented(sample, "medical", seed).labels[0])[1]
        assert columns.mean() < 45


def test_none_is_no_augmentation():
    sample = painted()
    assert build_augmentation("none") is None
    assert augment(sample, None, np.random.default_rng(0)) is sample


def test_an_unknown_preset_is_named_with_the_choices():
    with pytest.raises(UserError, match="unknown augmentation 'lite': choose from none, light,"):
        build_augmentation("lite")


def save_transform(path, name, **arguments):
    import albumentations

    transform = getattr(albumentations, name)(**arguments)
    data_format = "json" if path.suffix == ".json" else "yaml"
    albumentations.save(transform, path, data_format=data_format)
    return str(path)


@pytest.mark.parametrize("name", ["mine.json", "mine.yaml", "mine.yml"])
def test_a_pipeline_of_the_users_own_is_loaded_from_its_file(tmp_path, name):
    path = save_transform(tmp_path / name, "HorizontalFlip", p=1)
    sample = painted()
    result = augmented(sample, path, 0)
    np.testing.assert_array_equal(result.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(result.labels, sample.labels[..., ::-1])


def test_a_saved_composition_is_a_pipeline_too(tmp_path):
    import albumentations

    flips = [albumentations.HorizontalFlip(p=1), albumentations.VerticalFlip(p=1)]
    path = save_transform(tmp_path / "mine.json", "Compose", transforms=flips)
    result = augmented(painted(), path, 0)
    np.testing.assert_array_equal(result.labels, painted().labels[:, ::-1, ::-1])


def test_a_pipeline_that_crops_gives_smaller_images_and_masks(tmp_path):
    path = save_transform(tmp_path / "mine.json", "RandomCrop", height=50, width=70)
    result = augmented(painted(), path, 0)
    assert result.image.shape == (50, 70, 3)
    assert result.labels.shape == (1, 50, 70)


def test_a_missing_pipeline_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no augmentation file .*mine\.json"):
        build_augmentation(str(tmp_path / "mine.json"))


@pytest.mark.parametrize(
    ("name", "content"), [("a.json", "{"), ("a.json", "{}"), ("a.yaml", "- 1"), ("a.yaml", "")]
)
def test_a_file_that_is_no_pipeline_is_named(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(
        UserError, match=rf"{name} (is no albumentations pipeline: \S|cannot be read as)"
    ):
        build_augmentation(str(tmp_path / name))
