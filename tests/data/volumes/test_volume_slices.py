"""A volume's slices are the same pictures in use as in training."""

import nibabel as nib
import numpy as np
import pytest

from samtune.data.readers.volumes import Volumes
from samtune.data.settings import SourceSettings
from samtune.data.volumes.placement import Geometry
from samtune.data.volumes.slices import AXES, axis_notes, choose_axes, open_stack, slice_of
from samtune.errors import UserError
from samtune.reading import Reading


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    affine = np.array([[0, -0.8, 0, 4], [0.5, 0, 0, 2], [0, 0, 3.0, 1], [0, 0, 0, 1.0]])
    for kind, values in (
        ("images", rng.normal(40, 200, (7, 6, 5)).astype(np.float32)),
        ("labels", rng.integers(0, 3, (7, 6, 5)).astype(np.uint8)),
    ):
        (tmp_path / kind).mkdir()
        nib.save(nib.Nifti1Image(values, affine), tmp_path / kind / "a.nii.gz")
    return tmp_path


@pytest.mark.parametrize("axis", ["auto", *AXES])
@pytest.mark.parametrize(
    "more", [{}, {"with_neighbours": True}, {"window": "liver"}, {"value_range": (-50.0, 90.0)}]
)
def test_as_the_reader_gives_them(folder, axis, more):
    reading = Reading(axis=axis, **more)
    source = Volumes(folder, SourceSettings(reading, slices="all"))
    stack = open_stack([folder / "images" / "a.nii.gz"], reading)
    assert len(stack) == len(source)
    for number in range(len(source)):
        np.testing.assert_array_equal(stack.picture(number), source.read(number).image)
        assert stack.hw == source.hw(number)
        np.testing.assert_array_equal(stack.values(number), source.stored(number)[..., 0])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("reading", [Reading(), Reading(window="liver")])
def test_a_volume_without_values_is_refused(folder, value, reading):
    file = folder / "images" / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.full((7, 6, 5), value, np.float32), np.eye(4)), file)
    with pytest.raises(UserError, match=r"a\.nii\.gz holds no values, only NaN or infinity"):
        open_stack([file], reading)


def test_slices_without_values_are_told_once(tmp_path, caplog):
    file = tmp_path / "a.nii.gz"
    values = np.ones((7, 6, 9), np.float32)
    values[..., 3] = np.nan
    values[..., 5] = -np.inf
    values[2:, :, 6] = np.nan  # the rest of it is there
    nib.save(nib.Nifti1Image(values, np.eye(4)), file)
    for _ in range(2):
        assert not open_stack([file], Reading()).picture(3).any()
    (told,) = caplog.messages
    assert (
        "a.nii.gz holds no values, only NaN or infinity, in axial slice 3, axial slice 5 of 9"
        in told
    )
    caplog.clear()
    open_stack([file], Reading(axis="coronal"))
    assert not caplog.messages


def test_a_slice_without_values_in_one_channel_is_told(tmp_path, caplog):
    values = np.ones((7, 6, 9, 2), np.float32)
    values[..., 4, 1] = np.nan
    nib.save(nib.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii.gz")
    open_stack([tmp_path / "a.nii.gz"], Reading(bands=(0,)))
    assert not caplog.messages
    open_stack([tmp_path / "a.nii.gz"], Reading(bands=(0, 1)))
    (told,) = caplog.messages
    assert "a.nii.gz, channel 1 of those shown, holds no values" in told
    assert "in axial slice 4 of 9" in told


@pytest.mark.parametrize("axis", range(3))
def test_what_is_written_to_a_slice_is_in_the_volume(axis):
    volume = np.zeros((3, 4, 5), np.int32)
    for number in range(volume.shape[axis]):
        slice_of(volume, axis, number)[:] = number
    np.testing.assert_array_equal(volume, np.indices(volume.shape)[axis])


def test_an_unknown_axis_is_said():
    with pytest.raises(UserError, match=r"data\.axis is 'z': give auto, sagittal"):
        choose_axes("z", [geometry(1, 1, 1)])


def geometry(*spacing, frame_axis=None):
    return Geometry((9, 9, 9), np.diag([*spacing, 1.0]), frame_axis)


SAGITTAL, CORONAL, AXIAL = range(3)


class TestAuto:
    @pytest.mark.parametrize(
        ("spacing", "axis"),
        [
            ((0.98, 0.98, 2.5), AXIAL),
            ((0.98, 0.98, 0.625), AXIAL),
            ((1, 1, 1), AXIAL),
            ((1.2, 1, 1), AXIAL),
            ((3, 2, 1), SAGITTAL),
            ((0.5, 3, 0.5), CORONAL),
            ((1, 1, 0.2), AXIAL),
        ],
    )
    def test_another_plane_than_the_axial_only_where_its_spacing_is_clearly_coarsest(
        self, spacing, axis
    ):
        assert choose_axes("auto", [geometry(*spacing)]) == [axis]

    def test_one_plane_for_all_volumes(self):
        thick, thin = geometry(4, 0.5, 0.5), geometry(1, 1, 1)
        assert choose_axes("auto", [thin, thick, thin, thin]) == [SAGITTAL] * 4
        assert choose_axes("auto", [thick, geometry(1, 5, 1), geometry(1, 5, 1)]) == [CORONAL] * 3
        assert choose_axes("auto", [thick, geometry(1, 1, 5)]) == [AXIAL] * 2

    def test_frames_stay_whole(self):
        frames = geometry(1, 1, 0.5, frame_axis=0)
        assert choose_axes("auto", [frames, geometry(1, 1, 5), geometry(1, 1, 5)]) == [0, 2, 2]
        assert choose_axes("auto", [frames, geometry(1, 1, 1)]) == [SAGITTAL] * 2
        assert choose_axes("axial", [frames]) == [AXIAL]

    def test_what_is_noted(self):
        thick, thin = geometry(4, 0.5, 0.5), geometry(1, 1, 1)
        assert axis_notes("ab", [thick, thick]) == axis_notes("ab", [thin, geometry(1, 1, 5)]) == []
        (note,) = axis_notes("abc", [thick, thin, thick])
        assert "all volumes are cut into sagittal slices" in note
        assert "by themselves b would not be: data.axis" in note
        (note,) = axis_notes("ab", [geometry(1, 1, 1, frame_axis=0), geometry(1, 1, 5)])
        assert "several planes, as their DICOM frames lie (sagittal a; axial b)" in note
        (note,) = axis_notes("abcdefgh", [thin] * 7 + [thick])
        assert "a, b, c, d, e and 2 more" in note
