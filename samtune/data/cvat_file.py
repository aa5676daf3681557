"""CVAT's XML file: the images that it names, or the frames of its video, with their shapes.

Format: https://docs.cvat.ai/docs/dataset_management/formats/format-cvat/
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

from samtune.data.left_out import LeftOut
from samtune.errors import UserError
from samtune.images.kinds import is_picture
from samtune.parsing import read_xml

_AREAS = ("polygon", "box", "ellipse", "mask")
# What stands beside shapes: a class of the whole image.
_NO_SHAPES = ("tag",)
# What CVAT calls the frames of a video.
_FRAME = re.compile(r"(?:^|/)frame_(\d+)\.\w+$", re.IGNORECASE)


@dataclass(frozen=True)
class CvatShape:
    """One element of an image, or of a track in a frame: its kind and its attributes."""

    kind: str
    values: dict[str, str]


@dataclass
class CvatImage:
    """What the file says of one image: name, subset, attributes (`width`, `height`), and shapes."""

    name: str
    subset: str = ""
    said: dict[str, str] = field(default_factory=dict)
    shapes: list[CvatShape] = field(default_factory=list)


def images_of(file: Path, left_out: LeftOut) -> list[CvatImage]:
    """The images that a file names, or the frames of the video that it is of.

    Raises:
        UserError: the file is damaged, or which image a frame is cannot be told.
    """
    root = read_xml(file)
    if root.tag != "annotations":
        raise UserError(f"{file} is no file of CVAT: found <{root.tag}>, expected <annotations>")
    tracks = root.findall("track")
    if tracks:
        return _frames_of(root, tracks, file, left_out)
    images = []
    for element in root.findall("image"):
        said = dict(element.attrib)
        name, subset = said.get("name", ""), said.get("subset", "")
        shapes = [CvatShape(each.tag, dict(each.attrib)) for each in element]
        images.append(CvatImage(name, subset, said, _areas_of(shapes, name, left_out)))
    return images


def _areas_of(shapes: list[CvatShape], name: str, left_out: LeftOut) -> list[CvatShape]:
    for shape in shapes:
        if shape.kind not in (*_AREAS, *_NO_SHAPES):
            left_out.add("shape", f"without an area, of the kind {shape.kind},", name)
    return [shape for shape in shapes if shape.kind in _AREAS]


def _frames_of(
    root: Element, tracks: list[Element], file: Path, left_out: LeftOut
) -> list[CvatImage]:
    """The frames whose images are there, with the shapes that tracks have in them."""
    if len({track.get("task_id", "") for track in tracks}) > 1 or root.find("image") is not None:
        raise UserError(
            f"{file} holds tracks of several tasks, or tracks and images, whose frames have the same "
            "numbers: export each task alone"
        )
    by_frame: dict[int, list[CvatShape]] = {}
    gaps: list[range] = []
    for track in tracks:
        common = {name: track.get(name, "") for name in ("label", "group_id") if track.get(name)}
        shown: int | None = None
        for each in track:
            frame = whole_number(each.get("frame", ""), "frame", file)
            gaps += [] if shown is None else [range(shown + 1, frame)]
            shown = None
            if each.get("outside", "0") == "0":
                shown = frame
                by_frame.setdefault(frame, []).append(
                    CvatShape(each.tag, {**each.attrib, **common})
                )
    size = _said(root, "size")
    names = _names_of_frames(file.parent, whole_number(size, "size", file) if size else 0)
    if by_frame and not by_frame.keys() & names.keys():
        raise UserError(
            f"{file} is of a video, and none of its frames was found under {file.parent / 'images'}: "
            f"expected frame_{min(by_frame):06d}.PNG, ... (CVAT: save images), or all its images"
        )
    for frame in sorted(by_frame.keys() - names.keys()):
        left_out.add("frame", "with shapes but without an image", frame)
    # CVAT itself writes the shapes between key frames
    between = (frame for gap in gaps for frame in gap if frame in names)
    left_out.add_all(
        "shape", "of frames between two of a track, which the file does not hold,", between
    )
    said = {
        side: text for side in ("width", "height") if (text := _said(root, f"original_size/{side}"))
    }
    return [
        CvatImage(name, "", said, _areas_of(by_frame.get(frame, []), name, left_out))
        for frame, name in sorted(names.items())
    ]


def _said(root: Element, name: str) -> str:
    """What the file says of its task, or job."""
    return (root.findtext(f"meta/*/{name}") or "").strip()


def _names_of_frames(folder: Path, size: int) -> dict[int, str]:
    """Images by the number of their frame: as they are called, or in order if all are there."""
    places = [folder / "images", folder]
    place = next((p for p in places if p.is_dir() and _pictures(p)), folder)
    names = [path.relative_to(place).as_posix() for path in _pictures(place)]
    if numbered := {int(m[1]): name for name in names if (m := _FRAME.search(name))}:
        return numbered
    by_number = sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])
    return dict(enumerate(names)) if len(names) == size and by_number == names else {}


def _pictures(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if is_picture(file))


def whole_number(text: str, name: str, file: Path) -> int:
    """A number that the file holds.

    Raises:
        UserError: it is none.
    """
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{file}: the {name} {text!r} is no whole number") from None
