"""What is said of splits, from what was noted of their images."""

import numpy as np
import pytest

from samtune.data.checks.findings import SplitFacts, facts_of, findings_of_splits
from samtune.data.checks.look import Seen, Stored, are_numbered


def seen(areas=(50, 60), **more):
    stored = Stored(3, "uint8", 0.0, 255.0, True)
    values = {
        "split": "train", "image_id": "a", "group": "", "digest": "d", "fingerprint": None,
        "thumbnail": np.zeros((2, 2), np.float32), "details": np.zeros(2, np.float16),
        "hw": (40, 50), "areas": list(areas), "sides": [int(area**0.5) for area in areas],
        "fills": [0.8] * len(areas),
        "num_left_out": 0, "num_touching": 0, "classes": [],
        "brightness": 90.0, "is_flat": False, "alignment": None, "stored": stored,
    }  # fmt: skip
    return Seen(**{**values, **more})


def told(facts, stretch="none"):
    return [text for _, text in findings_of_splits(facts, stretch)]


GOOD = facts_of([seen()] * 10, 10, 256)


def test_facts_are_sums_over_the_images_that_were_looked_at():
    facts = facts_of(
        [seen(classes=["cell"]), seen((), hw=(20, 20)), seen((7,), num_left_out=2)],
        num_images=9,
        input_side=256,
    )
    assert (facts.num_images, facts.num_looked_at) == (9, 3)
    assert (facts.num_objects, facts.num_without_objects, facts.num_left_out) == (3, 1, 2)
    assert facts.sizes == {"40x50": 2, "20x20": 1}
    assert facts.classes == {"cell": 1}
    assert facts.values == {"3 x uint8, 0 to 255": 3}
    assert facts.area_quantiles == [7, 28.5, 50, 55, 60]
    assert facts.objects_per_image == [0, 0.5, 1, 1.5, 2]


def test_of_good_data_there_is_nothing_to_say():
    assert told({"train": GOOD, "val": GOOD, "test": GOOD}) == []


@pytest.mark.parametrize(
    ("split", "level"), [("train", "error"), ("val", "error"), ("test", "warning")]
)
def test_a_split_without_images_is_said(split, level):
    facts = {"train": GOOD, "val": GOOD, "test": GOOD} | {split: SplitFacts()}
    ((its_level, text),) = findings_of_splits(facts, "none")
    assert its_level == level
    assert text.startswith(f"{split} has no images: ")


@pytest.mark.parametrize(
    ("images", "text"),
    [
        ([seen(())] * 4, "train has no objects: its masks are empty"),
        ([seen((), num_left_out=3)], "train has no objects: all 3 have fewer pixels than"),
        ([seen(), seen(()), seen(())], "2 of 3 images of train without an object"),
        ([seen(num_left_out=1)], "1 of 3 objects of train are smaller than data.min_area"),
        ([seen(is_interpolated=True)], "1 mask of train with grey levels along their outlines"),
        ([seen(is_flat=True)], "1 image of train of one colour"),
    ],
)
def test_what_spoils_a_training_is_said(images, text):
    facts = {"train": facts_of(images, len(images), 256), "val": GOOD, "test": GOOD}
    assert any(each.startswith(text) for each in told(facts))


def test_classes_that_are_not_learned_are_said():
    other = facts_of([seen(classes=["dog"])], 1, 256)
    facts = {"train": facts_of([seen(classes=["cat"])], 1, 256), "val": other, "test": other}
    assert "val has classes that train lacks: dog" in told(facts)


def test_images_of_several_kinds_are_said():
    deep = facts_of([seen(stored=Stored(1, "uint16", 0.0, 4000.0, True))], 1, 256)
    assert any("of several kinds" in each for each in told({"train": GOOD, "val": deep}))


@pytest.mark.parametrize(
    ("images", "are_objects"),
    [
        # in the order of a scan, as a function numbers the parts that it finds
        ([(["1", "2", "3", "4"], True)] * 3, True),
        ([(["1", "2"], True)] * 3, False),
        # in any order, but another number of them in each image
        ([(["2", "1", "3", "5", "4"], False), (["1", "2", "3"], False)], True),
        ([(["2", "1", "3", "5", "4"], False)] * 3, False),
        ([(["1", "2", "3", "4"], True), (["1", "3"], True)], False),
        ([(["road", "roof", "tree"], True)], False),
        ([([], False), (["1", "2", "3"], True)], True),
        ([([], False)], False),
    ],
)
def test_values_that_are_numbers_of_objects_are_seen(images, are_objects):
    found = [seen(classes=classes, is_in_order=is_in_order) for classes, is_in_order in images]
    assert are_numbered(found) == are_objects
