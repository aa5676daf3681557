"""Scenes window by window, volumes slice by slice."""

import numpy as np
import pytest

from samtune.data.formats import recognise
from samtune.data.readers.volumes import Volumes
from samtune.data.volumes.slices import slice_of
from samtune.errors import UserError
from samtune.inference.prelabel.placed_mask import PlacedMask
from samtune.page.images import Pictures, open_images
from samtune.page.parts import SceneWindows, VolumeSlices
from samtune.page.session import Session
from samtune.reading import Reading
from tests.conftest import draw_discs


@pytest.fixture
def scene(tmp_path):
    """A scene of 1300 x 1100 pixels of half a metre, upper left corner at 600000, 5000000."""
    rasterio = pytest.importorskip("rasterio")
    image = np.random.default_rng(0).integers(0, 255, (3, 1300, 1100), dtype=np.uint8)
    path = tmp_path / "scene.tif"
    with rasterio.open(
        path, "w", driver="GTiff", height=1300, width=1100, count=3, dtype="uint8",
        crs="EPSG:32633", transform=rasterio.transform.from_origin(600000, 5000000, 0.5, 0.5),
    ) as file:  # fmt: skip
        file.write(image)
    return path, image


def test_a_scene_is_seen_in_windows_of_its_file(scene):
    path, image = scene
    found = open_images([path], Reading())
    windows = found.source
    assert isinstance(windows, SceneWindows)
    assert [record.image_id for record in windows.records] == [
        "scene@0,0", "scene@76,0", "scene@0,276", "scene@76,276",
    ]  # fmt: skip
    assert np.array_equal(windows.read(3).image, np.moveaxis(image[:, 276:1300, 76:1100], 0, 2))
    assert windows.corner_to_crs(3) == (0.5, 0.0, 600038.0, 0.0, -0.5, 4999862.0)


def test_accepted_objects_lie_on_the_map(scene, tuned, tmp_path):
    pyogrio = pytest.importorskip("pyogrio")
    shapely = pytest.importorskip("shapely")
    session = Session(tuned, True, open_images([scene[0]], Reading()), tmp_path / "kept")
    session.mend(3, PlacedMask(10, 20, np.ones((4, 6), np.bool_)))
    session.accept(3, "roof")
    _, _, shapes, fields = pyogrio.raw.read(tmp_path / "kept" / "objects.gpkg")
    (outline,) = shapely.from_wkb(shapes)
    # column 76 + 20 and row 276 + 10 of the scene, six columns and four rows of half a metre
    assert outline.bounds == (600048.0, 4999855.0, 600051.0, 4999857.0)
    assert outline.area == 6.0
    assert [field[0] for field in fields][:2] == ["roof", "hand"]
    session.delete(3, 1)
    assert len(pyogrio.raw.read(tmp_path / "kept" / "objects.gpkg")[2]) == 0


def objects_of_the_map(folder):
    """Outlines in pixels of the scene, and fields."""
    pyogrio, shapely = pytest.importorskip("pyogrio"), pytest.importorskip("shapely")
    _, _, shapes, fields = pyogrio.raw.read(folder / "kept" / "objects.gpkg")
    placed = shapely.transform(
        shapely.from_wkb(shapes), lambda xy: (xy - (600000, 5000000)) / (0.5, -0.5)
    )
    return placed, fields


def test_an_object_that_two_windows_see_is_one(scene, tuned, tmp_path):
    session = Session(tuned, True, open_images([scene[0]], Reading()), tmp_path / "kept")
    # columns 60 to 1039 of the scene, rows 300 to 309: the first window ends at 1024, the second begins
    # at 76
    session.mend(0, PlacedMask(300, 60, np.ones((10, 964), np.bool_)))
    session.accept(0, "road")
    (beside,) = session.objects_beside(1)
    assert (beside.mask.top, beside.mask.left, beside.mask.part.shape) == (300, 0, (10, 948))
    session.mend(1, PlacedMask(300, 0, np.ones((10, 964), np.bool_)))
    session.accept(1, "road")
    assert session.objects_beside(1) == []
    (outline,), fields = objects_of_the_map(tmp_path)
    assert outline.bounds == (60, 300, 1040, 310)
    assert outline.area == 9800
    assert next(field[0] for field in fields) == "road"
    # another class, or another place, is another object
    session.name(1, 1, "path")
    assert len(objects_of_the_map(tmp_path)[0]) == 2
    session.name(1, 1, "road")
    session.mend(1, PlacedMask(400, 100, np.ones((10, 30), np.bool_)))
    session.accept(1, "road")
    outlines, _ = objects_of_the_map(tmp_path)
    assert sorted(each.area for each in outlines) == [300, 9800]


def test_what_one_window_alone_sees_stays_wherever_it_lies(scene, tuned, tmp_path):
    session = Session(tuned, True, open_images([scene[0]], Reading()), tmp_path / "kept")
    # beyond the middle of the overlap, which belongs to the window on the right
    session.mend(0, PlacedMask(20, 1000, np.ones((6, 8), np.bool_)))
    session.accept(0, "roof")
    (outline,), _ = objects_of_the_map(tmp_path)
    assert outline.bounds == (1000, 20, 1008, 26)


def test_of_masks_that_differ_each_window_counts_up_to_the_middle(scene, tuned, tmp_path):
    session = Session(tuned, True, open_images([scene[0]], Reading()), tmp_path / "kept")
    # windows begin at column 0 and 76 and overlap from 76 to 1024: the middle is 550
    session.mend(0, PlacedMask(100, 500, np.ones((10, 100), np.bool_)))
    session.accept(0, "roof")
    session.mend(1, PlacedMask(100, 500 - 76, np.ones((14, 100), np.bool_)))
    session.accept(1, "roof")
    (outline,), _ = objects_of_the_map(tmp_path)
    assert outline.area == 50 * 10 + 50 * 14


def test_a_tiff_that_lies_nowhere_is_a_picture(tmp_path):
    import tifffile

    tifffile.imwrite(tmp_path / "a.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    assert isinstance(open_images([tmp_path / "a.tif"], Reading()).source, Pictures)


@pytest.fixture
def volume(tmp_path):
    """Eight slices with the same discs, one behind the other."""
    nibabel = pytest.importorskip("nibabel")
    grey = draw_discs((64, 64), 2, 3)[0].mean(2)
    voxels = np.repeat(grey.T[:, ::-1, None], 8, axis=2).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 3, 1])), tmp_path / "v.nii.gz")
    return tmp_path / "v.nii.gz"


def test_a_volume_is_gone_through_slice_by_slice(volume, tuned, tmp_path):
    session = Session(tuned, True, open_images([volume], Reading()), tmp_path / "kept")
    assert isinstance(session.images.source, VolumeSlices)
    assert session.is_stack
    assert session.queue.order() == list(range(8))
    assert session.current == 4
    assert session.works[2].image_id == "v/axial0002"


def test_an_object_is_carried_to_the_slices_around(volume, tuned, tmp_path):
    session = Session(tuned, True, open_images([volume], Reading()), tmp_path / "kept")
    with pytest.raises(UserError, match="before it is carried on"):
        session.carry(4)
    session.drag_box(4, [20, 20, 40, 40])
    session.carry(4, "lesion")
    assert session.state(4).is_empty
    suggested = [session.state(n).suggested for n in range(8)]
    assert [each.name for each in suggested[4]] == ["lesion"]
    assert sum(map(len, suggested)) > 1
    session.take(4, [1])
    assert list(session.masks_of(4)) == [1]


@pytest.fixture
def uneven(tmp_path):
    """A volume of 12 x 10 x 6 voxels of 1 x 1 x 4 mm, stored to the left and from the head down."""
    nibabel = pytest.importorskip("nibabel")
    voxels = np.random.default_rng(0).integers(0, 200, (12, 10, 6)).astype(np.int16)
    affine = np.array([[-1, 0, 0, 5], [0, 1, 0, -7], [0, 0, -4, 9], [0, 0, 0, 1]], float)
    nibabel.save(nibabel.Nifti1Image(voxels, affine), tmp_path / "v_image.nii.gz")
    return tmp_path / "v_image.nii.gz"


def test_accepted_objects_become_labels_of_the_volume(uneven, tuned, tmp_path):
    import nibabel

    session = Session(tuned, True, open_images([uneven], Reading()), tmp_path / "kept")
    # columns run from the right of the body (12 voxels), rows from its front (10 voxels)
    mask = PlacedMask(2, 3, np.ones((3, 4), np.bool_))
    for index in (1, 2):
        session.mend(index, mask)
        session.accept(index, "lesion")
    session.mend(4, PlacedMask(0, 0, np.ones((1, 1), np.bool_)))
    session.accept(4, "node")
    assert [list(session.masks_of(n)) for n in range(6)] == [[], [1], [1], [], [2], []]
    image = nibabel.load(uneven)
    labels = nibabel.load(tmp_path / "kept" / "volume" / "labels" / "v.nii.gz")
    assert np.array_equal(labels.affine, image.affine)
    values = np.asarray(labels.dataobj)
    expected = np.zeros((12, 10, 6), np.uint8)
    # stored to the left: the first column is the first voxel; rows count the other way; so do slices
    expected[3:7, 5:8, 3:5] = 1
    expected[0, 9, 1] = 2
    assert np.array_equal(values, expected)
    session.name(2, 1, "tumour")
    assert [session.state(n).object(1).name for n in (1, 2)] == ["tumour", "tumour"]
    assert recognise(tmp_path / "kept" / "volume") == "volumes"
    samples = list_samples(Volumes(tmp_path / "kept" / "volume"))
    found = {n: name for sample in samples for n, name in sample.classes.items()}
    assert found == {1: "tumour", 2: "node"}
    assert sum(int((sample.labels == 1).sum()) for sample in samples) == 24
    session.delete(4, 2)
    assert np.asarray(nibabel.load(labels.get_filename()).dataobj).max() == 1


def test_a_dicom_series_is_a_volume_and_fit_takes_what_is_kept(write_slices, tuned, tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (5, 24, 30))
    write_slices("series", values)
    found = open_images([tmp_path / "series"], Reading(value_range=(0, 255)))
    session = Session(tuned, True, found, tmp_path / "kept")
    assert found.source.records[0].image_id == "series/axial0000"
    # rows run to the back and columns to the left: as slices are shown
    assert np.array_equal(session.sample(3).image[..., 0], values[3])
    mask = PlacedMask(2, 3, np.ones((3, 4), np.bool_))
    session.mend(3, mask)
    session.accept(3, "lesion")
    (sample,) = list_samples(Volumes(tmp_path / "kept" / "volume"))
    assert np.array_equal(sample.labels[0] == 1, mask.whole((24, 30)))


def list_samples(source):
    return [source.read(number) for number in range(len(source))]


def test_a_stack_of_a_microscope_is_a_volume(tmp_path):
    import tifffile

    stack = np.random.default_rng(0).integers(0, 255, (6, 20, 30)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "z.tif", stack, imagej=True, metadata={"axes": "ZYX"})
    source = open_images([tmp_path / "z.tif"], Reading(value_range=(0, 255))).source
    assert isinstance(source, VolumeSlices)
    assert np.array_equal(source.read(2).image[..., 0], stack[2])


def test_an_image_whose_voxels_lie_in_another_file_is_copied_whole(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    from samtune.data.volumes.copying import copy_volume
    from samtune.data.volumes.voxels import read_voxels

    voxels = np.random.default_rng(0).integers(0, 99, (4, 5, 6)).astype(np.int16)
    sitk.WriteImage(sitk.GetImageFromArray(voxels), str(tmp_path / "v_image.mhd"))
    copy_volume([tmp_path / "v_image.mhd"], tmp_path / "images")
    assert [file.name for file in (tmp_path / "images").iterdir()] == ["v.mha"]
    assert np.array_equal(
        read_voxels(tmp_path / "images" / "v.mha"), read_voxels(tmp_path / "v_image.mhd")
    )


def test_other_planes_show_the_same_voxels_and_objects(uneven, tuned, tmp_path):
    session = Session(tuned, True, open_images([uneven], Reading()), tmp_path / "kept")
    stack = session.images.source.stack
    session.mend(1, PlacedMask(2, 3, np.ones((3, 4), np.bool_)))
    session.accept(1, "lesion")
    whole = np.zeros(stack.shape, np.bool_)
    # columns and rows count from the other end of their axes
    whole[12 - 7 : 12 - 3, 10 - 5 : 10 - 2, 1] = True
    objects = [work.history.state.objects for work in session.works]
    for axis in range(3):
        for number in range(stack.shape[axis]):
            seen = slice_of(whole, axis, number)
            cuts = list(session.planes.cuts(axis, number, objects))
            assert len(cuts) == seen.any()
            for made, mask in cuts:
                assert made.name == "lesion"
                assert np.array_equal(mask.whole(seen.shape), seen)
            assert session.planes.picture(axis, number).shape == (*seen.shape, 3)
    with pytest.raises(UserError, match="no slice 6 across axis 2"):
        session.planes.picture(2, 6)


def test_a_carried_object_is_one_on_all_slices(volume, tuned, tmp_path):
    session = Session(tuned, True, open_images([volume], Reading()), tmp_path / "kept")
    session.drag_box(4, [20, 20, 40, 40])
    session.carry(4, "lesion")
    (number,) = {each.number for n in range(8) for each in session.state(n).suggested}
    on = [n for n in range(8) if session.state(n).suggested]
    session.take_everywhere(number)
    assert [n for n in range(8) if session.masks_of(n)] == on
    assert {key for n in on for key in session.masks_of(n)} == {number}
    session.delete_everywhere(number)
    assert not any(session.masks_of(n) for n in range(8))
    session.undo(4)
    again = Session(tuned, True, open_images([volume], Reading()), tmp_path / "kept")
    assert [n for n in range(8) if again.masks_of(n)] == [4]
    again.drag_box(0, [1, 1, 9, 9])
    again.carry(0, "other")
    other = again.state(0).suggested[0].number
    assert other != number
    again.drop_everywhere(other)
    assert not any(again.state(n).suggested for n in range(8))
    with pytest.raises(UserError, match="no object 99 is suggested"):
        again.take_everywhere(99)


def test_only_slices_are_carried_through(open_it):
    with pytest.raises(UserError, match="open its file"):
        open_it().carry(0)
    with pytest.raises(UserError, match="no slices of a volume"):
        _ = open_it().planes
