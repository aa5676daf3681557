"""Rows that are kept come back as they were, and only for what they were measured on."""

from dataclasses import replace

import numpy as np
import pytest

from samtune.data.source import Record
from samtune.evaluation.asking import AskedImage
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.own_prompts import OwnPrompts
from samtune.evaluation.row_store import RowStore
from samtune.evaluation.settings import EvaluationSettings
from samtune.prompts.prompt_files import PromptedImage
from samtune.prompts.protocols import find_protocols
from samtune.types import Prompt, Sample

BOX = EvaluationSettings(tuple(find_protocols(["box"])))


@pytest.fixture(scope="module")
def contestants(make_sam):
    return Contestants(make_sam(), is_tuned=False)


@pytest.fixture
def image(contestants, tmp_path):
    return asked(contestants, tmp_path)


def asked(contestants, folder, settings=BOX, **changes):
    labels = np.zeros((1, 10, 100), np.int32)
    labels[0, 2:6, 10:40] = 1
    sample = Sample("a", np.zeros((10, 100, 3), np.uint8), labels, {1: "cell"}, "slide")
    record = Record("a", folder / "a.png", columns=(("stain", "H&E"),))
    grid = contestants.sam.frame.grid(contestants.sam.mask_side)
    return AskedImage(replace(sample, **changes), record, settings, grid)


def must_not():
    raise AssertionError("measured again")


@pytest.fixture
def measured(make_row):
    """Rows with all that a row can hold."""
    first = make_row(
        "a",
        0.2,
        1 / 3,
        class_name="Zelle",
        columns=(("stain", "H&E"), ("n", "é")),
        clicks=(0.1, 0.2),
    )
    before = first.scores["base"]
    base = replace(before, measures={**before.measures, "hd95": float("inf")})
    return [replace(first, scores={**first.scores, "base": base}), make_row("a", 0.0, repeat=2)]


def test_what_is_kept_comes_back_equal(contestants, image, measured, tmp_path):
    folder = tmp_path / "kept"
    assert RowStore(folder, contestants).rows(image, "digest", lambda: measured) == measured
    assert RowStore(folder, contestants).rows(image, "digest", must_not) == measured


def test_rows_are_of_one_network_one_image_and_one_way_to_ask(
    contestants, image, measured, make_sam, tmp_path
):
    folder = tmp_path / "kept"
    store = RowStore(folder, contestants)
    store.rows(image, "digest", lambda: measured)
    path = image.record.path
    own = OwnPrompts(
        (PromptedImage(path, [Prompt(box_xyxy=np.float32([1, 2, 3, 4]))], ["x"], [1]),)
    )
    other = Contestants(make_sam(), is_tuned=False)
    next(iter(other.sam.parameters())).data.add_(1)
    asks = [
        (store, image, "other pixels"),
        (store, asked(contestants, tmp_path, classes={1: "nucleus"}), "digest"),
        (store, asked(contestants, tmp_path, group="other"), "digest"),
        (store, asked(contestants, tmp_path, replace(BOX, seed=1)), "digest"),
        (store, asked(contestants, tmp_path, replace(BOX, own=own)), "digest"),
        (RowStore(folder, contestants, 0.5), image, "digest"),
        (RowStore(folder, other), image, "digest"),
    ]
    for kept, what, digest in asks:
        assert kept.rows(what, digest, lambda: []) == []
    unlike = replace(BOX, max_images=1, num_workers=2, on_error="skip", rank=1, world=2)
    assert store.rows(asked(contestants, tmp_path, unlike), "digest", must_not) == measured


@pytest.mark.parametrize("content", [b"", b'[{"protocol": "box"', b"[1]", b"{}}", b'[{"key": 3}]'])
def test_what_a_power_cut_left_is_measured_again(contestants, image, measured, content, tmp_path):
    store = RowStore(tmp_path / "kept", contestants)
    store.rows(image, "digest", lambda: measured)
    (file,) = (tmp_path / "kept").iterdir()
    file.write_bytes(content)
    assert store.rows(image, "digest", lambda: measured[:1]) == measured[:1]
    store.remove()
    assert not (tmp_path / "kept").exists()
