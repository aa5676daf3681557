"""Where the voxels of a volume lie in the body."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samtune.errors import require

# DICOM and ITK count millimetres to the left and to the back, NIfTI to the right and to the front.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# A voxel of axes of length 1 has at least this volume unless they lie (nearly) in a plane.
_LEAST_VOLUME = 1e-3
# Cosine of the angle of axes from which they are not at right angles.
_LEAST_SHEAR = 1e-3
# With what float32 rounds off at the far end of a volume.
_HALF_VOXEL = 0.51


@dataclass(frozen=True)
class Geometry:
    """Shape and place of the voxels as they are stored.

    Attributes:
        shape: of the stored array.
        affine: (4, 4): stored index (i, j, k, 1) -> millimetres to the right, front and head.
        frame_axis: the stored axis along which pictures were taken one by one, if the file says so.
        is_measured: the stored axes whose distances the file gives; along others voxels count as 1.
        num_channels: values of each voxel (channels, times).
        is_coloured: the channels are red, green and blue, as a screen shows them.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    frame_axis: int | None = None
    is_measured: tuple[bool, bool, bool] = (True, True, True)
    num_channels: int = 1
    is_coloured: bool = False

    @property
    def _orientation(self) -> NDArray[np.float64]:
        """(3, 2): for each stored axis the axis of the body that it is nearest to, and its sign."""
        return np.asarray(require("nibabel", "medical").io_orientation(self.affine))

    @property
    def ras_shape(self) -> tuple[int, ...]:
        """Shape in right-anterior-superior order."""
        order = np.argsort(self._orientation[:, 0])
        return tuple(self.shape[axis] for axis in order)

    @property
    def ras_affine(self) -> NDArray[np.float64]:
        """(4, 4): index in right-anterior-superior order -> millimetres, as `affine`."""
        nibabel = require("nibabel", "medical")
        turned = nibabel.orientations.inv_ornt_aff(self._orientation, self.shape)
        return np.asarray(self.affine @ turned)

    @property
    def is_regular(self) -> bool:
        """Whether there are voxels, whose axes are finite and span the body."""
        axes = self.affine[:3, :3]
        if 0 in self.shape or not np.isfinite(self.affine).all():
            return False
        sizes = np.linalg.norm(axes, axis=0)
        return bool(sizes.all() and abs(np.linalg.det(axes / sizes)) > _LEAST_VOLUME)

    @property
    def is_sheared(self) -> bool:
        """Whether the axes are not at right angles, as those of a tilted gantry."""
        axes = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return bool(np.abs(axes.T @ axes - np.eye(3)).max() > _LEAST_SHEAR)

    @property
    def corners(self) -> NDArray[np.float64]:
        """(8, 3) centres of the outermost voxels, in millimetres; the first is that of index 0."""
        last = np.array(self.ras_shape) - 1
        affine = self.ras_affine
        indices = np.indices((2, 2, 2)).reshape(3, 8).T * last
        return np.asarray(indices @ affine[:3, :3].T + affine[:3, 3])

    def fits(self, other: "Geometry") -> bool:
        """Whether voxels of both, in right-anterior-superior order, lie within half a voxel."""
        apart = (self.corners - other.corners) @ np.linalg.inv(other.ras_affine[:3, :3]).T
        return self.ras_shape == other.ras_shape and bool((np.abs(apart) <= _HALF_VOXEL).all())

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels in right-anterior-superior order; NaN where nobody measured.

        Slices that a tilted gantry shifted against each other are as far apart as their planes.
        """
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        if self.frame_axis is not None:
            others = np.delete(sizes, self.frame_axis)
            sizes[self.frame_axis] = abs(np.linalg.det(self.affine[:3, :3])) / others.prod()
        sizes = np.where(self.is_measured, sizes, np.nan)
        return tuple(sizes[np.argsort(self._orientation[:, 0])].tolist())

    @property
    def slice_axis(self) -> int | None:
        """The axis of the body that the file's own pictures lie across, if it has such."""
        return None if self.frame_axis is None else int(self._orientation[self.frame_axis, 0])

    def turn(self, values: NDArray[Any]) -> NDArray[Any]:
        """Bring stored voxels into right-anterior-superior order."""
        nibabel = require("nibabel", "medical")
        return np.asarray(nibabel.apply_orientation(values, self._orientation))

    def turn_back(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring voxels in right-anterior-superior order into the stored one."""
        nibabel = require("nibabel", "medical")
        body = np.array([[0, 1], [1, 1], [2, 1]])
        back = nibabel.orientations.ornt_transform(body, self._orientation)
        return np.asarray(nibabel.apply_orientation(values, back))
