"""What happens around the training loop: which weights are kept, and what is told of it."""

import logging
from types import SimpleNamespace

import pytest
import torch

from samtune.training import module
from samtune.training.callbacks import SaveTuned, TellProgress
from samtune.training.module import SamTuner


@pytest.fixture
def saved(monkeypatch):
    """Where weights were saved, in order."""
    places = []
    monkeypatch.setattr(module, "save_run", lambda sam, run: places.append(run))
    return places


@pytest.fixture(name="module")
def tuner_of_nothing(monkeypatch):
    """A SamTuner without a network; what the base reached is known."""
    monkeypatch.setattr(SamTuner, "network", property(lambda self: None))
    tuner = SamTuner.__new__(SamTuner)
    torch.nn.Module.__init__(tuner)
    tuner.base_scores = {"miou": 0.5}
    return tuner


def trainer(score=None, **more):
    metrics = {} if score is None else {SamTuner.monitor: torch.tensor(score)}
    values = {
        "sanity_checking": False, "callback_metrics": metrics, "is_global_zero": True,
        "current_epoch": 0, "max_epochs": 3, "callbacks": [],
    }  # fmt: skip
    return SimpleNamespace(**{**values, **more})


def test_weights_are_saved_whenever_the_validation_got_better(tmp_path, saved, module):
    saver = SaveTuned(tmp_path)
    for score in (0.4, 0.3, 0.4, 0.6):
        saver.on_validation_end(trainer(score), module)
    assert len(saved) == 2
    assert saver.best == pytest.approx(0.6)


def test_a_look_before_the_training_saves_nothing(tmp_path, saved, module):
    saver = SaveTuned(tmp_path)
    saver.on_validation_end(trainer(0.9, sanity_checking=True), module)
    saver.on_validation_end(trainer(), module)
    assert (saved, saver.best) == ([], float("-inf"))


def test_one_process_alone_writes_but_all_know_the_best(tmp_path, saved, module):
    saver = SaveTuned(tmp_path)
    saver.on_validation_end(trainer(0.7, is_global_zero=False), module)
    assert saved == []
    assert saver.best == pytest.approx(0.7)


def test_without_a_validation_the_last_weights_are_kept_and_it_is_told(
    tmp_path, saved, module, caplog
):
    caplog.set_level(logging.INFO, logger="samtune")
    SaveTuned(tmp_path).on_train_end(trainer(), module)
    assert saved == [tmp_path]
    assert "no validation was run: the last weights are kept" in caplog.text


def test_a_resumed_run_knows_what_was_best(tmp_path, saved, module):
    before = SaveTuned(tmp_path)
    before.on_validation_end(trainer(0.8), module)
    after = SaveTuned(tmp_path)
    after.load_state_dict(before.state_dict())
    after.on_validation_end(trainer(0.7), module)
    assert len(saved) == 1


def test_an_epoch_is_a_line_with_the_scores_of_its_own_validation(module, caplog):
    caplog.set_level(logging.INFO, logger="samtune")
    teller = TellProgress()
    at = trainer(0.61)
    at.callback_metrics |= {"train/loss": torch.tensor(0.25), "val/base_miou": torch.tensor(0.5)}
    teller.on_train_start(at, module)
    teller.on_train_epoch_end(at, module)
    assert "miou 0.610" not in caplog.text  # nothing was validated yet
    teller.on_validation_end(at, module)
    teller.on_train_epoch_end(at, module)
    assert "epoch 1/3  loss 0.2500  miou 0.610  (base miou 0.500)" in caplog.text
