"""Small data sets, written to disk as a user would have them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def write_png(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def write():
    """Writes an array as an image file, with its folders."""
    return write_png


def scene(number: int, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """A (48, 64) image with squares in a row, and their labels 1..n."""
    image = np.random.default_rng(number).integers(0, 90, (48, 64, 3), dtype=np.uint8)
    labels = np.zeros((48, 64), np.uint16)
    for index in range(num_objects):
        window = (slice(6 + number, 20 + number), slice(2 + 12 * index, 12 + 12 * index))
        labels[window] = index + 1
        image[window] += np.uint8(100 + 10 * index)
    return image, labels


NUM_OBJECTS = (2, 0, 5, 1, 3, 4, 2)


@pytest.fixture(scope="session")
def scenes_folder(tmp_path_factory):
    """Seven images s0..s6 with 2, 0, 5, 1, 3, 4 and 2 objects."""
    folder = tmp_path_factory.mktemp("scenes")
    for number, num_objects in enumerate(NUM_OBJECTS):
        image, labels = scene(number, num_objects)
        write_png(folder / "images" / f"s{number}.png", image)
        write_png(folder / "labels" / f"s{number}.png", labels)
    return folder


@pytest.fixture
def broken_folder(tmp_path):
    """Four images of one object each, the second of which is half a file."""
    for number in range(4):
        image, labels = scene(number, 1)
        write_png(tmp_path / "images" / f"s{number}.png", image)
        write_png(tmp_path / "labels" / f"s{number}.png", labels)
    broken = tmp_path / "images" / "s1.png"
    broken.write_bytes(broken.read_bytes()[:2000])
    return tmp_path


@pytest.fixture
def write_scene(tmp_path):
    """Writes a GeoTIFF: `write_scene("a.tif", (bands, H, W) values, nodata=...)`."""
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("pyogrio")

    def write(name, values, crs="EPSG:32632", size=2.0, corner=(500_000.0, 6_000_000.0), names=(),
              **more):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        from_origin = rasterio.transform.from_origin
        grid = {} if crs is None else {"crs": crs, "transform": from_origin(*corner, size, size)}
        with rasterio.open(
            path, "w", driver="GTiff", count=len(values), height=values.shape[1],
            width=values.shape[2], dtype=values.dtype, **grid, **more,
        ) as file:  # fmt: skip
            file.write(values)
            for number, band in enumerate(names, start=1):
                file.set_band_description(number, band)
        return path

    return write


@pytest.fixture
def write_polygons(tmp_path):
    """Writes shapely geometries: `write_polygons("a.gpkg", shapes, crs=..., kind=[...])`."""
    raw, shapely = pytest.importorskip("pyogrio.raw"), pytest.importorskip("shapely")

    def write(name, shapes, crs="EPSG:32632", **columns):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = [np.array(values, object) for values in columns.values()]
        raw.write(
            path, shapely.to_wkb(np.array(shapes, object)), data, list(columns),
            geometry_type="Unknown" if path.suffix != ".shp" else "Polygon", crs=crs,
        )  # fmt: skip
        return path

    return write


@pytest.fixture
def write_rtstruct():
    """Writes an RTSTRUCT file of contours (N, 3) in millimetres, by region; kinds of contours too."""
    pydicom = pytest.importorskip("pydicom")

    def write(path, regions, kinds=None):
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.RTStructureSetStorage
        meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
        dataset = pydicom.dataset.FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SOPClassUID, dataset.Modality = meta.MediaStorageSOPClassUID, "RTSTRUCT"
        dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
        for number, (name, contours) in enumerate(regions.items(), start=1):
            region, drawn = pydicom.Dataset(), pydicom.Dataset()
            region.ROINumber, region.ROIName = number, name
            drawn.ReferencedROINumber, drawn.ContourSequence = number, []
            for points in contours:
                contour = pydicom.Dataset()
                contour.ContourGeometricType = (kinds or {}).get(name, "CLOSED_PLANAR")
                contour.ContourData = np.asarray(points, float).ravel().tolist()
                drawn.ContourSequence.append(contour)
            dataset.StructureSetROISequence.append(region)
            dataset.ROIContourSequence.append(drawn)
        dataset.save_as(path, enforce_file_format=True)
        return path

    return write
