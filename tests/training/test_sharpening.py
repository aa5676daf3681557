"""Learning to sharpen: soft answers beside their truth in, masks with the edges of the pixels out."""

import numpy as np
import pytest
import torch

from samtune.models.sharpening.applying import sharpened
from samtune.models.sharpening.crops import crop_around, extent, inputs_of
from samtune.models.sharpening.network import Sharpener
from samtune.training.sharpening import (
    _optimizer,
    answered,
    get_used_to,
    over_steps,
    over_time,
    train_sharpener,
)
from samtune.types import Prompt, Window

WHOLE = Window(0, 0, 120, 120)


def picture(seed, background=40):
    """A bright square with the logits of a network that sees it as a soft blob, too large."""
    rng = np.random.default_rng(seed)
    x, y, width, height = rng.integers([30, 30, 20, 20], [50, 50, 40, 40])
    mask = np.zeros((120, 120), bool)
    mask[y : y + height, x : x + width] = True
    image = rng.normal(background, 8, (120, 120, 3))
    image[mask] += 90
    rows, columns = np.mgrid[:120, :120]
    far = np.hypot((columns - x - width / 2) / width, (rows - y - height / 2) / height)
    logits = (8 * (0.72 - far)).astype(np.float32)
    box = Prompt(box_xyxy=np.float32([x, y, x + width - 1, y + height - 1]))
    return image.clip(0, 255).astype(np.uint8), logits, mask, box


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


@pytest.fixture(scope="module")
def learned():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    sharpener = Sharpener()
    own = [answered(sharpener, image, WHOLE, logits, box, mask)
           for image, logits, mask, box in map(picture, range(12))]  # fmt: skip
    steps = train_sharpener(sharpener, own, [], 0, over_steps(60))
    get_used_to(sharpener, own, own[:4], 0)
    assert steps == 60
    return sharpener


def test_masks_of_other_images_get_the_edges_of_their_pixels(learned):
    gains = []
    for seed in range(100, 110):
        image, logits, mask, box = picture(seed)
        (found,) = sharpened(learned, image, WHOLE, torch.from_numpy(logits)[None], [box])
        gains.append(iou(found.numpy() > 0, mask) - iou(logits > 0, mask))
    assert np.mean(gains) > 0.05
    assert min(gains) > 0


def test_it_is_left_as_it_was_learned(learned):
    assert not learned.training
    assert not any(p.requires_grad for p in learned.parameters())
    assert float(learned.limit) > 0


def test_images_of_another_kind_keep_their_masks(learned):
    image, logits, _, box = picture(3)
    stripes = np.where(np.arange(120)[:, None, None] % 6 < 3, image, 255 - image).astype(np.uint8)
    before = torch.from_numpy(logits)[None]
    assert torch.equal(sharpened(learned, stripes, WHOLE, before, [box]), before)


def test_general_pictures_keep_the_masks_that_they_are_given():
    torch.manual_seed(0)
    sharpener = Sharpener()
    own = [answered(sharpener, image, WHOLE, logits, box, mask)
           for image, logits, mask, box in map(picture, range(8))]  # fmt: skip
    dark = [picture(seed, background=150) for seed in range(8)]
    general = [
        answered(sharpener, image, WHOLE, logits, box, logits > 0) for image, logits, _, box in dark
    ]
    train_sharpener(sharpener, own, general, 0, over_steps(60))
    image, logits, _, box = picture(50, background=150)
    (found,) = sharpened(sharpener, image, WHOLE, torch.from_numpy(logits)[None], [box])
    assert iou(found.numpy() > 0, logits > 0) > 0.85


def test_an_answer_keeps_its_place_in_a_window():
    image, logits, mask, box = picture(0)
    sharpener = Sharpener()
    window = Window(10, 15, 100, 95)
    whole = answered(sharpener, image, WHOLE, logits, box, mask)
    part = answered(sharpener, image, window, logits[window.slices], box, mask)
    np.testing.assert_array_equal(part.image, whole.image)
    np.testing.assert_array_equal(part.target, whole.target)
    np.testing.assert_allclose(part.edges, whole.edges)
    assert whole.edges[2] - whole.edges[0] == pytest.approx(64, abs=22)
    click = Prompt(box.box_xyxy[:2][None], np.int64([1]))
    nothing = np.full((120, 120), -3, np.float32)
    assert answered(sharpener, image, WHOLE, nothing, click, mask) is None


@pytest.mark.parametrize("side", [9, 20, 90])
def test_a_box_is_seen_in_training_as_it_is_in_use(side):
    sharpener, image = Sharpener(), picture(0)[0]
    box = Prompt(box_xyxy=np.float32([15, 20, 14 + side, 19 + side]))
    logits = np.zeros((120, 120), np.float32)
    seen = answered(sharpener, image, WHOLE, logits, box, logits > 0)
    settings = sharpener.settings
    again = crop_around(seen.edges, settings.ratio, settings.cells)
    trained = inputs_of(
        again, again.cut(seen.image), again.cut(seen.logits * np.float32(1)), seen.prompt
    )
    crop = crop_around(extent(box, logits > 0, (0, 0)), settings.ratio, settings.cells)
    used = inputs_of(crop, crop.cut(image), crop.cut(logits), box)
    np.testing.assert_array_equal(trained[3], used[3])


def test_the_same_seed_learns_the_same():
    states = []
    for _ in range(2):
        torch.manual_seed(1)
        sharpener = Sharpener()
        image, logits, mask, box = picture(0)
        own = [answered(sharpener, image, WHOLE, logits, box, mask)]
        train_sharpener(sharpener, own, own, 3, over_steps(3))
        states.append(sharpener.state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_time_ends_it_or_steps_do():
    assert over_steps(10)(5) == 0.5
    assert over_time(1e-6, 1000)(0) >= 1
    assert over_time(1e6, 10)(10) == 1


def test_kernels_learn_by_muon_and_all_else_by_adamw():
    sharpener = Sharpener()
    with_muon, without = sorted(
        _optimizer(sharpener).param_groups, key=lambda group: not group["with_muon"]
    )
    kernels = {id(p) for p in with_muon["params"]}
    assert {p.ndim for p in with_muon["params"]} == {4}
    assert id(sharpener.last.weight) not in kernels
    assert len(with_muon["params"]) + len(without["params"]) == len([*sharpener.parameters()])
    assert with_muon["peak"] > without["peak"]
