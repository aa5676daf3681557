"""A volume's slices are the same pictures in use as in training."""

import nibabel as nib
import numpy as np
import pytest

from samtune.data.geometry3d import Geometry
from samtune.data.readers.volumes import Volumes
from samtune.data.source import ReadSettings
from samtune.data.volume_slices import AXES, choose_axis, open_stack, slice_of
from samtune.errors import UserError


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
    settings = ReadSettings(axis=axis, slices="all", **more)
    source = Volumes(folder, settings)
    stack = open_stack(folder / "images" / "a.nii.gz", settings)
    assert len(stack) == len(source)
    for number in range(len(source)):
        np.testing.assert_array_equal(stack.picture(number), source.read(number).image)
        assert stack.hw == source.hw(number)
        np.testing.assert_array_equal(stack.values(number), source.stored(number)[..., 0])


@pytest.mark.parametrize("axis", range(3))
def test_what_is_written_to_a_slice_is_in_the_volume(axis):
    volume = np.zeros((3, 4, 5), np.int32)
    for number in range(volume.shape[axis]):
        slice_of(volume, axis, number)[:] = number
    np.testing.assert_array_equal(volume, np.indices(volume.shape)[axis])


def test_an_unknown_axis_is_said():
    with pytest.raises(UserError, match=r"data\.axis is 'z': give auto, sagittal"):
        choose_axis("z", Geometry((1, 1, 1), np.eye(4)))
