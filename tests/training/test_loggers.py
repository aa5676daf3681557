"""`metrics.csv`: a row a step, a column a metric, and nothing lost on resume."""

import csv

import pytest

from samtune.errors import UserError
from samtune.training.loggers import MetricsCsv


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.csv"


def log(path, *rows):
    """One run that logs (step, metrics) pairs and ends."""
    logger = MetricsCsv(path)
    for step, metrics in rows:
        logger.log_metrics(metrics, step)
    logger.finalize("success")


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_is_a_table_with_a_row_for_each_step(path):
    log(path, (9, {"train/loss": 0.5}), (19, {"train/loss": 0.25}))
    assert path.read_text() == "step,train/loss\n9,0.5\n19,0.25\n"


def test_metrics_of_one_step_stand_in_one_row(path):
    log(path, (9, {"train/loss": 0.5}), (9, {"val/miou": 0.75}))
    assert path.read_text() == "step,train/loss,val/miou\n9,0.5,0.75\n"


def test_what_a_step_does_not_have_stays_empty(path):
    log(path, (9, {"train/loss": 0.5}), (19, {"val/miou": 0.75}))
    assert path.read_text() == "step,train/loss,val/miou\n9,0.5,\n19,,0.75\n"


def test_a_resumed_run_keeps_the_old_rows(path):
    log(path, (9, {"train/loss": 0.5}), (19, {"train/loss": 0.25}))
    log(path, (29, {"train/loss": 0.125}))
    assert [(row["step"], row["train/loss"]) for row in read(path)] == [
        ("9", "0.5"),
        ("19", "0.25"),
        ("29", "0.125"),
    ]


def test_steps_that_are_run_again_are_replaced(path):
    log(path, (9, {"train/loss": 0.5}), (19, {"train/loss": 0.25}))
    log(path, (19, {"train/loss": 0.2}), (29, {"train/loss": 0.1}))
    assert [row["train/loss"] for row in read(path)] == ["0.5", "0.2", "0.1"]


def test_a_resumed_run_may_bring_new_metrics(path):
    log(path, (9, {"train/loss": 0.5}))
    log(path, (19, {"train/loss": 0.25, "train/iou_loss": 0.75}))
    assert read(path) == [
        {"step": "9", "train/loss": "0.5", "train/iou_loss": ""},
        {"step": "19", "train/loss": "0.25", "train/iou_loss": "0.75"},
    ]


def test_resuming_and_ending_at_once_changes_nothing(path):
    log(path, (9, {"train/loss": 1 / 3}), (19, {"val/miou": 0.75}))
    before = path.read_text()
    log(path)
    assert path.read_text() == before


def test_rows_stand_in_the_order_of_steps(path):
    log(path, (100, {"a": 3.0}), (9, {"a": 1.0}), (20, {"a": 2.0}))
    assert [row["step"] for row in read(path)] == ["9", "20", "100"]


def test_numbers_have_seven_digits(path):
    log(path, (0, {"small": 1.23456789e-5, "large": 123456789.0, "nan": float("nan")}))
    (row,) = read(path)
    assert row == {"step": "0", "small": "1.234568e-05", "large": "1.234568e+08", "nan": "nan"}


def test_a_metric_without_a_step_belongs_to_the_first(path):
    log(path, (None, {"a": 1.0}))
    assert path.read_text() == "step,a\n0,1\n"


def test_it_can_be_read_while_the_run_goes_on(path):
    logger = MetricsCsv(path)
    logger.log_metrics({"a": 1.0}, 1)
    logger.save()
    assert len(read(path)) == 1
    logger.log_metrics({"a": 2.0}, 2)
    assert len(read(path)) == 1
    logger.save()
    assert len(read(path)) == 2


def test_a_run_without_metrics_leaves_no_file(path):
    log(path)
    assert not path.exists()


def test_nothing_but_the_table_is_left_in_the_folder(path):
    log(path, (1, {"a": 1.0}))
    assert [file.name for file in path.parent.iterdir()] == ["metrics.csv"]


def test_settings_are_not_written_into_it(path):
    logger = MetricsCsv(path)
    logger.log_hyperparams({"lr": 1.0})
    logger.save()
    assert not path.exists()
    assert (logger.name, logger.version) == ("csv", "")


@pytest.mark.parametrize("content", ["step,a\nx,1\n", "a\n1\n", "step,a\n1\n"])
def test_a_damaged_file_is_said(path, content):
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(UserError, match=r"metrics\.csv is damaged"):
        MetricsCsv(path)
