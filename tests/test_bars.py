"""The progress bar at 80 columns, and what it says where it ends early."""

import io

import pytest
from tqdm import tqdm

from samtune import bars


@pytest.fixture
def shown(monkeypatch):
    """What is drawn, as on a terminal of 80 columns."""
    text = io.StringIO()

    def drawn(*args, **options):
        options |= {"disable": bool(options["disable"]), "dynamic_ncols": False}
        return tqdm(*args, **options, file=text, ncols=80, mininterval=0)

    monkeypatch.setattr("tqdm.auto.tqdm", drawn)
    return lambda: [
        line for line in text.getvalue().replace("\r", "\n").split("\n") if line.strip()
    ]


def test_a_long_name_leaves_room_for_the_bar(shown):
    list(bars.bar(range(3), "windows of a_scene_with_a_very_long_name_indeed.tif", "window"))
    last = shown()[-1]
    assert len(last) <= 80
    assert last.startswith("windows of a_scene_with_a...: 100%|")
    assert last.count("#") >= 15
    assert "3/3" in last


def test_what_ends_when_its_time_is_over_does_not_stay_in_the_middle(shown, monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(bars.time, "monotonic", lambda: next(clock))
    assert list(bars.limited_bar(range(10), "check train", "image", seconds=3)) == [0, 1, 2, 3]
    assert "100%" in shown()[-1]
    assert "4/4" in shown()[-1]


def test_without_a_limit_all_are_gone_through(shown):
    assert list(bars.limited_bar(range(5), "check train", "image", seconds=0)) == [0, 1, 2, 3, 4]
    assert "5/5" in shown()[-1]


def test_without_words_nothing_is_drawn(shown):
    assert list(bars.bar(range(3), "", "image")) == [0, 1, 2]
    assert shown() == []


def test_a_share_is_shown_in_percent_with_the_time_that_is_left(shown):
    bar = bars.share_bar("training", 10.0)
    bar.set_postfix_str("loss 0.5")
    bar.update(40)
    bar.close()
    last = shown()[-1]
    assert last.startswith("training:  50%|")
    assert last.endswith("loss 0.5")
    assert "it/s" not in last
