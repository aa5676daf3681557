"""`segment`: the masks of everything in images, or the objects of a scene of any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from samtune.errors import UserError
from samtune.files import require_new
from samtune.inference.settings import SceneOptions, SearchSettings
from samtune.ranges import Count, CountOrChoice
from samtune.reading import Reading
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_model
from samtune.tasks.results import Result, Rows
from samtune.tasks.runs import Run
from samtune.tasks.searching import Finder, make_finder, search_settings, way_of
from samtune.tasks.settings import Layer, build, reading_of, require_reading
from samtune.wording import counted

if TYPE_CHECKING:
    from samtune.inference.geo.scenes import SceneSettings
    from samtune.models.backend import Sam
    from samtune.tasks.class_mapping import ClassSegmentation

_LEAST_TILE = 32
# Views of a head along a side of a scene's window
_VIEWS_A_WINDOW = 3
# Files that people ask for, and that are not written.
_MISTAKEN = (".parquet", ".kml", ".gml", ".gdb", ".json", ".csv", ".png", ".jpg", ".jp2")


@dataclass(frozen=True)
class Segmentation(Result):
    """What was found.

    Attributes:
        out: the folder, or of a scene the file.
        counts: objects by image.
        failures: images that could not be read, with the reason.
        tile: side of the tiles that were looked at; 0 for whole images.
        hint: what to try where nothing was found.
        notes: what else is to be known.
        num_prompts: of a scene's vector file; 0 without one.
    """

    out: Path
    counts: dict[str, int]
    failures: dict[str, str] = field(default_factory=dict)
    tile: int = 0
    hint: str = ""
    notes: list[str] = field(default_factory=list)
    num_prompts: int = 0

    @property
    def num_objects(self) -> int:
        return sum(self.counts.values())

    @property
    def headline(self) -> str:
        if is_scene(self.out):
            if self.num_prompts:
                return (
                    f"{counted(self.num_objects, 'object')} of "
                    f"{counted(self.num_prompts, 'prompt')}: {self.out}"
                )
            hint = "" if self.num_objects else f" ({self.hint})"
            return f"{counted(self.num_objects, 'object')}: {self.out}{hint}"
        tiles = f" in tiles of {self.tile} pixels" if self.tile else ""
        lines = [
            f"{counted(self.num_objects, 'mask')} in "
            f"{counted(len(self.counts), 'image')}{tiles}: {self.out}"
        ]
        if empty := [name for name, count in self.counts.items() if not count]:
            lines.append(
                f"{counted(len(empty), 'image has', 'images have')} none, such as "
                f"{empty[0]}: {self.hint}"
            )
        return "\n".join(lines)

    @property
    def tables(self) -> Mapping[str, Rows]:
        rows: Rows = [{"image": name, "objects": count} for name, count in self.counts.items()]
        return {"images": rows}


@task
def segment(
    model: str | Path | Run,
    images: Sequence[str | Path],
    *,
    out: str | Path = "segmentation",
    prompts: str | Path | None = None,
    search: Layer | SearchSettings | None = None,
    scene: Layer | SceneOptions | None = None,
    reading: Layer | Reading | None = None,
    overlap: CountOrChoice = -1,
    overlay: bool = False,
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
    image_size: Count = 0,
    device: str = "auto",
) -> Segmentation | ClassSegmentation:
    """Find the masks of everything in images, or the objects of a scene of any size.

    For each image it writes IMAGE.png (numbered masks: 1 has the highest score and lies on top, 0
    is background), and for all predictions.json, a COCO file with the run lengths and scores of all
    masks, also where they overlap. An image that cannot be read is named, the others are segmented.
    A run that was trained on tiles looks at tiles of that side here, too, each with its own grid of
    points (reading.tile 0: at the whole image); an object wider than the overlap that no tile sees
    whole is not found.

    With out FILE.gpkg (.geojson, .shp, .fgb, .tif) a georeferenced scene is segmented window by
    window: an object that reaches over several comes out as one, with score, square metres and
    perimeter; prompts segments what the boxes and points of a vector file show instead (several
    points of one feature are of one object; an area's bounds are its box).

    A model with a head (samtune fit --model.head) uses the head; search.by grid asks SAM on a grid
    of points instead. A semantic head gives every pixel a class: IMAGE.png holds their numbers,
    classes.json their names; a scene becomes a GeoTIFF of them, or with FILE.gpkg the outlines of
    connected areas, each with its class. A head for classes names what was found; of an object that
    lies in several windows, its larger and surer part tells.

    If it is interrupted, the same call goes on where it stopped.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        images: image files, or folders of them; or one scene.
        out: folder for the results; of a scene the file.
        prompts: for a scene: a vector file of boxes, polygons or points.
        search: by a head or a grid of points; its thresholds and crops.
        scene: what becomes of the objects of a scene.
        reading: of the pixels, where it is to be otherwise than in training; its tile is larger than
            the objects (0: the whole image, or of a scene windows as large as the model's input).
        overlap: pixels that neighbouring tiles share (default: a quarter of the tile).
        overlay: write IMAGE_overlay.png as well.
        overwrite: replace what is there.
        checkpoint: official weights for a registry name.
        image_size: side of the square input of a base model; 0 takes its own.
        device: cpu, cuda, cuda:1, mps, auto.

    Raises:
        UserError: a path or number makes no sense, or the model answers with NaN.
    """
    from samtune.tasks.class_mapping import ClassMapping
    from samtune.tasks.image_search import ImageSearch

    paths, place = [Path(image) for image in images], Path(out)
    options = build(SceneOptions, "scene", scene)
    source = None if prompts is None else Path(prompts)
    if is_scene(place):
        _require_scene(place, paths, source, options, overlay, overwrite)
    else:
        _require_images(place, paths, source, options, overwrite)
    settings = search_settings(search, prompts is not None)
    require_reading(reading, ("bands", "stretch", "value_range", "window", "tile"))
    sam = open_model(model, checkpoint, image_size, device)
    sam.reading = reading_of(sam, reading)
    if source:
        settings = replace(settings, by="grid")
    if way_of(sam, settings) == "semantic":
        _require_no_class_name(options, "semantic")
        mapping = ClassMapping(sam, settings, place, overlay, overwrite)
        if not is_scene(place):
            return mapping.of_images(paths)
        windows = _scene_settings(options, _side(sam, mapping.tile), overlap)
        return mapping.of_scene(paths[0], windows)
    finder = make_finder(sam, settings)
    if is_scene(place):
        windows = _scene_settings(options, _side(sam, finder.tile), overlap)
        return _segment_scene(finder, paths[0], place, source, options, windows)
    if finder.is_head and overlap >= 0:
        raise UserError("overlap is of tiles that are searched by a grid: a head has its own")
    overlap = 0 if finder.is_head else _overlap(finder.tile, overlap, settings)
    return ImageSearch(finder, place, overlap, overlay, overwrite).segment(paths)


def _side(sam: Sam, tile: int) -> int:
    """Side of a scene's windows: a head blends its views in each."""
    return max(sam.reading.tile or sam.image_size, _VIEWS_A_WINDOW * tile if sam.heads else 0)


def is_scene(out: Path) -> bool:
    """Whether the file to write is one of a GIS.

    Raises:
        UserError: it is of a kind that is not written.
    """
    from samtune.inference.geo.writing import DRIVERS, RASTERS

    known = (*DRIVERS, *RASTERS)
    if out.suffix.lower() in _MISTAKEN:
        raise UserError(f"out is {out}, which is not written: give {', '.join(known)}, or a folder")
    return out.suffix.lower() in known


def _require_images(
    out: Path, paths: list[Path], prompts: Path | None, options: SceneOptions, overwrite: bool
) -> None:
    """Images take no options of scenes, and are not written over.

    Raises:
        UserError: one was given, or files would be lost.
    """
    from samtune.images.naming import list_images

    usual = asdict(SceneOptions())
    given = [f"scene.{name}" for name, value in asdict(options).items() if value != usual[name]]
    if names := ["prompts"] * (prompts is not None) + given:
        raise UserError(f"{names[0]} is for scenes: give out as FILE.gpkg, or leave it out")
    images = list_images(paths)
    if out.resolve() in {path.resolve().parent for path in images.values()}:
        raise UserError(f"{out} holds the images, which would be replaced: name another folder")
    require_new(out, overwrite)


def _overlap(tile: int, overlap: int, settings: SearchSettings) -> int:
    """Of the tiles of an image.

    Raises:
        UserError: they make no sense.
    """
    if tile == 0:
        return 0
    overlap = overlap if overlap >= 0 else tile // 4
    if tile < _LEAST_TILE or overlap >= tile:
        raise UserError(
            f"reading.tile is {tile} and overlap {overlap}: give {_LEAST_TILE} pixels or more (0: the "
            "whole image) and an overlap below that"
        )
    if settings.crop_n_layers:
        raise UserError(
            f"search.crop_n_layers is for whole images, not for tiles of {tile}: set reading.tile to 0"
        )
    return overlap


def _require_scene(
    out: Path, paths: list[Path], prompts: Path | None, options: SceneOptions, overlay: bool,
    overwrite: bool,
) -> None:  # fmt: skip
    """Say before the work what cannot be meant.

    Raises:
        UserError: several scenes for one file, options that mean nothing for it, or it is there, or
            is what would be read.
    """
    if len(paths) != 1:
        raise UserError(f"{out} holds one scene: {len(paths)} were given")
    if overlay:
        raise UserError("overlay is for images: open the file in a GIS over its scene instead")
    if (options.class_column or options.layer) and prompts is None:
        raise UserError("scene.class_column and scene.layer are of prompts: none are given")
    if options.class_name and prompts is not None:
        raise UserError(
            "scene.class_name is for what is found without prompts: give scene.class_column"
        )
    if out.is_dir():
        raise UserError(f"{out} is a folder: give the name of a file")
    inputs = [paths[0], *([prompts] if prompts else [])]
    if any(out.resolve() == path.resolve() for path in inputs):
        raise UserError(f"{out} is what is read, and would be replaced: name another file")
    require_new(out, overwrite)


def _require_no_class_name(options: SceneOptions, who: str) -> None:
    """Refuse one name for all where each has its own.

    Raises:
        UserError: there is one.
    """
    if options.class_name:
        raise UserError(
            f"scene.class_name would name all that is found, and the model ({who}) tells of each what "
            "it is: leave it out"
        )


def _scene_settings(options: SceneOptions, side: int, overlap: int) -> SceneSettings:
    from samtune.inference.geo.scenes import SceneSettings

    overlap = overlap if overlap >= 0 else side // 4
    if side < _LEAST_TILE or not 0 <= overlap < side:
        raise UserError(
            f"reading.tile is {side} and overlap {overlap}: give an overlap below the tile's side"
        )
    if options.min_area < 0 or options.simplify < 0:
        raise UserError("scene.min_area and scene.simplify cannot be below 0")
    return SceneSettings(
        side,
        overlap,
        options.min_area,
        options.simplify,
        options.class_name,
        options.cog,
        options.focus == "auto",
    )


def _segment_scene(
    finder: Finder, path: Path, out: Path, prompts: Path | None, options: SceneOptions,
    settings: SceneSettings,
) -> Segmentation:  # fmt: skip
    from samtune.data.geo.raster import open_scene
    from samtune.data.geo.vector import read_polygons
    from samtune.inference.geo.scenes import find_everything, segment_prompted, segment_scene

    sam, hint, about = finder.sam, finder.hint, finder.causes
    if "classes" in about:
        _require_no_class_name(options, "classes")
    scene = open_scene(path, sam.reading)
    if prompts is None:
        count = segment_scene(scene, find_everything(finder.search), out, settings, about)
        return Segmentation(out, {path.name: count}, tile=settings.side, hint=hint)
    features = read_polygons(prompts, options.class_column, layer=options.layer, with_points=True)
    causes = {
        **about, "calibration": sam.calibration and asdict(sam.calibration),
        "multimask": sam.with_multimask,
    }  # fmt: skip
    count = segment_prompted(scene, sam, features, out, settings, causes)
    notes = list(features.notes)
    return Segmentation(
        out, {path.name: count}, tile=settings.side, notes=notes, num_prompts=len(features)
    )
