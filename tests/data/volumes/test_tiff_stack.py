"""Stacks in z as OME-TIFF and ImageJ write them: slices in their order, with their sizes."""

import numpy as np
import pytest
import tifffile

from samtune.cli import main
from samtune.data.formats import recognise
from samtune.data.readers.volumes import Volumes
from samtune.data.settings import SourceSettings
from samtune.data.volumes.tiff_stack import is_stack
from samtune.data.volumes.voxels import read_geometry, read_voxels
from samtune.errors import UserError
from samtune.reading import Reading

# 5 slices of 20 rows and 24 columns, no two values alike
STACK = np.arange(5 * 20 * 24, dtype=np.uint16).reshape(5, 20, 24)
OME = {
    "axes": "ZYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25,
    "PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 2000, "PhysicalSizeZUnit": "nm",
}  # fmt: skip


def write(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, values, photometric="minisblack", **options)
    return path


def imagej(path, values, axes="ZYX", **more):
    metadata = {"axes": axes, "spacing": 2.0, "unit": "um", **more}
    return write(path, values, imagej=True, resolution=(4, 2), metadata=metadata)


def test_sizes_of_voxels_are_those_of_the_file(tmp_path):
    ome = read_geometry(write(tmp_path / "a.ome.tif", STACK, metadata=OME))
    assert ome.shape == (24, 20, 5)
    np.testing.assert_allclose(ome.spacing, (0.0005, 0.00025, 0.002))
    other = read_geometry(imagej(tmp_path / "b.tif", STACK))
    np.testing.assert_allclose(other.spacing, (0.00025, 0.0005, 0.002))
    plain = write(tmp_path / "c.ome.tif", STACK, metadata={"axes": "ZYX"})
    np.testing.assert_array_equal(read_geometry(plain).spacing, [np.nan] * 3)


def test_voxels_are_those_of_the_pages(tmp_path):
    voxels = read_voxels(imagej(tmp_path / "a.tif", STACK))
    # right-anterior-superior order: columns run to the left, rows to the back
    np.testing.assert_array_equal(voxels, STACK.transpose(2, 1, 0)[::-1, ::-1])


@pytest.mark.parametrize("axes", ["CZYX", "ZCYX"])
def test_channels_are_values_of_a_voxel(tmp_path, axes):
    both = np.stack([STACK, STACK + 3000], axis=axes.index("C"))
    path = write(tmp_path / "a.ome.tif", both, metadata={"axes": axes})
    voxels = read_voxels(path)
    assert voxels.shape == (24, 20, 5, 2)
    np.testing.assert_array_equal(voxels[..., 1], voxels[..., 0] + 3000)


@pytest.mark.parametrize(("values", "axes"), [(STACK[:2], "CYX"), (STACK, "TYX"), (STACK[0], "YX")])
def test_channels_times_and_single_pictures_are_no_stacks(tmp_path, values, axes):
    path = write(tmp_path / "a.ome.tif", values, metadata={"axes": axes})
    assert not is_stack(path)
    with pytest.raises(UserError, match=rf"axes {axes}: expected a stack in z"):
        read_geometry(path)


@pytest.fixture
def folder(tmp_path):
    """Three stacks with a cube each on slices 1 to 3."""
    labels = np.zeros(STACK.shape, np.uint8)
    labels[1:4, 4:14, 6:18] = 1
    image = np.random.default_rng(0).integers(100, 200, STACK.shape).astype(np.uint16)
    image[labels > 0] += 3000
    for name in "abc":
        imagej(tmp_path / "data" / "images" / f"{name}.tif", image)
        imagej(tmp_path / "data" / "labels" / f"{name}.tif", labels)
    return tmp_path / "data"


def test_a_folder_of_stacks_is_read_slice_by_slice(folder):
    assert recognise(folder) == "volumes"
    source = Volumes(folder, SourceSettings(Reading()))
    assert len(source) == 9
    sample = source.read(0)
    rows, columns = np.nonzero(sample.labels[0])
    # slices are shown as the pages of the file
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (4, 13, 6, 17)
    assert sample.image[8, 10].min() > 200 > sample.image[0, 0].max()


def test_an_object_is_carried_through_a_stack(folder, tmp_path):
    out = tmp_path / "out.nii.gz"
    flags = ["--slice", "2", "--box", "6,4,17,13", "--out", str(out)]
    assert main(["segment-volume", "nano", str(folder / "images" / "a.tif"), *flags]) == 0
    found = read_voxels(out)
    truth = read_voxels(folder / "labels" / "a.tif")
    overlap = ((found > 0) & (truth > 0)).sum()
    assert overlap > 0.8 * (truth > 0).sum()


def test_a_folder_of_pictures_stays_one(tmp_path):
    for kind in ("images", "labels"):
        write(tmp_path / kind / "a.tif", STACK[0])
    assert recognise(tmp_path) == "mask_folder"


def positions(folder):
    source = Volumes(folder, SourceSettings(Reading()))
    return [np.argwhere(source.read(n).labels[0]).min(0).tolist() for n in range(len(source))]


@pytest.mark.parametrize("of_image", [True, False])
@pytest.mark.parametrize("of_labels", [True, False])
def test_labels_that_say_no_sizes_lie_voxel_on_voxel(folder, of_image, of_labels):
    """As most programs save them: without the sizes of their image, or as pages of nothing at all."""
    expected = positions(folder)
    for kind, is_told in (("images", of_image), ("labels", of_labels)):
        for file in (folder / kind).iterdir():
            if not is_told:
                write(file, tifffile.imread(file))  # pages that nothing is said of
    assert recognise(folder) == "volumes"
    assert positions(folder) == expected == [[4, 6]] * 9
    spacing = dict(Volumes(folder, SourceSettings(Reading())).records[0].columns)
    assert bool(spacing) == of_image


def test_labels_of_other_sizes_are_refused(folder):
    for file in (folder / "labels").iterdir():
        imagej(file, tifffile.imread(file), spacing=40.0)
    with pytest.raises(UserError, match="lies elsewhere than its image"):
        positions(folder)


def test_pages_without_labels_of_as_many_are_no_slices(tmp_path):
    write(tmp_path / "images" / "a.tif", STACK)
    write(tmp_path / "labels" / "a.tif", STACK[0])
    assert recognise(tmp_path) == "mask_folder"
