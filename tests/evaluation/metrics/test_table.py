import json

import numpy as np

from samtune.evaluation.metrics import table
from samtune.evaluation.metrics.table import METRICS, Metric, Pair, measured
from samtune.evaluation.report.tables import metrics_lines, to_csv
from samtune.evaluation.summary import summarise


def test_a_new_metric_is_one_entry(make_row, monkeypatch):
    new = Metric(
        "size ratio", lambda pair: float(pair.predicted.sum() / pair.truth.sum()), digits=1
    )
    monkeypatch.setitem(METRICS, "size_ratio", new)
    mask = np.ones((4, 4), np.bool_)
    assert measured(Pair(mask, mask))["size_ratio"] == 1.0

    rows = [make_row("a", 0.5, 0.7), make_row("b", 0.6, 0.8)]
    for row in rows:
        for score in row.scores.values():
            score.measures["size_ratio"] = 2 * score.iou
    summaries = json.loads(json.dumps(summarise(rows)))
    assert summaries["box"]["tuned"]["size_ratio"] == 1.5
    assert ["box", "size ratio", "1.1", "1.5"] in metrics_lines(summaries)
    assert "tuned_size_ratio" in to_csv(rows).splitlines()[0].split(",")


def test_contours_are_compared_once_for_all_that_need_them(monkeypatch):
    calls = []
    compare = table.contour_scores
    monkeypatch.setattr(
        table, "contour_scores", lambda *given: calls.append(given) or compare(*given)
    )
    mask = np.pad(np.ones((4, 4), np.bool_), 2)
    scores = measured(Pair(mask, mask, (0.5, 2.0), 1.0))
    distances = dict.fromkeys(("hd95", "hd95_by_length"), 0.0)
    shares = ("boundary_iou", "surface_dice", "surface_dice_by_length", "cldice")
    assert scores == distances | dict.fromkeys(shares, 1.0)
    assert [given[2:] for given in calls] == [((0.5, 2.0), 1.0)]
