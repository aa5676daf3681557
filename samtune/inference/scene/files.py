"""Objects of a scene as files for GIS: GeoPackage, GeoJSON, Shapefile, FlatGeobuf, GeoTIFF, COG."""

import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.geo.frames import WGS84, pixel_to_crs, to_crs
from samtune.data.geo.raster import Scene, Window
from samtune.errors import UserError, require

DRIVERS = {".gpkg": "GPKG", ".geojson": "GeoJSON", ".shp": "ESRI Shapefile", ".fgb": "FlatGeobuf"}
RASTERS = (".tif", ".tiff")


@dataclass(frozen=True)
class MapObjects:
    """Objects of a scene with their attributes, one entry each.

    Attributes:
        outlines: polygons or multipolygons in the scene's CRS.
        columns: attributes by name.
    """

    outlines: NDArray[np.object_]
    columns: dict[str, NDArray[Any]]


def require_format(path: Path, scene: Scene) -> None:
    """Say at once that a scene's objects cannot be written as the suffix says.

    Raises:
        UserError: it is of no known format, or GeoJSON and the scene lies nowhere on the earth.
    """
    if path.suffix.lower() not in (*DRIVERS, *RASTERS):
        raise UserError(
            f"{path} has no known suffix: give one of {', '.join((*DRIVERS, *RASTERS))}"
        )
    if DRIVERS.get(path.suffix.lower()) == "GeoJSON" and scene.crs:
        try:
            to_crs(pixel_to_crs(scene, np.zeros((1, 2))), scene.crs, WGS84)
        except UserError as error:
            raise UserError(
                f"{scene.path} has no way to the longitudes and latitudes of GeoJSON, give a .gpkg "
                f"instead: {error}"
            ) from error


def write_polygons(path: Path, objects: MapObjects, scene: Scene) -> None:
    """Write a vector file, atomically; GeoJSON in longitude and latitude, as RFC 7946 wants it."""
    raw, shapely = require("pyogrio.raw", "geo"), require("shapely", "geo")
    outlines, crs, driver = objects.outlines, scene.crs, DRIVERS[path.suffix.lower()]
    if driver == "GeoJSON" and crs:
        outlines = shapely.transform(outlines, lambda xy: to_crs(xy, scene.crs, WGS84))
        crs = WGS84
    kinds = {"geometry_type": "MultiPolygon", "promote_to_multi": True}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        with warnings.catch_warnings():  # a scene without a CRS has none to write
            warnings.filterwarnings("ignore", message=".*'crs' was not provided.*")
            raw.write(
                Path(folder) / path.name, shapely.to_wkb(outlines), list(objects.columns.values()),
                list(objects.columns), driver=driver, crs=crs or None, **kinds,
            )  # fmt: skip
        for part in sorted(Path(folder).iterdir()):  # a Shapefile is several
            part.replace(path.parent / part.name)


def write_labels(
    path: Path, scene: Scene, parts: Iterable[tuple[Window, NDArray[np.int32]]], is_cog: bool
) -> None:
    """Write a label raster on the scene's grid window by window, atomically.

    Args:
        path: the GeoTIFF.
        scene: whose grid it has.
        parts: windows that do not overlap, with the numbers of objects there.
        is_cog: rearrange it as a cloud-optimised GeoTIFF at the end.
    """
    rasterio, affine = require("rasterio", "geo"), require("affine", "geo").Affine
    grid = {"height": scene.height, "width": scene.width, "count": 1, "dtype": "int32"}
    grid |= {"crs": scene.crs, "transform": affine(*scene.transform)} if scene.crs else {}
    tiling = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        plain, final = Path(folder) / "plain.tif", Path(folder) / path.name
        with rasterio.open(
            plain, "w", driver="GTiff", BIGTIFF="IF_SAFER", **grid, **tiling
        ) as file:
            for window, labels in parts:
                place = (window.y, window.y + window.height), (window.x, window.x + window.width)
                file.write(labels, 1, window=place)
        if is_cog:
            options = {"driver": "COG", "compress": "deflate", "resampling": "nearest"}
            require("rasterio.shutil", "geo").copy(plain, final, **options)
        (final if is_cog else plain).replace(path)
