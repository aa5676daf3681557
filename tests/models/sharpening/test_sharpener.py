"""The sharpener: what it writes into a mask, what it leaves alone, and how it is kept."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from samtune.errors import UserError
from samtune.models.loading import load_model
from samtune.models.sharpening.applying import sharpened
from samtune.models.sharpening.network import Sharpener, SharpenerSettings
from samtune.models.sharpening.saving import (
    SHARPENER_FOLDER,
    read_sharpener,
    remove_sharpener,
    sharpener_sha256,
    shipped_sharpener,
    write_sharpener,
)
from samtune.models.weights import ASSETS
from samtune.types import Prompt, Window

BOX = Prompt(box_xyxy=np.float32([60, 50, 79, 69]))
WINDOW = Window(20, 30, 100, 120)


@pytest.fixture
def sharpener():
    torch.manual_seed(0)
    return Sharpener().eval()


@pytest.fixture
def sure(sharpener):
    """One that takes all of its crop."""
    torch.nn.init.zeros_(sharpener.last.weight)
    torch.nn.init.constant_(sharpener.last.bias, 9.0)
    return sharpener


def image():
    return np.random.default_rng(0).integers(0, 256, (200, 220, 3)).astype(np.uint8)


def logits(count=1):
    return torch.full((count, *WINDOW.hw), -5.0)


def test_it_answers_in_the_crop_of_the_object_and_nowhere_else(sure):
    before = logits()
    (found,) = sharpened(sure, image(), WINDOW, before, [BOX])
    crop = np.full(WINDOW.hw, -5.0, np.float32)
    crop[60 - 15 - 20 : 60 + 15 - 20, 70 - 15 - 30 : 70 + 15 - 30] = 9  # 30 pixels about its middle
    np.testing.assert_allclose(found.numpy(), crop, atol=1e-5)
    assert (before == -5).all()


def test_where_nothing_was_found_there_is_nothing_to_sharpen(sure):
    click = Prompt(np.float32([[70, 60]]), np.int64([1]))
    before = logits(2)
    before[1, 30:50, 30:50] = 3
    found = sharpened(sure, image(), WINDOW, before, [click, click])
    assert torch.equal(found[0], before[0])
    assert (found[1, 26:54, 26:54] == 9).all()
    assert torch.equal(sharpened(sure, image(), WINDOW, before[:1], [click]), before[:1])


def test_an_amount_lies_between_both(sure):
    sure.settings = SharpenerSettings(amount=0.5)
    (found,) = sharpened(sure, image(), WINDOW, logits(), [BOX])
    assert found[40, 40] == pytest.approx(2)
    sure.settings = SharpenerSettings(amount=0.0)
    assert torch.equal(sharpened(sure, image(), WINDOW, logits(), [BOX]), logits())


def test_objects_are_sharpened_each_by_itself(sharpener):
    prompts = [BOX, Prompt(box_xyxy=np.float32([90, 80, 130, 100]))]
    together = sharpened(sharpener, image(), WINDOW, logits(2), prompts)
    apart = [sharpened(sharpener, image(), WINDOW, logits(), [each])[0] for each in prompts]
    torch.testing.assert_close(together, torch.stack(apart), atol=1e-4, rtol=1e-4)


def test_crops_unlike_those_of_training_are_left_as_they_were(sure):
    known = torch.randn(400, len(sure.mean))
    sure.get_used_to(known)
    assert float(sure.distance(known).mean()) == pytest.approx(1, abs=0.1)
    sure.limit.fill_(2.0)
    features = torch.stack([known[0], known[0] + 1.2, known[0] + 30])
    shares = sure.share(torch.zeros(3, 6, 64, 64), features, torch.ones(3, 64, 64))
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert shares[2] == 0
    sure.mean.fill_(1e3)  # nothing looks like that
    assert torch.equal(sharpened(sure, image(), WINDOW, logits(), [BOX]), logits())


@pytest.mark.parametrize(("found", "expected"), [(60, 0.0), (75, 0.5), (90, 1.0), (100, 1.0)])
def test_what_draws_another_object_is_not_believed(sure, found, expected):
    """The answer is all of a row of 100 cells of which the mask has so many."""
    sure.settings = SharpenerSettings(agreement=0.65)
    inputs, answers = torch.zeros(1, 6, 100, 100), -torch.ones(1, 100, 100)
    inputs[:, 5] = -1
    inputs[0, 5, 0, :found], answers[0, 0] = 1, 1
    features = torch.zeros(1, len(sure.mean))
    assert float(sure.share(inputs, features, answers)) == pytest.approx(expected)
    inputs[:, 3] = 1
    assert float(sure.share(inputs, features, answers)) == pytest.approx(expected)
    inputs[0, 4, 3, 3] = -1  # a box and a click say together what is meant
    assert float(sure.share(inputs, features, answers)) == 1


def test_the_one_that_comes_with_samtune_is_nanos():
    shipped, nano = shipped_sharpener(), load_model("nano")
    assert [sharpener_sha256(each) for each in nano.sharpeners] == [sharpener_sha256(shipped)]
    assert 0 < shipped.settings.agreement < 1
    assert not float(shipped.limit)
    assert not load_model("nano_random").sharpeners
    both = sum(file.stat().st_size for file in ASSETS.glob("*.safetensors"))
    assert both < 8 * 2**20


def test_it_draws_edges_of_objects_that_it_has_never_seen():
    """A dark square of whose place SAM knows half."""
    picture = np.random.default_rng(0).integers(190, 210, (200, 220, 3)).astype(np.uint8)
    truth = np.zeros(WINDOW.hw, bool)
    truth[20:60, 30:70] = True
    picture[WINDOW.slices][truth] -= 120
    rows, columns = np.mgrid[: WINDOW.height, : WINDOW.width]
    blob = torch.from_numpy(4 - np.hypot(rows - 39.5, columns - 49.5) / 5.5).float()[None]
    box = Prompt(box_xyxy=np.float32([60, 40, 99, 79]))
    (found,) = sharpened(shipped_sharpener(), picture, WINDOW, blob, [box])
    before, after = (
        (mask & truth).sum() / (mask | truth).sum()
        for mask in (blob[0].numpy() > 0, found.numpy() > 0)
    )
    assert before < 0.85
    assert after > 0.95


def test_what_is_written_is_read_again(sharpener, tmp_path):
    sharpener.settings = SharpenerSettings(amount=0.5)
    sharpener.limit.fill_(1.5)
    write_sharpener(sharpener, tmp_path, "of these")
    again = read_sharpener(tmp_path, lambda: "of these")
    assert again.settings == sharpener.settings
    assert sharpener_sha256(again) == sharpener_sha256(sharpener)
    assert not any(p.requires_grad for p in again.parameters())
    assert not again.training
    again.settings = SharpenerSettings()
    assert sharpener_sha256(again) != sharpener_sha256(sharpener)
    remove_sharpener(tmp_path)
    assert read_sharpener(tmp_path, lambda: "of these") is None


def test_that_of_other_weights_is_refused(sharpener, tmp_path):
    write_sharpener(sharpener, tmp_path, "of these")
    with pytest.raises(UserError, match="sharpens the masks of other weights than those of"):
        read_sharpener(tmp_path, lambda: "of others")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "was written by a newer samtune"),
        ({"widths": [10**9]}, "is damaged .settings out of bounds"),
        ({"widths": []}, "is damaged"),
        ({"cells": 10**9}, "is damaged .settings out of bounds"),
        ({"cells": 50}, "is damaged .settings out of bounds"),
        ({"amount": 7}, "is damaged .settings out of bounds"),
        ({"ratio": "wide"}, "is damaged"),
        ({"widths": [32, 64]}, "is damaged"),
        ({"amount": None}, "is damaged"),
    ],
)
def test_damaged_settings_are_told(sharpener, tmp_path, change, message):
    write_sharpener(sharpener, tmp_path, "these")
    file = tmp_path / SHARPENER_FOLDER / "sharpener.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=message):
        read_sharpener(tmp_path, lambda: "these")


def test_damaged_weights_are_told(sharpener, tmp_path):
    write_sharpener(sharpener, tmp_path, "these")
    file = tmp_path / SHARPENER_FOLDER / "sharpener.safetensors"
    state = load_file(str(file))
    save_file(state | {"last.bias": torch.full_like(state["last.bias"], torch.nan)}, str(file))
    with pytest.raises(UserError, match="holds weights that are no numbers"):
        read_sharpener(tmp_path, lambda: "these")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(UserError, match="is damaged"):
        read_sharpener(tmp_path, lambda: "these")
