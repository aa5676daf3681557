"""The window that a prompt is answered in, and what comes back of it."""

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.geometry import logits_to_original, logits_to_window
from samtune.inference.predictor import SamPredictor
from samtune.inference.views import ImageViews, ask_in_views, carried_over
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.types import InputFrame, Prompt, Window

HW = (300, 400)
PLACES = [(60, 70, 9), (90, 84, 8), (200, 330, 10), (285, 20, 9)]


@pytest.fixture(scope="module")
def sam():
    """Without what sharpens masks, so that they are those of the logits."""
    sam = load_model("nano").eval()
    sam.base_sharpeners = torch.nn.ModuleList()
    return sam


def disc(y, x, radius, hw=HW):
    rows, columns = np.mgrid[: hw[0], : hw[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


@pytest.fixture(scope="module")
def picture():
    image = np.random.default_rng(0).integers(20, 50, (*HW, 3)).astype(np.uint8)
    for place in PLACES:
        image[disc(*place)] += 140
    return image


def box_of(y, x, radius):
    return Prompt(box_xyxy=np.float32([x - radius, y - radius, x + radius, y + radius]))


def point_of(y, x):
    return Prompt(np.float32([[x, y]]), np.int64([1]))


def answers(sam, views, prompts, **how):
    """(mask, score, window) of each prompt."""
    found = {}
    for viewed in ask_in_views(sam, views, prompts, **how):
        masks = viewed.masks(sam)
        for index, mask, score in zip(
            viewed.answer.indices, masks, viewed.answer.scores, strict=True
        ):
            assert index not in found
            found[index] = mask, float(score), viewed.window
    assert sorted(found) == list(range(len(prompts)))
    return [found[index] for index in range(len(prompts))]


@pytest.mark.parametrize("most", [1, 4, 16])
@pytest.mark.parametrize("with_all", [False, True])
def test_logits_are_the_same_however_few_are_enlarged_at_once(
    sam, picture, monkeypatch, most, with_all
):
    monkeypatch.setattr("samtune.inference.views._MASKS", most)
    views = ImageViews(picture, sam, with_focus=False)
    (viewed,) = ask_in_views(sam, views, [box_of(*place) for place in PLACES])
    found = torch.cat(list(viewed.full_logits(sam, with_all)))
    answer = viewed.answer
    low_res = answer.candidates.low_res_logits if with_all else answer.logits[:, None]
    assert found.shape == (4, 3 if with_all else 1, *HW)
    assert torch.equal(found, logits_to_original(low_res, HW, sam.frame))
    chosen = found[torch.arange(4), answer.best] if with_all else found[:, 0]
    np.testing.assert_array_equal(np.stack(list(viewed.parts(sam))), (chosen > 0).numpy())


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def test_small_objects_are_drawn_better_in_a_window_around_them(sam, picture):
    prompts = [box_of(*place) for place in PLACES]
    truths = [disc(*place) for place in PLACES]
    near = answers(sam, ImageViews(picture, sam), prompts)
    far = answers(sam, ImageViews(picture, sam, with_focus=False), prompts)
    assert all(window == Window(0, 0, *HW) for _, _, window in far)
    gains = [iou(a[0], t) - iou(b[0], t) for a, b, t in zip(near, far, truths, strict=True)]
    assert np.mean(gains) > 0.1
    assert min(gains) > 0


def test_an_answer_is_that_of_the_window_as_an_image_of_its_own(sam, picture):
    """In the frame of the image, to the pixel; nothing is found outside of the window."""
    prompt = box_of(*PLACES[2])
    ((mask, score, window),) = answers(sam, ImageViews(picture, sam), [prompt])
    assert window.hw != HW
    predictor = SamPredictor(sam)
    predictor.set_image(np.ascontiguousarray(picture[window.slices]))
    corner = np.array([window.x, window.y] * 2)
    masks, scores, _ = predictor.predict(box=prompt.box_xyxy - corner)
    expected = np.zeros(HW, bool)
    expected[window.slices] = masks[scores.argmax()]
    np.testing.assert_array_equal(mask, expected)
    assert score == pytest.approx(scores.max(), abs=1e-5)


def test_what_else_is_asked_changes_nothing(sam, picture):
    prompts = [box_of(*place) for place in PLACES] + [point_of(*place[:2]) for place in PLACES]
    together = answers(sam, ImageViews(picture, sam), prompts)
    for prompt, (mask, score, window) in zip(prompts, together, strict=True):
        ((alone, its_score, its_window),) = answers(sam, ImageViews(picture, sam), [prompt])
        assert window == its_window
        np.testing.assert_array_equal(mask, alone)
        assert score == pytest.approx(its_score, abs=1e-5)


def test_neighbours_share_a_window_which_is_encoded_once(sam, picture, monkeypatch):
    seen, encode = [], Sam.encode
    monkeypatch.setattr(Sam, "encode", lambda self, x: seen.append(len(x)) or encode(self, x))
    views = ImageViews(picture, sam)
    found = answers(sam, views, [box_of(60, 70, 9), box_of(62, 75, 9)])
    assert found[0][2] == found[1][2]
    answers(sam, views, [box_of(60, 70, 9)])
    assert sum(seen) == 1


def test_a_point_is_looked_at_twice_where_its_object_is_small(sam, picture):
    ((mask, _, window),) = answers(sam, ImageViews(picture, sam, tile=200), [point_of(200, 330)])
    assert max(window.hw) <= 100
    assert iou(mask, disc(200, 330, 10)) > 0.7
    ((_, _, off),) = answers(
        sam, ImageViews(picture, sam, tile=200, with_focus=False), [point_of(200, 330)]
    )
    assert off.hw == (200, 200)


def test_an_object_that_its_window_cuts_is_looked_at_in_a_wider_one(sam):
    image = np.full((256, 256, 3), 30, np.uint8)
    image[disc(128, 128, 80, (256, 256))] = 200
    ((mask, _, window),) = answers(sam, ImageViews(image, sam, tile=64), [point_of(128, 128)])
    assert window == Window(0, 0, 256, 256)
    assert iou(mask, disc(128, 128, 80, (256, 256))) > 0.8


def test_large_objects_are_answered_in_the_whole_image(sam, picture):
    box = Prompt(box_xyxy=np.float32([50, 40, 250, 260]))
    assert ImageViews(picture, sam).first(box) == Window(0, 0, *HW)


def test_a_mask_prompt_is_of_the_whole_image(sam, picture):
    prompt = box_of(*PLACES[0])
    prompt.mask_input = np.zeros((64, 64), np.float32)
    assert ImageViews(picture, sam).first(prompt) == Window(0, 0, *HW)


def test_a_click_outside_its_window_takes_the_answer_into_a_wider_one(sam, picture):
    views = ImageViews(picture, sam)
    seen = views.first(box_of(*PLACES[0]))
    clicked = box_of(*PLACES[0]).with_point((150, 100), 0)
    clicked.mask_input = np.full((64, 64), -8, np.float32)
    clicked.mask_input[24:40, 24:40] = 8
    moved, window = carried_over(views, clicked, seen)
    assert window.holds(np.float32([150, 100, 150, 100]))
    assert window.holds(clicked.box_xyxy)
    assert moved.mask_input.shape == (64, 64)
    before = (clicked.mask_input > 0).mean() * seen.height * seen.width
    after = (moved.mask_input > 0).mean() * max(window.hw) ** 2
    assert after == pytest.approx(before, rel=0.25)


def test_a_click_inside_stays_in_the_window(sam, picture):
    views = ImageViews(picture, sam)
    seen = views.first(box_of(*PLACES[0]))
    clicked = box_of(*PLACES[0]).with_point((72, 61), 1)
    assert carried_over(views, clicked, seen) == (clicked, seen)


@pytest.mark.parametrize("keeps_aspect", [True, False])
def test_logits_of_a_window_lie_in_another_where_they_were(keeps_aspect):
    frame = InputFrame(256, keeps_aspect)
    seen, other = Window(20, 30, 64, 96), Window(0, 0, 150, 200)
    logits = np.full((64, 64), -6, np.float32)
    logits[10:30, 20:44] = 6
    moved = logits_to_window(logits, seen, other, frame)

    def centre(values, window):
        full = logits_to_original(torch.from_numpy(values)[None, None], window.hw, frame)[0, 0]
        return np.argwhere(full.numpy() > 0).mean(0) + np.array([window.y, window.x])

    np.testing.assert_allclose(centre(moved, other), centre(logits, seen), atol=0.8)
    assert moved.min() == pytest.approx(-6, abs=0.1)


def test_features_that_are_dropped_are_made_again(sam, picture, monkeypatch):
    monkeypatch.setattr("samtune.inference.views._KEPT", 1)
    prompts = [box_of(*place) for place in PLACES]
    views = ImageViews(picture, sam)
    first = answers(sam, views, prompts)
    again = answers(sam, views, prompts)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    assert len(views._features) == 1


class TestPredictor:
    def test_without_focus_it_is_segment_anything_s(self, sam, picture):
        plain, focused = SamPredictor(sam), SamPredictor(sam, focus="auto")
        large = np.float32([50, 40, 250, 260])
        for predictor in (plain, focused):
            predictor.set_image(picture)
        for one, other in zip(plain.predict(box=large), focused.predict(box=large), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)

    def test_with_focus_it_answers_as_the_tasks_do(self, sam, picture):
        predictor = SamPredictor(sam, focus="auto")
        predictor.set_image(picture)
        for prompt in (box_of(*PLACES[0]), point_of(*PLACES[2][:2])):
            masks, scores, logits = predictor.predict(
                prompt.point_coords, prompt.point_labels, prompt.box_xyxy
            )
            ((mask, score, _),) = answers(sam, ImageViews(picture, sam), [prompt])
            assert masks.shape == (3, *HW)
            assert logits.shape == (3, 64, 64)
            np.testing.assert_array_equal(masks[scores.argmax()], mask)
            assert scores.max() == pytest.approx(score, abs=1e-5)

    def test_its_logits_are_a_mask_prompt_of_the_image(self, sam, picture):
        predictor = SamPredictor(sam, focus="auto")
        predictor.set_image(picture)
        prompt, truth = box_of(*PLACES[2]), disc(*PLACES[2])
        masks, scores, logits = predictor.predict(box=prompt.box_xyxy)
        best = scores.argmax()
        again, _, _ = predictor.predict(
            np.float32([[330, 200]]), np.int64([1]), prompt.box_xyxy, logits[best][None],
            multimask_output=False,
        )  # fmt: skip
        assert iou(again[0], truth) > iou(masks[best], truth) - 0.1

    def test_another_focus_is_refused(self, sam):
        with pytest.raises(UserError, match="'auto' or 'off'"):
            SamPredictor(sam, focus="on")
