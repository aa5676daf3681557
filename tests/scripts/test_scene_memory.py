"""The scene that measures memory holds what it says."""

import json
import sys

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("pyogrio")


def test_each_disc_is_an_object(load_script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["scene_memory.py", "512", "--tile", "200"])
    load_script("scene_memory").main()
    found = json.loads(capsys.readouterr().out)
    assert found["objects"] == (512 // 32) ** 2
    assert found["mb_peak"] >= found["mb_before"] > 0
