"""The notebooks run from the first cell to the last, in minutes, and stay small as they are kept."""

import time
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
FILES = sorted(FOLDER.glob("*.ipynb"))
_SECONDS, _BYTES = 180, 400_000


def test_there_are_the_notebooks_that_the_pages_name():
    page = (FOLDER.parent / "docs" / "howto" / "python.md").read_text()
    assert FILES
    assert all(f"`{file.name}`" in page for file in FILES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_is_kept_is_small_and_holds_no_error(file):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(file, as_version=4)
    nbformat.validate(notebook)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert all(output.output_type != "error" for output in outputs)
    assert file.stat().st_size < _BYTES


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_runs(file, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    if file.stem in ("volume", "scene"):
        pytest.importorskip({"volume": "nibabel", "scene": "rasterio"}[file.stem])
    notebook = pytest.importorskip("nbformat").read(file, as_version=4)
    begin = time.monotonic()
    nbclient.NotebookClient(
        notebook, timeout=_SECONDS, kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()  # fmt: skip
    assert time.monotonic() - begin < _SECONDS
    assert list(tmp_path.iterdir()) == []  # they write to a folder of their own
