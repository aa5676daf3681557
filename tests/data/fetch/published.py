"""Tiny archives in the layouts that the publishers chose, written down independently of the recipes.

Every image is noise; its object is the square `SQUARE`, so that a test can tell what came back.
"""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import tifffile
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

HW = (40, 48)
SQUARE = (slice(8, 24), slice(16, 40))
PIXEL = 2.7e-6  # degrees, about 0.3 m


def noise(seed, hw=HW, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 255, (*hw, 3)).astype(dtype)


def square(value=255, hw=HW):
    mask = np.zeros(hw, np.uint8)
    mask[SQUARE] = value
    return mask


def encode(values, kind, **settings):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **settings)
    return buffer.getvalue()


def tiff(values, **settings):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, values, **settings)
    return buffer.getvalue()


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar_gz(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path, files):
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def dsb2018(folder):
    """stage1_train.zip: a folder for each image, RGBA, a mask file for each nucleus."""
    files = {}
    for number in range(10):
        name = f"{number:064x}"
        alpha = np.dstack([noise(number), np.full(HW, 255, np.uint8)])
        files[f"{name}/images/{name}.png"] = encode(alpha, "PNG")
        second = np.zeros(HW, np.uint8)
        second[30:36, 4:12] = 255
        for index, mask in enumerate((square(), second)):
            files[f"{name}/masks/{number}{index:063x}.png"] = encode(mask, "PNG")
    return [write_zip(folder / "stage1_train.zip", files)]


def kvasir_seg(folder):
    """kvasir-seg.zip: JPEG images and JPEG masks of one name, boxes as JSON."""
    files = {"Kvasir-SEG/kavsir_bboxes.json": b"{}", "__MACOSX/Kvasir-SEG/images/._a.jpg": b"junk"}
    for number in range(10):
        name = f"cju0{number:021d}.jpg"
        files[f"Kvasir-SEG/images/{name}"] = encode(noise(number), "JPEG")
        mask = np.repeat(square()[..., None], 3, axis=2)
        files[f"Kvasir-SEG/masks/{name}"] = encode(mask, "JPEG", quality=95)
    return [write_zip(folder / "kvasir-seg.zip", files)]


def cvc_clinicdb(folder):
    """CVC-ClinicDB.rar, unpacked: frames 1 to 612 as TIFF; here every twelfth."""
    files = {}
    for number in range(1, 613, 12):
        files[f"Original/{number}.tif"] = tiff(noise(number))
        files[f"Ground Truth/{number}.tif"] = tiff(square())
    return [write_folder(folder / "CVC-ClinicDB", files)]


def isic2018_task1(folder):
    """Six archives, each with one folder of its own name, and texts beside the images."""
    given, first = [], 0
    for split, count in (("Training", 5), ("Validation", 2), ("Test", 3)):
        images = f"ISIC2018_Task1-2_{split}_Input"
        masks = f"ISIC2018_Task1_{split}_GroundTruth"
        names = [f"ISIC_{number:07d}" for number in range(first, first + count)]
        first += count
        inputs = {f"{images}/{name}.jpg": encode(noise(1), "JPEG") for name in names}
        inputs |= {f"{images}/LICENSE.txt": b"terms", f"{images}/ATTRIBUTION.txt": b"whose"}
        given.append(write_zip(folder / f"{images}.zip", inputs))
        truth = {f"{masks}/{name}_segmentation.png": encode(square(), "PNG") for name in names}
        given.append(write_zip(folder / f"{masks}.zip", truth))
    return given


def _drive(folder, with_test):
    inner = {}
    for name, numbers in (("training", range(21, 41)), ("test", range(1, 21))):
        files = {}
        for number in numbers:
            files[f"{name}/images/{number:02d}_{name}.tif"] = tiff(noise(number))
            files[f"{name}/mask/{number:02d}_{name}_mask.gif"] = encode(square(), "GIF")
            if name == "training" or with_test:
                files[f"{name}/1st_manual/{number:02d}_manual1.gif"] = encode(square(), "GIF")
        inner[f"{name}.zip"] = write_zip(folder / f"{name}.zip", files).read_bytes()
    return [write_zip(folder / "datasets.zip", inner)]


def drive(folder):
    """datasets.zip with training.zip and test.zip: TIFF images, GIF masks, the field of view too."""
    return _drive(folder, True)


def drive_without_test(folder):
    """The same with the truth of the test kept back."""
    return _drive(folder, False)


def synapse_ct(folder):
    """RawData.zip: 30 volumes with labels in Training, volumes alone in Testing."""
    import nibabel

    def nifti(values):
        return gzip.compress(nibabel.Nifti1Image(values, np.diag([1, 1, 3, 1])).to_bytes())

    ct = nifti(np.random.default_rng(0).integers(-200, 300, (16, 16, 4)).astype(np.int16))
    organs = np.zeros((16, 16, 4), np.uint8)
    organs[4:8, 4:8], organs[10:14, 10:14] = 6, 13
    files = {f"RawData/Training/img/img{n:04d}.nii.gz": ct for n in range(1, 41) if not 10 < n < 21}
    files |= {name.replace("img", "label"): nifti(organs) for name in files}
    files["RawData/Testing/img/img0061.nii.gz"] = ct
    return [write_zip(folder / "RawData.zip", files)]


def _geotiff(values, place):
    with MemoryFile() as memory:
        facts = {"height": HW[0], "width": HW[1], "count": 3, "dtype": values.dtype}
        with memory.open(driver="GTiff", crs="EPSG:4326", transform=place, **facts) as file:
            file.write(np.moveaxis(values, 2, 0))
        return memory.read()


def _house(place):
    """The square as GeoJSON."""
    left, top = place * (SQUARE[1].start, SQUARE[0].start)
    right, bottom = place * (SQUARE[1].stop, SQUARE[0].stop)
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    house = {"type": "Feature", "properties": {}, "geometry": polygon}
    return json.dumps({"type": "FeatureCollection", "features": [house]}).encode()


def spacenet_vegas(folder):
    """A tar of GeoTIFFs in several products, and GeoJSON; 200 m apart, as on a grid."""
    files = {}
    for number in range(60):
        place = from_origin(
            -115.30 + 0.002 * (number % 10), 36.20 - 0.002 * (number // 10), PIXEL, PIXEL
        )
        stem, name = "AOI_2_Vegas_Train", f"AOI_2_Vegas_img{number + 1}"
        pixels = _geotiff(noise(number, dtype=np.uint16), place)
        files[f"{stem}/RGB-PanSharpen/RGB-PanSharpen_{name}.tif"] = pixels
        files[f"{stem}/MUL/MUL_{name}.tif"] = pixels
        files[f"{stem}/geojson/buildings/buildings_{name}.geojson"] = _house(place)
    return [write_tar_gz(folder / "SN2_buildings_train_AOI_2_Vegas.tar.gz", files)]


def _massachusetts(folder, mask):
    files = {}
    for split, count in (("train", 5), ("valid", 2), ("test", 3)):
        for number in range(count):
            name = f"{22678915 + number + 15 * count}_15"
            files[f"{split}/sat/{name}.tiff"] = tiff(noise(number), photometric="rgb")
            files[f"{split}/map/{name}.tif"] = mask
    return [write_folder(folder / "mass", files)]


def massachusetts_buildings(folder):
    """Folders of single files; buildings are red."""
    red = np.dstack([square(), *2 * [np.zeros(HW, np.uint8)]])
    return _massachusetts(folder, tiff(red, photometric="rgb"))


def massachusetts_roads(folder):
    """Folders of single files; roads are white."""
    return _massachusetts(folder, tiff(square()))


def landcover_ai(folder):
    """landcover.ai.v1.zip: orthophotos, classes 0 to 4, lists of tiles, the script that cuts them."""
    hw, files, names = (1030, 1540), {"split.py": b"print()"}, []
    for number in range(2):
        name = f"M-33-20-D-c-{number}-2"
        classes = square(3, hw)
        classes[520:530, 520:530] = 1
        files[f"images/{name}.tif"] = tiff(noise(number, hw), photometric="rgb")
        files[f"masks/{name}.tif"] = tiff(classes)
        names += [f"{name}_{tile}" for tile in (0, 1, 2, 4, 5, 6)]  # four a row, the last cut off
    for split, listed in (("train", names[:6]), ("val", names[6:8]), ("test", names[8:])):
        files[f"{split}.txt"] = "\n".join(listed).encode()
    return [write_zip(folder / "landcover.ai.v1.zip", files)]


def whu_buildings(folder):
    """A zip whose folders have spaces; tiles are numbered anew in each split; masks of 1 bit."""
    files, top = {}, "3. The cropped image tiles and raster labels"
    for split, count in (("train", 5), ("val", 2), ("test", 3)):
        for number in range(count):
            files[f"{top}/{split}/image/{number}.tif"] = tiff(noise(number), photometric="rgb")
            files[f"{top}/{split}/label/{number}.tif"] = tiff(
                square() > 0, photometric="minisblack"
            )
    return [write_zip(folder / "whu_aerial_tiles.zip", files)]
