"""What a user gets for prompts: as many candidates as in training, the best, its score, no NaN."""

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.images.preprocess import to_pixel_values
from samtune.inference.ask import ask
from samtune.models.backend import Sam
from samtune.models.calibration import Calibration
from samtune.types import MaskPrediction, Prompt

HALVED = Calibration((0.0, 1.0), (0.0, 0.5), "isotonic", 300)
HW = (150, 200)


def points(*xy):
    return Prompt(np.array(xy, np.float32), np.ones(len(xy), np.int64))


def box(*corners):
    return Prompt(box_xyxy=np.array(corners, np.float32))


# signatures come in turns; input frame
PROMPTS = [
    box(20, 30, 90, 100),
    points((60, 70)),
    points((60, 70), (70, 75)),
    box(110, 30, 140, 60),
    Prompt(np.array([[60, 70]], np.float32), np.array([1]), np.array([20, 30, 90, 99], np.float32)),
    points((150, 40)),
    Prompt(mask_input=np.linspace(-4, 4, 64 * 64, dtype=np.float32).reshape(64, 64)),
    box(5, 5, 250, 180),
    points((200, 120)),
]
IS_SINGLE = [True, True, False, True, False, True, True, True, True]


@pytest.fixture(scope="module")
def sam(nano):
    """No test may change it but by `monkeypatch`."""
    return nano.sam


@pytest.fixture(scope="module")
@torch.no_grad()
def features(sam, image):
    return sam.encode(to_pixel_values(image, sam.frame)[None])


@pytest.fixture
def answer_with(monkeypatch):
    """A function that lets a network answer K prompts of M candidates with these numbers."""

    def let(scores, logits=0.0, objects=None):
        scores = torch.tensor(scores)

        def decode(*_):
            return MaskPrediction(torch.full((*scores.shape, 64, 64), logits), scores, objects)

        monkeypatch.setattr(Sam, "decode", decode)

    return let


@pytest.mark.parametrize("trained_with", [False, True])
@pytest.mark.parametrize("given", [None, False, True])
def test_there_are_three_candidates_for_single_prompts_if_the_model_was_trained_so(
    sam, features, monkeypatch, trained_with, given
):
    monkeypatch.setattr(sam, "with_multimask", trained_with)
    is_three = trained_with if given is None else given
    for answer in ask(sam, features, PROMPTS, with_multimask=given):
        expected = {3 if is_three and IS_SINGLE[index] else 1 for index in answer.indices}
        assert {answer.candidates.iou_scores.shape[1]} == expected


@pytest.mark.parametrize("is_single", [False, True])
def test_all_prompts_may_be_taken_for_single_ones_or_none(sam, features, monkeypatch, is_single):
    answers = list(ask(sam, features, PROMPTS, is_single=is_single))
    assert {a.candidates.iou_scores.shape[1] for a in answers} == {3 if is_single else 1}
    # a model trained for one mask is never asked for three
    monkeypatch.setattr(sam, "with_multimask", False)
    answers = list(ask(sam, features, PROMPTS, is_single=is_single))
    assert {a.candidates.iou_scores.shape[1] for a in answers} == {1}


def test_the_best_is_that_of_the_highest_predicted_iou(sam, features, answer_with):
    places = set()
    for answer in ask(sam, features, PROMPTS):
        found = answer.candidates
        assert torch.equal(answer.best, found.iou_scores.argmax(1))
        assert torch.equal(answer.scores, found.iou_scores.max(1).values)
        for logits, each, best in zip(
            answer.logits, found.low_res_logits, answer.best, strict=True
        ):
            assert torch.equal(logits, each[best])
        places |= set(answer.best.tolist())
    assert len(places) > 1  # else the first candidate would do
    answer_with([[0.1, 0.3, 0.2], [0.9, 0.4, 0.2]])
    (answer,) = ask(sam, features, [PROMPTS[0], PROMPTS[3]])
    assert answer.best.tolist() == [1, 0]
    assert answer.scores.tolist() == pytest.approx([0.3, 0.9])


def test_scores_are_calibrated_unless_raw_ones_are_wanted(sam, features, answer_with, monkeypatch):
    monkeypatch.setattr(sam, "calibration", HALVED)
    answer_with([[0.1, 0.6, 0.4]])
    (answer,) = ask(sam, features, PROMPTS[:1])
    assert (answer.best.tolist(), answer.scores.tolist()) == ([1], pytest.approx([0.3]))
    assert answer.candidates.iou_scores.tolist() == [pytest.approx([0.1, 0.6, 0.4])]
    (raw,) = ask(sam, features, PROMPTS[:1], is_calibrated=False)
    assert raw.scores.tolist() == pytest.approx([0.6])
    # where the map is flat, the best is still that of the highest raw score
    monkeypatch.setattr(sam, "calibration", Calibration((0.0, 1.0), (0.5, 0.5), "isotonic", 300))
    (answer,) = ask(sam, features, PROMPTS[:1])
    assert (answer.best.tolist(), answer.scores.tolist()) == ([1], [0.5])


@pytest.mark.parametrize(
    ("scores", "logits"),
    [([[np.nan, 0.5, 0.5]], 0.0), ([[0.5, 0.5, np.inf]], 0.0), ([[0.5, 0.5, 0.5]], np.nan)],
)
def test_nan_is_refused(sam, features, answer_with, scores, logits):
    answer_with(scores, logits)
    with pytest.raises(UserError, match="answers with NaN: its training has diverged"):
        list(ask(sam, features, PROMPTS[:1]))


def ask_all(sam, features, prompts):
    """Scores, logits and object scores by prompt; each is answered once."""
    found = {}
    for answer in ask(sam, features, prompts):
        assert found.keys().isdisjoint(answer.indices)
        assert len({prompts[index].signature for index in answer.indices}) == 1
        for index, score, logits, there in zip(
            answer.indices, answer.scores, answer.logits, answer.has_object, strict=True
        ):
            found[index] = score, logits, there
    assert sorted(found) == list(range(len(prompts)))
    return [found[index] for index in range(len(prompts))]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert one[0] == pytest.approx(float(other[0]), abs=1e-5)
        assert (one[1] - other[1]).abs().max() < 1e-5
        assert one[2] == other[2]


def test_mixed_prompts_are_answered_as_each_alone(sam, features):
    together = ask_all(sam, features, PROMPTS)
    assert_same(together, [ask_all(sam, features, [prompt])[0] for prompt in PROMPTS])
    assert ask_all(sam, features, []) == []


def test_batches_change_nothing(sam, features, monkeypatch):
    together = ask_all(sam, features, PROMPTS)
    monkeypatch.setattr("samtune.inference.ask._PROMPTS", 2)
    assert max(len(answer.indices) for answer in ask(sam, features, PROMPTS)) == 2
    assert_same(ask_all(sam, features, PROMPTS), together)


@pytest.mark.parametrize(
    ("objects", "expected"), [(None, [True] * 2), (torch.tensor([[0.1], [-0.1]]), [True, False])]
)
def test_some_families_tell_whether_there_is_an_object(
    sam, features, answer_with, objects, expected
):
    answer_with([[0.5], [0.5]], objects=objects)
    (answer,) = ask(sam, features, [PROMPTS[0], PROMPTS[3]])
    assert answer.has_object == expected


def test_nothing_is_kept_for_gradients(sam, features):
    assert any(p.requires_grad for p in sam.parameters())
    assert not any(answer.logits.requires_grad for answer in ask(sam, features, PROMPTS))
