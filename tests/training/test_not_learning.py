"""A training that learns nothing is told once, early, and with what to do."""

from types import SimpleNamespace

import pytest
import torch

from samtune.training.not_learning import TellNotLearning

SAM, HEAD = SimpleNamespace(monitor="val/miou"), SimpleNamespace(monitor="val/score")
WITH, WITHOUT = SimpleNamespace(keys=["object"]), SimpleNamespace(keys=[])


def trainer(step=0, sanity_checking=False, **metrics):
    values = {name.replace("_", "/", 1): torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(
        global_step=step, sanity_checking=sanity_checking, callback_metrics=values
    )


def first_told(caplog, scores, batch=WITH):
    """The step after which a line was told; `None` for none."""
    teller, told = TellNotLearning(), None
    for step, score in enumerate(scores, start=1):
        teller.on_train_batch_end(trainer(step, train_miou=score), SAM, None, batch, step)
        if told is None and caplog.records:
            told = step
    assert len(caplog.records) <= 1
    return told


def test_a_collapse_is_told_once_and_early(caplog):
    assert first_told(caplog, [0.3, *[0.0] * 11, 0.4, *[0.0] * 40]) == 25
    assert "collapsed" in caplog.text


def test_what_stays_near_nothing_is_told_after_a_hundred_steps(caplog):
    assert first_told(caplog, [0.05, 0.01, 0.06, 0.03] * 60) == 100
    assert "after 100 steps" in caplog.text
    assert "training mIoU 0.037 over the last 100" in caplog.text
    assert "--model.optim.lr" in caplog.text


def test_what_is_forgotten_later_is_told_too(caplog):
    assert 280 < first_told(caplog, [0.4] * 200 + [0.03] * 200) <= 300


@pytest.mark.parametrize(
    "scores", [[0.06] * 300, [0.02 + 0.002 * n for n in range(300)], [0.04] * 99]
)
def test_what_learns_slowly_is_left_alone(caplog, scores):
    assert first_told(caplog, scores) is None


def test_batches_without_objects_are_told(caplog):
    assert first_told(caplog, [0.5] * 150, WITHOUT) == 100
    assert "none of the last 100 batches holds an object" in caplog.text


@pytest.mark.parametrize(
    ("module", "step", "metrics", "is_told"),
    [
        (SAM, 8, {"val_miou": 0.01, "val_base_miou": 0.45}, True),
        (SAM, 8, {"val_miou": 0.01, "val_base_miou": 0.03}, False),
        (SAM, 100, {"val_miou": 0.01, "val_base_miou": 0.03}, True),
        (SAM, 100, {"val_miou": 0.2, "val_base_miou": 0.45}, False),
        (HEAD, 40, {"val_score": 0.0}, False),
        (HEAD, 120, {"val_score": 0.0}, True),
    ],
)
def test_a_validation_tells_it(caplog, module, step, metrics, is_told):
    teller = TellNotLearning()
    teller.on_validation_end(trainer(step, sanity_checking=True, **metrics), module)
    assert not caplog.records
    teller.on_validation_end(trainer(step, **metrics), module)
    teller.on_validation_end(trainer(step + 1, **metrics), module)
    assert len(caplog.records) == int(is_told)
    if is_told:
        assert "nothing has been learned so far" in caplog.text
        assert ("--model.head_lr" in caplog.text) == (module is HEAD)
