"""Detections as text: YOLO's folder of files, or a table.

YOLO (https://docs.ultralytics.com/datasets/detect/): IMAGE.txt with lines `class cx cy w h [score]`,
shares of width and height. A table (CSV; also with semicolons or tabs) has a column `file` and
`x0, y0, x1, y1` or `x, y`; `label` and `score` are optional.
"""

import csv
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.inference.prelabel.detection_json import UNNAMED, read_json_detections
from samtune.inference.prelabel.detections import (
    Detection,
    Detections,
    RowError,
    box_of_corners,
    box_of_size,
    finite_numbers,
    score_of,
)
from samtune.parsing import read_lines, read_yaml

_CLASS_FILES = ("classes.txt", "obj.names", "names.txt")
_LARGEST_CLASS = 10**6
_CORNERS, _POINT = ("x0", "y0", "x1", "y1"), ("x", "y")


def read_detections(path: Path, images_json: Path | None, min_score: float) -> Detections:
    """Read detections of any format: JSON, a table, or YOLO's folder.

    Raises:
        UserError: the path does not exist, or holds no detections.
    """
    if not path.exists():
        raise UserError(f"there are no detections at {path}")
    if images_json is not None and (path.is_dir() or path.suffix.lower() != ".json"):
        raise UserError(f"--images_json is for results in JSON, which {path} is not")
    if path.is_dir():
        return read_yolo_boxes(path, min_score)
    if path.suffix.lower() in (".csv", ".tsv"):
        return read_table(path, min_score)
    return read_json_detections(path, images_json, min_score)


def read_yolo_boxes(folder: Path, min_score: float) -> Detections:
    """Read a folder of YOLO's text files; names of classes from classes.txt or data.yaml, if any.

    Raises:
        UserError: it holds no such files, or one is no text.
    """
    files = [file for file in sorted(folder.rglob("*.txt")) if file.name not in _CLASS_FILES]
    if not files:
        raise UserError(f"{folder} holds no detections: expected YOLO's IMAGE.txt files")
    names, found = _class_names(folder), Detections()
    classes = set(names)
    for file in files:
        image = file.relative_to(folder).with_suffix("").as_posix()
        for line_number, line in enumerate(read_lines(file), start=1):
            where = f"{image}.txt, line {line_number}"
            try:
                row = _yolo_row(line, found.num_read + 1, where, image)
                found.keep(row, min_score)
                classes.add(row.category - 1)
            except RowError as error:
                found.reject(where, image, error)
    # an annotation tool takes 0 for the background
    found.categories = [{"id": n + 1, "name": names.get(n, str(n))} for n in sorted(classes)]
    return found


def _yolo_row(line: str, number: int, where: str, image: str) -> Detection:
    parts = line.split()
    value, *shares = finite_numbers(parts, (5, 6), "the line (class cx cy w h [score])")
    if not 0 <= value <= _LARGEST_CLASS or not value.is_integer():
        raise RowError("the class is no number of one", parts[0])
    cx, cy, width, height = shares[:4]
    box = box_of_size(cx - width / 2, cy - height / 2, width, height)
    score = shares[4] if len(shares) == 5 else None
    return Detection(number, where, image, int(value) + 1, score, box, is_share=True)


def _class_names(folder: Path) -> dict[int, str]:
    for place in (folder, folder.parent):
        for file in (place / name for name in _CLASS_FILES):
            if file.is_file():
                return dict(enumerate(read_lines(file)))
        for file in (place / "data.yaml", place / "dataset.yaml"):
            if file.is_file():
                return _names_in_yaml(file)
    return {}


def _names_in_yaml(file: Path) -> dict[int, str]:
    content = read_yaml(file)
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        return {number: str(name) for number, name in enumerate(names)}
    pairs = names.items() if isinstance(names, dict) else ()
    return {number: str(name) for number, name in pairs if isinstance(number, int)}


def read_table(file: Path, min_score: float) -> Detections:
    """Read a table of boxes or points.

    Raises:
        UserError: it is no table, or lacks columns.
    """
    lines = read_lines(file)
    head = lines[0] if lines else ""
    delimiter = max(",;\t", key=head.count)
    reader = csv.DictReader(lines, delimiter=delimiter, skipinitialspace=True)
    try:
        columns = [name.strip().lower() for name in reader.fieldnames or ()]
        rows = [_plain(row) for row in reader]
    except csv.Error as error:
        raise UserError(f"{file} is no table: {error}") from error
    shape = next((each for each in (_CORNERS, _POINT) if set(each) <= set(columns)), None)
    if shape is None or "file" not in columns:
        raise UserError(
            f"{file} has the columns {head[:200]!r}: expected file, x0, y0, x1, y1 (or x, y) and, as "
            "you like, label and score"
        )
    if not rows:
        raise UserError(f"{file} holds no detections")
    return _from_rows(rows, shape, min_score)


def _plain(row: dict[Any, Any]) -> dict[str, str]:
    """Cells by column, without those that no column is there for."""
    return {k.strip().lower(): (v or "").strip() for k, v in row.items() if isinstance(k, str)}


def _from_rows(rows: list[dict[str, str]], shape: tuple[str, ...], min_score: float) -> Detections:
    labels = sorted({row.get("label") or UNNAMED for row in rows})
    ids = {name: number for number, name in enumerate(labels, start=1)}
    found = Detections(categories=[{"id": n, "name": name} for name, n in ids.items()])
    for number, row in enumerate(rows, start=1):
        where = f"row {number}"
        try:
            if not row["file"]:
                raise RowError("names no image")
            values = finite_numbers([row[name] for name in shape], (len(shape),), "the row")
            box = box_of_corners(*values) if shape == _CORNERS else None
            category, score = ids[row.get("label") or UNNAMED], score_of(row.get("score"))
            points = () if box else (values,)
            found.keep(
                Detection(number, where, row["file"], category, score, box, points), min_score
            )
        except RowError as error:
            found.reject(where, row["file"], error)
    return found
