"""Stacks in z of microscopes: TIFFs whose axes, by OME or ImageJ, say that pages are slices.

Pages that nothing is said of are slices where both image and labels have them, for channels of one
picture have no labels of their own.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.data.volumes.placement import LPS_TO_RAS, Geometry
from samtune.errors import UserError, first_line
from samtune.images.kinds import is_tiff

STACKS = (".ome.tiff", ".ome.tif", ".tiff", ".tif")
# Axes of a stack, all times in it being one: channels may come before or after
_AXES = ("ZYX", "CZYX", "ZCYX", "ZYXS")
# Of pages that nothing is said of
_UNNAMED = {"QYX": "ZYX", "IYX": "ZYX"}
# Millimetres of what OME and ImageJ measure in; micrometres where they do not say
_MILLIMETRES = {
    "nm": 1e-6, "µm": 1e-3, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "mm": 1.0, "cm": 10.0,
    "m": 1e3, "inch": 25.4,
}  # fmt: skip
_SIZE = re.compile(r'\b(PhysicalSize[XYZ](?:Unit)?)="([^"]*)"')


def is_stack(path: Path, with_unnamed: bool = False) -> bool:
    """Whether a file is a TIFF whose pages are slices, or may be by what else is known."""
    if not path.name.lower().endswith(STACKS) or not path.is_file() or not is_tiff(path):
        return False
    try:
        axes = str(_read(path, lambda tiff: _series(tiff).axes))
        return axes in _AXES or (with_unnamed and axes in _UNNAMED)
    except UserError:  # whoever reads it says what is wrong
        return False


def stack_geometry(path: Path) -> Geometry:
    """Shape and place of a stack: columns run to the left, rows to the back, slices to the head.

    Raises:
        UserError: the file is damaged, or no stack.
    """
    geometry: Geometry = _read(path, _geometry)
    return geometry


def stack_voxels(path: Path) -> NDArray[Any]:
    """(X, Y, Z) values, or (X, Y, Z, C) of several channels, as they are stored."""
    voxels: NDArray[Any] = _read(path, _voxels)
    return voxels


def _read(path: Path, take: Any) -> Any:
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            return take(tiff)
    except UserError as error:
        raise UserError(f"{path} {error}") from error
    except MemoryError:
        raise
    except Exception as error:  # tifffile raises whatever the bytes make it do
        raise UserError(f"{path} is no TIFF, or damaged: {first_line(error)}") from error


def _series(tiff: Any) -> Any:
    if len(tiff.series) != 1:
        raise UserError(f"is a TIFF of {len(tiff.series)} pictures: expected one stack")
    return tiff.series[0]


def _axes(tiff: Any) -> str:
    axes = str(_series(tiff).axes)
    return _UNNAMED.get(axes, axes)


def _geometry(tiff: Any) -> Geometry:
    series, axes = _series(tiff), _axes(tiff)
    if axes not in _AXES:
        raise UserError(
            f"is a TIFF with the axes {axes}: expected a stack in z ({', '.join(_AXES)})"
        )
    sizes = dict(zip(axes, (int(n) for n in series.shape), strict=True))
    channels = sizes.get("C", 1) * sizes.get("S", 1)
    spacing = _spacing(tiff)
    affine = LPS_TO_RAS @ np.diag([*(spacing or (1.0, 1.0, 1.0)), 1.0])
    measured = (spacing is not None,) * 3
    shape = (sizes["X"], sizes["Y"], sizes["Z"])
    is_coloured = "S" in sizes and series.dtype == np.uint8 and sizes["S"] == 3
    return Geometry(shape, affine, None, measured, channels, is_coloured)


def _voxels(tiff: Any) -> NDArray[Any]:
    series = _series(tiff)
    values, axes = series.asarray(), _axes(tiff)
    order = [axes.index(axis) for axis in "XYZ"]
    order += [number for number, axis in enumerate(axes) if axis in "CS"]
    return np.asarray(values.transpose(order))


def _spacing(tiff: Any) -> tuple[float, float, float] | None:
    """Millimetres between columns, rows and slices; `None` where the file does not say."""
    found = _ome_spacing(tiff.ome_metadata or "") or _imagej_spacing(tiff)
    is_sound = found is not None and all(np.isfinite(each) and each > 0 for each in found)
    return found if is_sound else None


def _ome_spacing(text: str) -> tuple[float, float, float] | None:
    """By the attributes of OME's first picture, taken as text: no XML is parsed for them."""
    values: dict[str, str] = {}
    for name, value in _SIZE.findall(text):
        values.setdefault(name, value)
    sizes = [values.get(f"PhysicalSize{axis}", "") for axis in "XYZ"]
    if not all(sizes):
        return None
    units = [values.get(f"PhysicalSize{axis}Unit", "µm") for axis in "XYZ"]
    x, y, z = (_number(s) * _MILLIMETRES.get(u, 1e-3) for s, u in zip(sizes, units, strict=True))
    return x, y, z


def _imagej_spacing(tiff: Any) -> tuple[float, float, float] | None:
    """By ImageJ's spacing of slices and the resolution of its first page, pixels a unit."""
    metadata, tags = tiff.imagej_metadata or {}, tiff.pages[0].tags
    if "spacing" not in metadata or "XResolution" not in tags or "YResolution" not in tags:
        return None
    unit = str(metadata.get("unit", "micron")).encode().decode("unicode_escape")
    scale = _MILLIMETRES.get(unit, 1e-3)
    across, down = (_per_unit(tags[name].value) for name in ("XResolution", "YResolution"))
    return across * scale, down * scale, _number(metadata["spacing"]) * scale


def _per_unit(resolution: Any) -> float:
    number, units = resolution
    return float(units) / float(number) if number else float("nan")


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
