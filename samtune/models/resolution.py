"""Position tables for other input sizes than the native one: interpolated at load.

Absolute tables bicubically, relative ones linearly, as ViTDet does (arXiv 2203.16527, and
segment_anything's `get_rel_pos`).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def resize_absolute(table: Tensor, grid: int) -> nn.Parameter:
    """(1, g, g, C) -> (1, grid, grid, C)."""
    resized = F.interpolate(
        table.permute(0, 3, 1, 2), (grid, grid), mode="bicubic", align_corners=False
    )
    return nn.Parameter(resized.permute(0, 2, 3, 1).contiguous())


@torch.no_grad()
def resize_relative(table: Tensor, grid: int) -> nn.Parameter:
    """(2g - 1, C) -> (2 grid - 1, C)."""
    resized = F.interpolate(table.T[None], 2 * grid - 1, mode="linear", align_corners=False)
    return nn.Parameter(resized[0].T.contiguous())
