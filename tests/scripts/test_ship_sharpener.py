"""Making the sharpener that ships: from nothing to files that are read as it is."""

import runpy
import sys
from pathlib import Path

import torch

from samtune.models.sharpening import saving

SCRIPT = Path(__file__).parents[2] / "scripts" / "ship_sharpener.py"


def test_what_it_writes_is_what_nano_reads(tmp_path, monkeypatch, capsys):
    out = tmp_path / "assets"
    flags = ["--pictures", "2", "--steps", "2", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    assert "answers on 2 pictures" in capsys.readouterr().out
    shipped = saving.shipped_sharpener()
    monkeypatch.setattr(saving, "ASSETS", out)
    made = saving.shipped_sharpener()
    assert made.settings == shipped.settings
    assert not float(made.limit)
    assert not torch.equal(made.last.weight, shipped.last.weight)
