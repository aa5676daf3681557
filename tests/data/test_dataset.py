import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from samtune.data.dataset import Failure, Item, PromptedDataset, PromptSettings
from samtune.data.objects import find_objects, object_mask
from samtune.data.readers.mask_folder import MaskFolder
from samtune.data.settings import SourceSettings
from samtune.geometry import mask_to_cells, prompt_to_input
from samtune.images.preprocess import to_pixel_values
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.types import InputFrame, ObjectKey

SETTINGS = PromptSettings(frame=InputFrame(32), mask_side=16)


def training(folder, recipe=RECIPES["mixed"], **settings):
    return PromptedDataset(
        MaskFolder(folder), replace(SETTINGS, **settings), recipe, is_training=True
    )


def validation(folder, *protocols, **settings):
    prompting = find_protocols(protocols or ["box", "point"])
    return PromptedDataset(MaskFolder(folder), replace(SETTINGS, **settings), prompting, False)


def ids(item):
    return [key.object_id for key in item.keys]


def assert_same(first, second):
    assert first.keys == second.keys
    assert torch.equal(first.pixel_values, second.pixel_values)
    assert torch.equal(first.targets, second.targets)
    assert prompts_of(first) == prompts_of(second)


def prompts_of(item):
    """Prompts in a form that can be compared."""
    return {
        key: [[None if part is None else part.tolist() for part in vars(p).values()] for p in group]
        for key, group in item.prompts.items()
    }


def test_an_item_has_the_picture_and_the_targets_of_its_objects(scenes_folder):
    item = training(scenes_folder)[2, 0]
    sample = MaskFolder(scenes_folder).read(2)
    masks = [object_mask(sample.labels, place) for place in find_objects(sample.labels)]
    assert isinstance(item, Item)
    assert item.keys == [ObjectKey("s2", number) for number in (1, 2, 3, 4, 5)]
    assert torch.equal(item.pixel_values, to_pixel_values(sample.image, InputFrame(32)))
    np.testing.assert_array_equal(
        item.targets, [mask_to_cells(mask, InputFrame(32).grid(256)) for mask in masks]
    )
    assert item.valid[:192].all()
    assert not item.valid[192:].any()


def test_targets_have_the_side_that_is_asked_for(scenes_folder):
    item = training(scenes_folder, target_side=8)[0, 0]
    assert item.targets.shape == (2, 8, 8)
    assert item.valid.shape == (8, 8)
    whole = training(scenes_folder, target_side=32)[0, 0].targets.float()
    coarse = torch.nn.functional.avg_pool2d(whole, 4)
    assert (coarse - item.targets).abs().max() < 80  # of 255: the picture is not square


def test_each_object_has_one_first_prompt_in_training(scenes_folder):
    item = training(scenes_folder)[2, 0]
    assert list(item.prompts) == ["first"]
    assert len(item.prompts["first"]) == 5


def test_each_object_has_a_prompt_of_every_protocol_in_validation(scenes_folder):
    item = validation(scenes_folder, "box", "point", "points_3")[2, 0]
    assert {key: len(group) for key, group in item.prompts.items()} == {
        "box": 5,
        "point": 5,
        "points_3": 5,
    }


def test_prompts_are_in_the_input_frame_and_fit_their_objects(scenes_folder):
    item = validation(scenes_folder, "box", "point")[0, 0]
    sample = MaskFolder(scenes_folder).read(0)
    for number, place in enumerate(find_objects(sample.labels)):
        mask = object_mask(sample.labels, place)
        for protocol in find_protocols(["box", "point"]):
            drawn = protocol.draw(mask, np.random.default_rng(0), InputFrame(32).grid(16))
            expected = prompt_to_input(drawn, (48, 64), InputFrame(32))
            found = item.prompts[protocol.name][number]
            np.testing.assert_equal(vars(found), vars(expected))


def test_an_image_without_objects_is_an_item_without_objects(scenes_folder):
    item = training(scenes_folder)[1, 0]
    assert item.keys == []
    assert item.targets.shape == (0, 256, 256)
    assert item.prompts == {"first": []}
    assert item.pixel_values.shape == (3, 32, 32)


def test_the_same_seed_gives_the_same_items_whatever_came_before(scenes_folder):
    forwards, backwards = (
        training(scenes_folder, augment="medical"),
        training(scenes_folder, augment="medical"),
    )
    first = {index: forwards[index, 3] for index in range(7)}
    second = {index: backwards[index, 3] for index in reversed(range(7))}
    for index in range(7):
        assert_same(first[index], second[index])


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 1}])
def test_another_epoch_or_seed_gives_other_prompts(scenes_folder, change):
    epoch, seed = change.get("epoch", 0), change.get("seed", 0)
    first, second = training(scenes_folder)[2, 0], training(scenes_folder, seed=seed)[2, epoch]
    assert first.keys == second.keys
    assert torch.equal(first.targets, second.targets)
    pairs = zip(prompts_of(first)["first"], prompts_of(second)["first"], strict=True)
    assert all(one != other for one, other in pairs)


def test_objects_of_one_image_are_prompted_independently(scenes_folder):
    boxes = [
        p.box_xyxy for p in validation(scenes_folder, "box_jitter")[2, 0].prompts["box_jitter"]
    ]
    exact = [p.box_xyxy for p in validation(scenes_folder, "box")[2, 0].prompts["box"]]
    moves = {tuple((a - b).round(4)) for a, b in zip(boxes, exact, strict=True)}
    assert len(moves) == 5


def test_the_prompt_of_an_object_does_not_depend_on_the_other_protocols(scenes_folder):
    alone = validation(scenes_folder, "box_jitter")[2, 0]
    among = validation(scenes_folder, "point_uniform", "box_jitter", "points_mixed")[2, 0]
    assert prompts_of(alone)["box_jitter"] == prompts_of(among)["box_jitter"]


def test_the_prompt_of_an_object_does_not_depend_on_which_others_were_drawn(scenes_folder):
    every, some = training(scenes_folder)[2, 0], training(scenes_folder, max_objects=2)[2, 0]
    drawn = dict(zip(ids(every), prompts_of(every)["first"], strict=True))
    assert [drawn[number] for number in ids(some)] == prompts_of(some)["first"]


@pytest.mark.parametrize(("max_objects", "expected"), [(0, 5), (1, 1), (3, 3), (5, 5), (9, 5)])
def test_at_most_so_many_objects_are_drawn(scenes_folder, max_objects, expected):
    found = ids(training(scenes_folder, max_objects=max_objects)[2, 0])
    assert len(found) == expected
    assert found == sorted(set(found))


def test_objects_are_drawn_anew_each_epoch(scenes_folder):
    data = training(scenes_folder, max_objects=2)
    drawn = [tuple(ids(data[2, epoch])) for epoch in range(20)]
    assert len(set(drawn)) > 4
    assert {number for pair in drawn for number in pair} == {1, 2, 3, 4, 5}


def test_the_recipe_limits_the_objects_where_the_settings_do_not(scenes_folder):
    assert len(training(scenes_folder, RECIPES["medsam"])[2, 0].keys) == 1
    assert len(training(scenes_folder, RECIPES["medsam"], max_objects=4)[2, 0].keys) == 4


def test_validation_takes_all_objects_unless_it_is_told_otherwise(scenes_folder):
    assert len(validation(scenes_folder)[2, 0].keys) == 5
    assert len(validation(scenes_folder, max_objects=3)[2, 0].keys) == 3


@pytest.mark.parametrize(("min_area", "expected"), [(1, [1, 2]), (140, [1, 2]), (141, [])])
def test_small_objects_are_left_out(scenes_folder, min_area, expected):
    assert ids(training(scenes_folder, min_area=min_area)[0, 0]) == expected


def write_pair(write, folder, labels):
    write(folder / "images" / "a.png", np.zeros((*labels.shape, 3), np.uint8))
    write(folder / "labels" / "a.png", labels)


@pytest.mark.parametrize(("rows", "expected"), [(54, [1, 2]), (57, [2])])
def test_objects_that_cover_nearly_the_whole_image_are_left_out_in_training(
    tmp_path, write, rows, expected
):
    labels = np.full((60, 60), 2, np.uint8)
    labels[:rows] = 1
    write_pair(write, tmp_path, labels)
    assert RECIPES["mixed"].max_cover == 0.9
    assert ids(training(tmp_path)[0, 0]) == expected
    assert ids(training(tmp_path, RECIPES["medsam"], max_objects=9)[0, 0]) == [1, 2]
    assert ids(validation(tmp_path)[0, 0]) == [1, 2]


def test_overlapping_objects_are_both_targets(tmp_path, write):
    first, second = np.zeros((16, 16), np.uint8), np.zeros((16, 16), np.uint8)
    first[2:10, 2:10], second[5:14, 5:14] = 255, 255
    write(tmp_path / "images" / "a.png", np.zeros((16, 16, 3), np.uint8))
    write(tmp_path / "masks" / "a" / "1.png", first)
    write(tmp_path / "masks" / "a" / "2.png", second)
    item = validation(tmp_path)[0, 0]
    expected = [mask_to_cells(mask > 0, InputFrame(32).grid(256)) for mask in (first, second)]
    np.testing.assert_array_equal(item.targets, expected)


def test_keys_have_the_names_of_the_classes(tmp_path, write):
    labels = np.zeros((16, 16), np.uint8)
    labels[2:10, 2:10] = 3
    write_pair(write, tmp_path, labels)
    source = MaskFolder(tmp_path, SourceSettings(labels="semantic", class_names=((3, "roof"),)))
    data = PromptedDataset(source, SETTINGS, RECIPES["mixed"], is_training=True)
    assert data[0, 0].keys == [ObjectKey("a", 3, "roof")]


def test_training_is_augmented_and_validation_is_not(scenes_folder):
    plain = validation(scenes_folder)
    for epoch in range(4):
        assert_same(validation(scenes_folder, augment="microscopy")[0, epoch], plain[0, epoch])
    turned = [training(scenes_folder, augment="microscopy")[0, e].pixel_values for e in range(4)]
    assert not all(torch.equal(values, plain[0, 0].pixel_values) for values in turned)


def test_targets_are_augmented_with_the_picture(scenes_folder):
    data = training(scenes_folder, augment="aerial")
    for epoch in range(6):
        item = data[0, epoch]
        small = torch.nn.functional.avg_pool2d(item.targets.sum(0)[None].float(), 8)[0] > 128
        bright = item.pixel_values.mean(0)
        assert bright[small].mean() > bright[~small & (bright != 0)].mean() + 0.5


def test_a_broken_image_is_reported_where_it_shall_fail(broken_folder):
    for data in (training(broken_folder), validation(broken_folder)):
        failure = data[1, 0]
        assert isinstance(failure, Failure)
        assert "s1.png cannot be read" in failure.message
        assert "data.on_error: skip" in failure.message


def test_the_next_image_takes_the_place_of_a_broken_one_in_training(broken_folder, caplog):
    data = training(broken_folder, on_error="skip")
    with caplog.at_level(logging.WARNING, "samtune"):
        item = data[1, 0]
    assert_same(item, data[2, 0])
    assert "left out: " in caplog.text
    assert "s1.png" in caplog.text


def test_the_first_image_follows_the_last(broken_folder):
    source = MaskFolder(broken_folder)
    for record in source.records[2:]:
        record.path.write_bytes(b"")
    data = PromptedDataset(source, replace(SETTINGS, on_error="skip"), RECIPES["mixed"], True)
    assert data[1, 0].keys == data[3, 0].keys == [ObjectKey("s0", 1)]


def test_a_broken_image_is_left_out_of_the_validation(broken_folder, caplog):
    assert validation(broken_folder, on_error="skip")[1, 0] is None
    assert "s1.png" in caplog.text


def test_it_fails_where_no_image_can_be_read(broken_folder):
    for file in (broken_folder / "images").iterdir():
        file.write_bytes(b"")
    failure = training(broken_folder, on_error="skip")[0, 0]
    assert isinstance(failure, Failure)
    assert failure.message == "no image could be read"


class TestWindows:
    def data(self, folder, windows=4, **more):
        return training(folder, windows=windows, **more)

    def test_an_item_is_a_window_around_one_of_the_objects(self, scenes_folder):
        data = self.data(scenes_folder)
        assert len(data) == 4 * len(MaskFolder(scenes_folder))
        for index in range(8, 12):  # of the third image
            item = data[index, 0]
            assert item.keys[0].image_id.endswith(f"#{index % 4}")
            assert len(item.keys) == len(item.targets) >= 1
            assert all(target.max() > 127 for target in item.targets)

    def test_the_same_epoch_gives_the_same_window_and_another_one_another(self, scenes_folder):
        first, again = self.data(scenes_folder)[1, 0], self.data(scenes_folder)[1, 0]
        assert torch.equal(first.pixel_values, again.pixel_values)
        assert prompts_of(first) == prompts_of(again)
        assert not torch.equal(first.pixel_values, self.data(scenes_folder)[1, 1].pixel_values)

    def test_objects_that_are_mostly_outside_are_no_targets(self, tmp_path, write):
        labels = np.zeros((200, 200), np.uint16)
        labels[90:110, 90:110], labels[90:110, 111:200] = 1, 2
        write(tmp_path / "images" / "a.png", np.zeros((200, 200, 3), np.uint8))
        write(tmp_path / "labels" / "a.png", labels)
        data = self.data(tmp_path, windows=40)
        found = {tuple(ids(data[index, 0])) for index in range(40)}
        assert (1,) in found  # windows around the small one mostly cut the long one
        assert found <= {(1,), (2,), (1, 2)}

    def test_an_image_without_objects_teaches_nothing(self, tmp_path, write):
        write(tmp_path / "images" / "a.png", np.zeros((20, 20, 3), np.uint8))
        write(tmp_path / "labels" / "a.png", np.zeros((20, 20), np.uint16))
        assert self.data(tmp_path)[2, 0].keys == []

    def test_validation_looks_as_use_does(self, tmp_path, write):
        """Each of two small objects in the window that it would have in use, and then no more."""
        labels = np.zeros((200, 200), np.uint16)
        labels[20:30, 20:30], labels[150:160, 160:170] = 1, 2
        write(tmp_path / "images" / "a.png", np.zeros((200, 200, 3), np.uint8))
        write(tmp_path / "labels" / "a.png", labels)
        data = PromptedDataset(
            MaskFolder(tmp_path), replace(SETTINGS, windows=3, mask_side=64, frame=InputFrame(256)),
            find_protocols(["box"]), False,
        )  # fmt: skip
        items = [data[index, 0] for index in range(3)]
        assert {item.keys[0].object_id for item in items[:2]} == {1, 2}
        assert items[2] is None
        for item in items[:2]:
            box = item.prompts["box"][0].box_xyxy
            assert 256 / 6 <= box[2] - box[0] <= 256 / 3.9
