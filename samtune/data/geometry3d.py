"""Where the voxels of a volume lie in the body."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samtune.errors import require

# DICOM and ITK count millimetres to the left and to the back, NIfTI to the right and to the front.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Geometry:
    """Shape and place of the voxels as they are stored.

    Attributes:
        shape: of the stored array.
        affine: (4, 4): stored index (i, j, k, 1) -> millimetres to the right, front and head.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

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
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels in right-anterior-superior order."""
        sizes = np.linalg.norm(self.affine[:3, :3], axis=0)
        return tuple(sizes[np.argsort(self._orientation[:, 0])].tolist())

    def turn(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring stored voxels into right-anterior-superior order."""
        nibabel = require("nibabel", "medical")
        return np.asarray(nibabel.apply_orientation(values, self._orientation))

    def turn_back(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Bring voxels in right-anterior-superior order into the stored one."""
        nibabel = require("nibabel", "medical")
        body = np.array([[0, 1], [1, 1], [2, 1]])
        back = nibabel.orientations.ornt_transform(body, self._orientation)
        return np.asarray(nibabel.apply_orientation(values, back))
