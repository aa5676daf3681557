"""A small valid data set in each format that samtune reads: an image of one object."""

import io
import json
import shutil
import tarfile

import numpy as np
from PIL import Image

from samtune.data.formats import open_splits
from samtune.data.settings import SourceSettings, SplitSettings
from samtune.masks import mask_to_rle
from tests.data.conftest import write_png

HW = (12, 16)
PIXELS = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)
LABELS = np.zeros(HW, np.uint8)
LABELS[2:8, 3:11] = 1
CORNERS = [[3, 2], [11, 2], [11, 8], [3, 8]]


def png(values):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG")
    return buffer.getvalue()


def mask_folder(folder):
    write_png(folder / "images" / "a.png", PIXELS)
    write_png(folder / "labels" / "a.png", LABELS)
    (folder / "manifest.csv").write_text("id,split\na,train\n")


def masks_of_objects(folder):
    write_png(folder / "images" / "a.png", PIXELS)
    write_png(folder / "masks" / "a" / "1.png", LABELS)


def masks_beside(folder):
    write_png(folder / "a.png", PIXELS)
    write_png(folder / "a_mask.png", LABELS)
    (folder / "_classes.csv").write_text("Pixel Value, Class\n1, x\n")


def folder_per_image(folder):
    write_png(folder / "a" / "images" / "a.png", PIXELS)
    write_png(folder / "a" / "masks" / "1.png", 255 * LABELS)


def cell_tracking(folder):
    write_png(folder / "01" / "t000.tif", PIXELS)
    write_png(folder / "01_GT" / "SEG" / "man_seg000.tif", LABELS)


def cvat_video(folder):
    write_png(folder / "images" / "frame_000000.png", PIXELS)
    points = ";".join(f"{x},{y}" for x, y in CORNERS)
    (folder / "annotations.xml").write_text(
        "<annotations><meta><task><size>1</size></task></meta><track id='0' label='x'>"
        f"<polygon frame='0' outside='0' points='{points}'/></track></annotations>"
    )


def coco(folder):
    write_png(folder / "images" / "a.png", PIXELS)
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [np.ravel(CORNERS).tolist()]},
        {"id": 2, "image_id": 1, "category_id": 1, "segmentation": mask_to_rle(LABELS > 0)},
    ]
    images = [{"id": 1, "file_name": "a.png", "height": HW[0], "width": HW[1]}]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "x"}]}
    (folder / "coco.json").write_text(json.dumps(content))


def yolo(folder):
    write_png(folder / "images" / "a.png", PIXELS)
    (folder / "labels").mkdir()
    shares = " ".join(str(share) for share in (np.array(CORNERS) / HW[::-1]).ravel())
    (folder / "labels" / "a.txt").write_text(f"0 {shares}\n")
    (folder / "train.txt").write_text("images/a.png\n")
    (folder / "data.yaml").write_text("train: train.txt\nnames: [x]\n")


def labelme(folder):
    write_png(folder / "a.png", PIXELS)
    shape = {"label": "x", "points": CORNERS, "shape_type": "polygon", "group_id": None}
    content = {"shapes": [shape], "imagePath": "a.png", "imageHeight": HW[0], "imageWidth": HW[1]}
    (folder / "a.json").write_text(json.dumps(content))


def voc(folder):
    write_png(folder / "JPEGImages" / "a.jpg", PIXELS)
    write_png(folder / "SegmentationObject" / "a.png", LABELS)
    write_png(folder / "SegmentationClass" / "a.png", LABELS)
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True)
    (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("a\n")
    (folder / "labelmap.txt").write_text("background:0,0,0::\nx:128,0,0::\n")


def cvat(folder):
    write_png(folder / "images" / "a.png", PIXELS)
    points = ";".join(f"{x},{y}" for x, y in CORNERS)
    (folder / "annotations.xml").write_text(
        f'<annotations><image id="0" name="a.png" width="{HW[1]}" height="{HW[0]}">'
        f'<polygon label="x" points="{points}"/></image></annotations>'
    )


def label_studio(folder):
    write_png(folder / "images" / "a.png", PIXELS)
    points = (100 * np.array(CORNERS) / HW[::-1]).tolist()
    value = {"points": points, "polygonlabels": ["x"]}
    result = {"id": "r", "type": "polygonlabels", "value": value}
    task = {"id": 1, "data": {"image": "a.png"}, "annotations": [{"result": [result]}]}
    (folder / "project.json").write_text(json.dumps([task]))


def shards(folder):
    rle = {"annotations": [{"id": 1, "segmentation": mask_to_rle(LABELS > 0)}]}
    members = {"a.png": png(PIXELS), "a.seg.png": png(LABELS), "b.png": png(PIXELS),
               "b.json": json.dumps(rle).encode()}  # fmt: skip
    with tarfile.open(folder / "train-0.tar", "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def nnunet(folder):
    write_png(folder / "imagesTr" / "a_0000.png", PIXELS)
    write_png(folder / "labelsTr" / "a.png", LABELS)
    about = {
        "channel_names": {"0": "R"},
        "labels": {"background": 0, "x": 1},
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(about))


def volumes(folder):
    import nibabel

    for kind, values in (("images", PIXELS), ("labels", np.repeat(LABELS[..., None], 3, axis=2))):
        (folder / kind).mkdir(parents=True)
        volume = nibabel.Nifti1Image(values.astype(np.int16), np.diag([1.0, 1.0, 3.0, 1.0]))
        nibabel.save(volume, folder / kind / "p.nii.gz")


def geo(folder):
    import rasterio

    place = rasterio.transform.from_origin(500_000, 6_000_000, 2, 2)
    about = {"driver": "GTiff", "count": 3, "height": HW[0], "width": HW[1], "dtype": "uint8",
             "crs": "EPSG:32633", "transform": place}  # fmt: skip
    with rasterio.open(folder / "a.tif", "w", **about) as scene:
        scene.write(np.moveaxis(PIXELS, 2, 0))
    ring = [place * (x, y) for x, y in (*CORNERS, CORNERS[0])]
    polygon = {"type": "Polygon", "coordinates": [ring]}
    content = {
        "type": "FeatureCollection",
        "crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}},
        "features": [{"type": "Feature", "properties": {"class": "x"}, "geometry": polygon}],
    }
    (folder / "a.geojson").write_text(json.dumps(content))


def _rows():
    import datasets

    datasets.disable_progress_bars()
    content = {name: [{"bytes": png(v), "path": None}] for name, v in
               (("image", PIXELS), ("instances", LABELS))}  # fmt: skip
    features = datasets.Features(image=datasets.Image(), instances=datasets.Image())
    return datasets.Dataset.from_dict(content, features)


def hub(folder):
    _rows().save_to_disk(folder / "saved")
    for file in (folder / "saved").iterdir():
        file.rename(folder / file.name)
    (folder / "saved").rmdir()


def parquet(folder):
    _rows().to_parquet(folder / "train.parquet")


def itk_volumes(folder):
    import SimpleITK

    for kind, values in (("images", PIXELS), ("labels", np.repeat(LABELS[..., None], 3, axis=2))):
        (folder / kind).mkdir()
        image = SimpleITK.GetImageFromArray(values.astype(np.int16).T.copy())
        for ending in ("nrrd", "mha"):
            SimpleITK.WriteImage(image, str(folder / kind / f"{ending}.{ending}"))


def dicom_series(folder):
    """A series of three slices, and a SEG of the object."""
    from samtune.data.volumes.segments import Segment
    from samtune.data.volumes.voxels import read_geometry
    from samtune.data.volumes.writing import write_volume_labels

    for number in range(3):
        write_slice(folder / "images" / "p" / f"{number}.dcm", PIXELS[..., number], number)
    shape = read_geometry(folder / "images" / "p").ras_shape
    mask = np.zeros(shape, bool)
    mask[3:11, 2:8] = True
    (folder / "labels").mkdir()
    segments = [Segment(1, "x", int(mask.sum()), lambda: mask)]
    write_volume_labels(folder / "labels" / "p.dcm", folder / "images" / "p", segments)


def write_slice(file, values, number=0, **more):
    """A slice of CT as a file of DICOM."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{number + 1}"
    dataset = FileDataset(str(file), {}, file_meta=meta, preamble=b"\0" * 128)
    said = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": "1.2.3.1", "SeriesInstanceUID": "1.2.3.2",
        "FrameOfReferenceUID": "1.2.3.3", "PatientName": "x", "PatientID": "1",
        "PatientBirthDate": "", "PatientSex": "", "StudyDate": "", "StudyTime": "", "StudyID": "",
        "AccessionNumber": "", "ReferringPhysicianName": "", "SeriesNumber": 1, "Manufacturer": "",
        "Modality": "CT", "InstanceNumber": number + 1, "PositionReferenceIndicator": "",
        "Rows": values.shape[0], "Columns": values.shape[1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "PixelSpacing": [0.5, 0.5], "SliceThickness": 2,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "ImagePositionPatient": [0, 0, 2 * number],
        "RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400,
        **more,
    }  # fmt: skip
    for name, value in said.items():
        setattr(dataset, name, value)
    dataset.PixelData = values.astype(np.uint16).tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(file, enforce_file_format=True)


def label_raster(folder):
    geo(folder)
    (folder / "a.geojson").unlink()
    import rasterio

    with rasterio.open(folder / "a.tif") as scene:
        about = scene.profile | {"count": 1}
    with rasterio.open(folder / "a_labels.tif", "w", **about) as labels:
        labels.write(LABELS[None])
    names = "<CategoryNames><Category/><Category>x</Category></CategoryNames>"
    (folder / "a_labels.tif.aux.xml").write_text(
        f"<PAMDataset><PAMRasterBand band='1'>{names}</PAMRasterBand></PAMDataset>"
    )


def vectors(folder):
    """Scenes with their polygons in each kind of file."""
    import pyogrio.raw
    import rasterio

    geo(folder)
    with rasterio.open(folder / "a.tif") as scene:
        ring = [scene.transform * (x, y) for x, y in (*CORNERS, CORNERS[0])]
    import shapely

    shapes = shapely.to_wkb(np.array([shapely.Polygon(ring)], object))
    for name in ("b.gpkg", "c.shp"):
        shutil.copyfile(folder / "a.tif", (folder / name).with_suffix(".tif"))
        pyogrio.raw.write(folder / name, shapes, [np.array(["x"], object)], ["class"],
                          geometry_type="Polygon", crs="EPSG:32633")  # fmt: skip


# By the name of the format, of the smallest layout; then other layouts, with the name of their format
FORMATS = {
    "mask_folder": mask_folder, "masks_of_objects": masks_of_objects, "coco": coco, "yolo": yolo,
    "labelme": labelme, "voc": voc, "cvat": cvat, "label_studio": label_studio, "shards": shards,
    "volumes": volumes, "geo": geo, "hub": hub, "masks_beside": masks_beside, "cvat_video": cvat_video,
    "nnunet": nnunet, "folder_per_image": folder_per_image, "cell_tracking": cell_tracking,
}  # fmt: skip
LAYOUTS = {
    "parquet": ("hub", parquet), "itk_volumes": ("volumes", itk_volumes),
    "dicom_series": ("volumes", dicom_series), "label_raster": ("geo", label_raster),
    "vectors": ("geo", vectors),
}  # fmt: skip
NEEDS = {"volumes": "nibabel", "geo": "rasterio", "hub": "datasets"}


def read_all(folder, name):
    """Each sample, the way a run reads it."""
    splits = SplitSettings(val_fraction=0, test_fraction=0)
    sources = open_splits(folder, name, SourceSettings(), splits).values()
    samples = []
    for source in sources:
        for index in range(len(source)):
            sample = source.read(index)
            assert sample.image.ndim == sample.labels.ndim == 3
            assert sample.image.shape[:2] == sample.labels.shape[1:] == source.hw(index)
            assert source.stored(index).shape[:2] == source.hw(index)
            samples.append(sample)
    return samples
