"""Files of automatic masks: a label image and a record for each image, one COCO file for all.

The record of an image is completed last: where it is whole, the image is done, and a run that broke off
goes on behind it. A record also says that the pictures of its name were written here: no other file is
ever replaced, for a folder of true masks has the same names.
"""

import colorsys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.drawing import to_png
from samtune.errors import UserError
from samtune.files import is_file, read_json, write_bytes, write_json
from samtune.inference.candidates import Candidate
from samtune.types import ImageArray

Record = dict[str, Any]
Labels = NDArray[np.uint16]

SETTINGS_FILE, COCO_FILE, RECORDS = "settings.json", "predictions.json", "records"
_MOST_LABELS = int(np.iinfo(np.uint16).max)
# The next colour is so far round the circle of hues: neighbouring numbers differ (golden angle).
_NEXT_HUE = 0.381966
_ALPHA = 0.5


def require_free(folder: Path, stems: Iterable[str], with_overlay: bool) -> None:
    """Make sure that no file will be replaced but those written here.

    Raises:
        UserError: one would be, or two images would have one file.
    """
    settings = folder / SETTINGS_FILE
    if settings.exists() and not _is_ours(read_json(settings)):
        raise _taken(settings)
    if not settings.exists() and (folder / COCO_FILE).exists():
        raise _taken(folder / COCO_FILE)
    seen: set[Path] = set()
    for stem in stems:
        for picture in _pictures(folder, stem, with_overlay):
            if picture in seen:
                raise UserError(
                    f"two images would both have the file {picture}: rename one of them"
                )
            seen.add(picture)
            if picture.exists() and not _place(folder, stem).exists():
                raise _taken(picture)


def _taken(path: Path) -> UserError:
    return UserError(
        f"{path} was not written by samtune segment, and would be replaced: name another --out"
    )


def _is_ours(settings: Any) -> bool:
    return isinstance(settings, dict) and {"weights", "points_per_side"} <= settings.keys()


def _place(folder: Path, stem: str) -> Path:
    return folder / RECORDS / f"{stem}.json"


def _pictures(folder: Path, stem: str, with_overlay: bool = True) -> list[Path]:
    names = [f"{stem}.png"] + [f"{stem}_overlay.png"] * with_overlay
    return [folder / name for name in names]


def open_results(folder: Path, settings: Record, is_overwriting: bool) -> None:
    """Make sure that a folder holds results of these settings alone.

    Raises:
        UserError: it holds results of others.
    """
    path = folder / SETTINGS_FILE
    if path.exists() and (earlier := read_json(path)) != settings:
        if not is_overwriting:
            names = [name for name in settings if settings[name] != earlier.get(name)]
            names += [name for name in earlier if name not in settings]
            raise UserError(
                f"{folder} holds masks made with other settings ({', '.join(names)}): give another "
                "--out, or --overwrite"
            )
        for place in (folder / RECORDS).rglob("*.json"):
            _forget(folder, place)
    write_json(path, settings)


def _forget(folder: Path, place: Path) -> None:
    """Delete the record of an image, and its pictures."""
    for path in (*_pictures(folder, _stem_of(folder, place)), place):
        path.unlink(missing_ok=True)


def _stem_of(folder: Path, place: Path) -> str:
    return place.relative_to(folder / RECORDS).as_posix().removesuffix(".json")


def read_record(folder: Path, stem: str, path: Path, with_overlay: bool) -> Record | None:
    """The record of an image that is done; `None` where it is not, or the file has changed since.

    Raises:
        UserError: the record is damaged, or is of another file of the same name.
    """
    place = _place(folder, stem)
    if not all(is_file(file) for file in (path, place, *_pictures(folder, stem, with_overlay))):
        return None
    record = _parse(place)
    if record["file"] != str(path.resolve()):
        raise UserError(
            f"{folder} holds masks of {record['file']} under the name {stem}: give another --out, or "
            "--overwrite"
        )
    return record if record["stamp"] == _stamp(path) else None


def _parse(place: Path) -> Record:
    record = read_json(place)
    if not isinstance(record, dict) or not {"file", "stamp", "image", "masks"} <= record.keys():
        raise UserError(f"{place} is damaged: delete it, or give --overwrite")
    return record


def gather_records(folder: Path, done: dict[str, Record]) -> list[Record]:
    """Records of all images that are done in a folder, by name.

    Args:
        folder: of the results.
        done: by stem; an earlier record of the same image under another name makes way for it.

    Raises:
        UserError: a record is damaged.
    """
    files = {record["file"] for record in done.values()}
    records = list(done.values())
    for place in (folder / RECORDS).rglob("*.json"):
        if _stem_of(folder, place) in done:
            continue
        record = _parse(place)
        if record["file"] in files:
            _forget(folder, place)
        elif record["stamp"]:
            records.append(record)
    return sorted(records, key=lambda record: str(record["image"]["file_name"]))


def _stamp(path: Path) -> list[int]:
    """Size and time of change of a file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def write_results(
    folder: Path, stem: str, path: Path, name: str, image: ImageArray,
    found: Sequence[Candidate], with_overlay: bool,
) -> Record:  # fmt: skip
    """Write `STEM.png` (labels), `STEM_overlay.png` if wanted, and `records/STEM.json`.

    Args:
        folder: of the results.
        stem: of the files.
        path: of the image.
        name: of the image in the COCO file.
        image: (H, W, 3).
        found: its masks.
        with_overlay: draw them as well.

    Returns:
        The record.

    Raises:
        UserError: there are more masks than a label image can number.
    """
    ranked = sorted(found, key=lambda candidate: -candidate.predicted_iou)
    labels = to_labels(ranked, image.shape[:2])
    record = {
        "file": str(path.resolve()),
        "stamp": _stamp(path),
        "image": {"file_name": name, "height": image.shape[0], "width": image.shape[1]},
        "masks": [_annotation(candidate) for candidate in ranked],
    }
    # says whose the pictures are, should they be all that is written before a crash
    write_json(_place(folder, stem), {**record, "stamp": [], "masks": []})
    write_bytes(folder / f"{stem}.png", to_png(labels))
    if with_overlay:
        write_bytes(folder / f"{stem}_overlay.png", to_png(tint(image, labels)))
    write_json(_place(folder, stem), record)
    return record


def to_labels(ranked: Sequence[Candidate], hw: tuple[int, ...]) -> Labels:
    """Masks as (H, W) uint16 numbers in their order, from 1; where they overlap the first is seen.

    Raises:
        UserError: there are too many.
    """
    if len(ranked) > _MOST_LABELS:
        raise UserError(
            f"{len(ranked)} masks are more than a label image can number ({_MOST_LABELS}): raise the "
            "thresholds"
        )
    labels = np.zeros(hw, np.uint16)
    for number in range(len(ranked), 0, -1):
        candidate = ranked[number - 1]
        labels[candidate.window][candidate.cropped()] = number
    return labels


def tint(image: ImageArray, labels: Labels) -> ImageArray:
    """An (H, W, 3) image with each label in a colour of its own."""
    hues = np.arange(int(labels.max(initial=0)) + 1) * _NEXT_HUE % 1
    colours = np.array([colorsys.hsv_to_rgb(hue, 0.8, 1.0) for hue in hues.tolist()]) * 255
    picture = image.copy()
    there = labels > 0
    mixed = (1 - _ALPHA) * image[there] + _ALPHA * colours[labels[there]]
    picture[there] = mixed.astype(np.uint8)
    return picture


def _annotation(candidate: Candidate) -> Record:
    """As COCO has it: the box is as wide as the mask, unlike segment_anything's."""
    x0, y0, x1, y1 = candidate.box_xyxy.tolist()
    return {
        "category_id": 1,
        "segmentation": candidate.rle(),
        "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
        "area": int(np.count_nonzero(candidate.cropped())),
        "iscrowd": 0,
        "score": round(candidate.predicted_iou, 6),
        "stability_score": round(candidate.stability_score, 6),
        "point": list(candidate.point_xy),
    }


def write_coco(path: Path, records: Sequence[Record]) -> None:
    """Write the records of all images as one COCO file."""
    images: list[Record] = []
    annotations: list[Record] = []
    for image_id, record in enumerate(records, start=1):
        images.append({"id": image_id, **record["image"]})
        for mask in record["masks"]:
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **mask})
    categories = [{"id": 1, "name": "object"}]
    write_json(path, {"images": images, "annotations": annotations, "categories": categories})
