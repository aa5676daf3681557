"""Which files are scenes, and which hold their objects."""

from pathlib import Path

from samtune.data.geo.kinds import UNSURE_SUFFIXES, VECTOR_SUFFIXES, holds_vectors
from samtune.data.geo.raster import opened
from samtune.errors import UserError
from samtune.files import files_ending, find_called, name_key
from samtune.images.kinds import IMAGE_SUFFIXES

RASTER_SUFFIXES = (".tif", ".tiff", ".vrt", ".jp2")
_OBJECT_SUFFIXES = (*VECTOR_SUFFIXES, *UNSURE_SUFFIXES)
# Pictures and masks that no map has.
_PLAIN_SUFFIXES = tuple(set(IMAGE_SUFFIXES) - set(RASTER_SUFFIXES))
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_LABEL_FOLDERS, _LABEL_ENDINGS = ("labels", "masks"), ("_labels", "_label", "_mask")


def scene_files(path: Path) -> list[Path]:
    """Rasters of a folder, or of its folder `images`, that are not labels of others."""
    if path.is_file():
        return [path]
    folder = path / "images" if (path / "images").is_dir() else path
    files = files_ending(folder, RASTER_SUFFIXES)
    if not files:  # pictures with polygons of their own names, in pixels, as QuPath exports them
        pictures = files_ending(folder, _PICTURE_SUFFIXES)
        files = [f for f in pictures if any(f.with_suffix(s).is_file() for s in VECTOR_SUFFIXES)]
    stems = {name_key(file.stem) for file in files}
    return [file for file in files if not _is_label_of(name_key(file.stem), stems)]


def _is_label_of(stem: str, stems: set[str]) -> bool:
    return any(stem.endswith(end) and stem.removesuffix(end) in stems for end in _LABEL_ENDINGS)


def holds_scenes(path: Path) -> bool:
    """Whether a folder has rasters, and polygons or label rasters for them beside them."""
    files = scene_files(path)
    if not files:
        return False
    if labels := _label_files(path):
        return _lie_on_a_map(files, labels)
    folders = {path, files[0].parent}
    return any(_vectors(folder) for folder in folders) or any(_beside(files[0]))


def _label_files(path: Path) -> list[Path]:
    return [file for name in _LABEL_FOLDERS for file in files_ending(path / name, "")]


def _lie_on_a_map(files: list[Path], labels: list[Path]) -> bool:
    """Whether labels in a folder are polygons, or rasters that say where they lie, as the images do.

    Otherwise they lie on the pixels of their images, as in any folder of masks.
    """
    others = {file.suffix.lower() for file in (*files[0].parent.glob("*"), *labels)}
    if others & set(_PLAIN_SUFFIXES):
        return False
    objects = [_beside(file)[:1] for file in files]
    if any(holds_vectors(file) for found in objects for file in found):
        return True
    return all(objects) and _have_crs(files[0], *objects[0])


def _have_crs(*files: Path) -> bool:
    try:
        for file in files:
            with opened(file) as raster:
                if not raster.crs:
                    return False
    except UserError:  # damaged, or no rasterio: whoever reads the file says it
        return False
    return True


def _vectors(folder: Path) -> list[Path]:
    return [file for file in files_ending(folder, _OBJECT_SUFFIXES) if holds_vectors(file)]


def _beside(scene: Path) -> list[Path]:
    """Files of the scene's own name that could hold its objects."""
    places = [scene.with_suffix(suffix) for suffix in _OBJECT_SUFFIXES]
    stems = [f"{scene.stem}{end}" for end in _LABEL_ENDINGS]
    places += [scene.with_name(f"{stem}{s}") for stem in stems for s in _OBJECT_SUFFIXES]
    places += [scene.with_name(f"{stem}{scene.suffix}") for stem in stems]
    for folder in (scene.parent, scene.parent.parent):
        for name in _LABEL_FOLDERS:
            suffixes = (*_OBJECT_SUFFIXES, *RASTER_SUFFIXES)
            places += [folder / name / f"{scene.stem}{suffix}" for suffix in suffixes]
    found = (file for place in places if (file := find_called(place)) and file != scene)
    return [f for f in found if not f.name.lower().endswith(UNSURE_SUFFIXES) or holds_vectors(f)]


def find_objects_file(scene: Path, path: Path, given: str) -> Path:
    """The vector file or label raster with the objects of a scene.

    Args:
        scene: the raster.
        path: the data's folder, or the scene itself.
        given: what `data.objects` says: a file, or a folder of files named like the scenes; empty
            looks beside the scene, then for the only vector file of the folder.

    Raises:
        UserError: there is none, or more than one could be meant.
    """
    if given:
        return _given_file(scene, path, Path(given))
    if found := _beside(scene):
        return found[0]
    folders = dict.fromkeys([scene.parent, path if path.is_dir() else path.parent])
    vectors = [file for folder in folders for file in _vectors(folder)]
    if len(vectors) == 1:
        return vectors[0]
    if vectors:
        names = ", ".join(file.name for file in vectors[:5])
        raise UserError(f"which file holds the objects of {scene}? Set data.objects: found {names}")
    raise UserError(
        f"{scene} has no objects beside it: expected {scene.stem}.geojson, .gpkg, .shp or "
        f"{scene.stem}_labels{scene.suffix}, or set data.objects"
    )


def _given_file(scene: Path, path: Path, given: Path) -> Path:
    folder = path if path.is_dir() else path.parent
    place = next((place for place in (given, folder / given) if place.exists()), None)
    if place is None:
        raise UserError(f"data.objects is {given}, which is neither there nor in {folder}")
    if place.is_file():
        return place
    for suffix in (*_OBJECT_SUFFIXES, *RASTER_SUFFIXES):
        if file := find_called(place / f"{scene.stem}{suffix}"):
            return file
    raise UserError(f"{place} holds no {scene.stem}.geojson, .gpkg, .shp or .tif for {scene}")
