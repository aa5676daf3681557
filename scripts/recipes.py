"""Results of the recipes: kept in configs/results.csv alone, written into every page that shows them.

    python scripts/recipes.py                                    # write the pages anew
    python scripts/recipes.py --record aerial/buildings_nano runs/buildings
                                                                 # first take the results of a run

A page shows a table between `<!-- results: RECIPE ... -->`, or `<!-- recipes -->` for all of them, and
`<!-- end -->`. What is known of each recipe beside its results stands in configs/recipes.csv.
"""

import argparse
import csv
import io
import json
import re
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from samtune.evaluation.report.tables import MAIN_HEAD, main_lines

ROOT = Path(__file__).parents[1]
RECIPES, RESULTS = (ROOT / "configs" / name for name in ("recipes.csv", "results.csv"))
PAGES = (
    "README.md", "docs/recipes.md", "docs/why/nano.md", "docs/start/*.md", "configs/*/README.md",
)  # fmt: skip
_OLDER = "older"
_NOTE = (
    "\\* Measured before training held the adapter near its base, which gives other figures; not "
    "renewed since."
)
_BLOCK = re.compile(r"(<!-- (results: [^>]*?|recipes) -->\n).*?(<!-- end -->)", re.DOTALL)
Rows = list[dict[str, str]]


def read(file: Path) -> Rows:
    with file.open(newline="") as opened:
        return list(csv.DictReader(opened))


def pages() -> dict[Path, str]:
    """Every page that shows results, as it should be."""
    files = [file for pattern in PAGES for file in sorted(ROOT.glob(pattern))]
    return {file: _filled(file.read_text()) for file in files}


def _filled(text: str) -> str:
    def table(found: re.Match[str]) -> str:
        kind, _, names = found[2].partition(":")
        body = _all() if kind == "recipes" else _results(names.split())
        return f"{found[1]}\n{body}\n\n{found[3]}"

    return _BLOCK.sub(table, text)


def _results(names: list[str]) -> str:
    """The main table of some recipes; a name may be a folder of them."""
    rows = [
        row for row in read(RESULTS)
        if any(row["recipe"] == name or row["recipe"].startswith(f"{name}/") for name in names)
    ]  # fmt: skip
    columns = [name for name in rows[0] if name not in ("recipe", "as of")]
    lines = [[_name(row), *(row[name] for name in columns)] for row in rows]
    for before, line in reversed(list(pairwise(lines))):
        line[0] = "" if line[0] == before[0] else line[0]
    return _markdown(["recipe", *columns], lines) + _note(rows)


def _all() -> str:
    """One line for each recipe: what it takes and what it gives."""
    results = read(RESULTS)
    head = [
        "recipe", "data", "images (train / val / test)", "size", "base", "minutes", "box: base, tuned",
        "point: base, tuned", "licence of the data", "licence of the weights",
    ]  # fmt: skip
    lines = []
    for recipe in read(RECIPES):
        its = {row["protocol"]: row for row in results if row["recipe"] == recipe["recipe"]}
        name = recipe["recipe"] + (" \\*" if any(map(_is_older, its.values())) else "")
        lines.append(
            [name, recipe["data"], recipe[head[2]], recipe["size"], recipe["weights"],
             recipe["minutes"] or "-", _pair(its.get("box")), _pair(its.get("point")),
             recipe["licence of the data"], recipe["licence of the weights"]]
        )  # fmt: skip
    return _markdown(head, lines) + _note(results)


def _pair(row: dict[str, str] | None) -> str:
    return "-" if row is None else f"{row['base mIoU']}, {row['tuned mIoU']} ({row['verdict']})"


def _name(row: dict[str, str]) -> str:
    return row["recipe"].split("/")[1] + (" \\*" if _is_older(row) else "")


def _is_older(row: dict[str, str]) -> bool:
    return row["as of"] == _OLDER


def _note(rows: Rows) -> str:
    return f"\n\n{_NOTE}" if any(map(_is_older, rows)) else ""


def _markdown(head: list[str], lines: Iterable[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def record(recipe: str, run: Path) -> None:
    """Take the results of a run that was made with a recipe, instead of those that were there."""
    results = json.loads((run / "evaluation" / "results.json").read_text())
    lines = [dict(zip(MAIN_HEAD, line, strict=True)) for line in main_lines(results["protocols"])]
    kept = [row for row in read(RESULTS) if row["recipe"] != recipe]
    columns = list(read(RESULTS)[0])
    more = {"recipe": recipe, "as of": f"samtune {results['samtune']}"}
    rows = kept + [{name: ({**line, **more})[name] for name in columns} for line in lines]
    order = [each["recipe"] for each in read(RECIPES)]
    rows.sort(key=lambda row: order.index(row["recipe"]))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    RESULTS.write_text(text.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the results of recipes into the pages.")
    parser.add_argument("--record", nargs=2, metavar=("RECIPE", "RUN"))
    options = parser.parse_args()
    if options.record:
        record(options.record[0], Path(options.record[1]))
    for file, text in pages().items():
        file.write_text(text)


if __name__ == "__main__":
    main()
