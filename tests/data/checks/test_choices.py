"""Which settings `init` chooses for what was seen, and why."""

from dataclasses import replace

import numpy as np
import pytest

from samtune.data.checks.choices import (
    choose_data,
    choose_model,
    choose_scene_tile,
    model_of_nano,
)
from samtune.data.checks.grouping import Grouping
from samtune.data.checks.look import Seen, Stored
from samtune.data.checks.sizes import are_too_small, choose_tile, tell_too_small
from samtune.data.checks.survey import Survey
from samtune.data.settings import DataSettings


def seen(**more):
    values = {
        "split": "train", "image_id": "p1_a", "group": "", "digest": "d", "fingerprint": None,
        "thumbnail": np.zeros((2, 2), np.float32), "details": np.zeros(2, np.float16),
        "hw": (200, 200), "areas": [500] * 10, "fills": [0.8] * 10,
        "num_left_out": 0, "num_touching": 0, "classes": [],
        "brightness": 90.0, "is_flat": False, "alignment": None,
        "stored": Stored(3, "uint8", 0.0, 255.0, True),
    }  # fmt: skip
    values |= more
    return Seen(sides=[int(area**0.5) for area in values["areas"]], **values)


PLAIN = Survey(
    format="mask_folder", sizes={"train": 9}, seen=[seen()], modality="microscopy",
    num_components=1.0, values=12, are_numbered=False, is_interpolated=False,
    grouping=Grouping(), has_label_raster=False,
    are_bands_told=True, has_window=False, notes=(),
)  # fmt: skip


def chosen(found, given=(), answers=None):
    """Settings with their values; questions are answered as told, or by what is taken without."""

    def ask(question, choices, default):
        answer = next((a for word, a in (answers or {}).items() if word in question), default)
        assert answer in choices
        return answer

    return {each.name: each.value for each in choose_data(found, 256, set(given), ask)}


def test_plain_pictures_need_little():
    assert chosen(PLAIN) == {
        "data.format": "mask_folder", "data.labels": "instances", "data.augment": "microscopy",
    }  # fmt: skip


def test_nano_has_a_rate_and_room_of_its_own():
    found = {each.name: each.value for each in choose_model("nano", PLAIN, False)}
    assert found["model.optim.lr"] == 1e-3
    assert (found["model.lora.rank"], found["model.lora.targets"]) == (32, "all")
    assert model_of_nano() == {
        "optim": {"lr": 1e-3}, "lora": {"rank": 32, "alpha": 64, "targets": "all"},
    }  # fmt: skip
    assert "model.lora.rank" not in {each.name for each in choose_model("vit_b", PLAIN, True)}


def test_what_is_given_is_not_chosen():
    assert "data.labels" not in chosen(PLAIN, given=["data.labels"])


def test_one_value_in_several_parts_is_one_class_whose_parts_are_objects():
    one = replace(PLAIN, values=1, num_components=8.0)
    found = chosen(one)
    assert (found["data.labels"], found["data.with_components"]) == ("binary", True)
    assert "data.with_components" not in chosen(one, answers={"separate parts": "no"})


def test_grey_levels_along_outlines_are_no_objects():
    assert chosen(replace(PLAIN, is_interpolated=True))["data.labels"] == "binary"


def test_named_classes_are_classes():
    found = replace(PLAIN, seen=[seen(classes=["road"])])
    assert chosen(found)["data.labels"] == "semantic"


@pytest.mark.parametrize(
    ("more", "stretch"),
    [({"brightness": 10.0}, "auto"), ({"stored": Stored(1, "uint16", 0, 4000, True)}, "auto")],
)
def test_dark_and_deep_images_are_stretched(more, stretch):
    assert chosen(replace(PLAIN, seen=[seen(**more)]))["data.stretch"] == stretch


def test_the_tile_is_such_that_an_object_covers_several_tokens():
    """Of objects 20 pixels across, three tokens of sixteen in a tile of 112 pixels."""
    small = replace(PLAIN, seen=[seen(hw=(1000, 1000), areas=[300] * 9 + [90_000])])
    assert chosen(small)["data.tile"] == 112
    assert 2.5 < 19.5 / 112 * 16 < 3.5
    large = replace(PLAIN, seen=[seen(hw=(1000, 1000), areas=[40_000] * 9)])
    assert "data.tile" not in chosen(large)


def test_tiles_are_finer_where_too_many_objects_would_be_too_small():
    """A quarter of the objects is 3 pixels wide: what init writes is what check would ask for."""
    images = [seen(hw=(1000, 1000), areas=[900] * 9 + [9] * 3)]
    assert are_too_small(images, 256, 176)  # in which typical objects cover three tokens
    tile = chosen(replace(PLAIN, seen=images))["data.tile"]
    assert tile == 96
    assert not are_too_small(images, 256, tile)
    assert list(tell_too_small("train", images, 256, tile)) == []
    (told,) = tell_too_small("train", images, 256, 0)
    assert told.startswith("12 of 12 objects of train are narrower than 8 pixels")
    assert told.endswith("set data.tile 96")


def test_no_tile_is_finer_than_typical_objects_fit_in():
    images = [seen(hw=(1000, 1000), areas=[10_000] * 9 + [9] * 3)]
    assert choose_tile(images, 256) == 0
    (told,) = tell_too_small("train", images, 256, 0)
    assert told.endswith("set a larger image_size")


def test_windows_of_a_scene_are_finer_where_objects_are_too_small():
    found = replace(
        PLAIN,
        format="geo",
        sizes={"train": 20, "val": 3, "test": 3},
        seen=[seen(hw=(1024, 1024), areas=[900] * 9)],
    )
    assert choose_scene_tile(found, 1024) == 1024
    assert (
        choose_scene_tile(replace(found, seen=[seen(hw=(1024, 1024), areas=[36] * 9)]), 1024) == 144
    )


def test_very_small_objects_have_a_tile_that_is_above_its_overlap():
    tiny = chosen(replace(PLAIN, seen=[seen(hw=(1000, 1000), areas=[20] * 9)]))
    assert tiny["data.tile"] == 64
    assert DataSettings(tile=tiny["data.tile"]).overlap == 16


def test_what_belongs_together_stays_together():
    grouped = replace(PLAIN, grouping=Grouping("patient", 5))
    assert chosen(grouped)["data.group_column"] == "patient"
    by_name = replace(PLAIN, grouping=Grouping(regex="(p.)_"))
    assert chosen(by_name)["data.group_regex"] == "(p.)_"
    assert "data.group_regex" not in chosen(by_name, answers={"belong together": "no"})


def test_of_many_bands_the_user_says_which_are_shown():
    bands = replace(PLAIN, seen=[seen(stored=Stored(5, "uint8", 0, 255, True))])
    assert chosen(bands, answers={"bands": "2,1,0"})["data.bands"] == [2, 1, 0]


def test_pictures_of_no_known_kind_are_asked_for():
    unknown = replace(PLAIN, modality="")
    assert chosen(unknown)["data.augment"] == "light"
    assert chosen(unknown, answers={"What are the images": "he"})["data.augment"] == "he"


@pytest.mark.parametrize(
    ("fills", "loss"), [([0.1, 0.2, 0.25], "balanced_bce"), ([0.2, 0.8, 0.7], None)]
)
def test_lines_get_a_loss_in_which_they_weigh_as_much_as_what_is_around(fills, loss):
    found = choose_model("nano", replace(PLAIN, seen=[seen(fills=fills)]), has_gpu=False)
    values = {each.name: each.value for each in found}
    assert values.get("model.loss.pixel_loss") == loss
    assert values.get("model.loss.general") == (4 if loss else None)


def test_bands_are_asked_for_only_where_the_files_do_not_tell_them():
    asked = replace(PLAIN, format="geo", are_bands_told=False)
    assert chosen(asked, answers={"colours": "bgr"})["data.bands"] == [2, 1, 0]
    assert "data.bands" not in chosen(replace(asked, are_bands_told=True))


def test_numbers_of_objects_under_masks_are_asked_for_and_taken_as_objects():
    numbered = replace(PLAIN, seen=[seen(classes=["1", "2", "3"])], are_numbered=True)
    assert chosen(numbered)["data.labels"] == "instances"
    assert chosen(numbered, answers={"an object, or a class": "class"})["data.labels"] == "semantic"
