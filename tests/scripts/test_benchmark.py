"""The benchmark's table tells every figure, and every bar that was missed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from benchmark import BARS, TASKS, to_markdown  # noqa: E402


def figures(seconds, memory):
    return {"seconds": seconds, "memory_mb": memory}


def test_a_bar_that_holds_and_one_that_is_missed_are_told_apart():
    results = {
        "encoder": {"transformers": figures(10.0, 1000.0), "samtune": figures(9.0, 400.0)},
        "images": {"samtune": {"per_second": 24.5}},
    }
    lines = to_markdown(results, {"model": "vit_b"}).splitlines()
    assert "| encoder | samtune | 9.000 | 400 |  |" in lines
    assert "| images | samtune |  |  | per_second: 24.50 |" in lines
    assert "| encoder | transformers encoder | 0.90 | 1.0 | 0.40 | 0.3 MISSED |" in lines


def test_a_figure_that_failed_says_why():
    text = to_markdown({"lora": {"transformers": {"failed": "out of memory"}}}, {})
    assert "| lora | transformers |  |  | failed: out of memory |" in text


def test_every_bar_is_of_a_task():
    for bar in BARS:
        assert "samtune" in TASKS[bar.task]
        assert bar.against[0] in TASKS[bar.against[1]]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_runs_and_writes_json(tmp_path):
    out = tmp_path / "benchmark.json"
    command = [sys.executable, "scripts/benchmark.py", "--model", "nano", "--repeat", "1"]
    tasks = ["encoder", "decoder 8", "lora", "decoder only cached", "images"]
    subprocess.run(
        [*command, "--only", *tasks, "--out", str(out)], check=True, cwd=ROOT, timeout=1500
    )
    found = json.loads(out.read_text())
    assert list(found["results"]) == tasks
    for variants in found["results"].values():
        assert all("failed" not in figure for figure in variants.values())
    assert found["results"]["decoder 8"]["samtune"]["seconds"] > 0
    assert found["about"]["model"] == "nano"
