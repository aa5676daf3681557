"""Other input sizes than the native one: position tables are interpolated at load.

Absolute tables bicubically, relative ones linearly, as ViTDet does (arXiv 2203.16527, and
segment_anything's `get_rel_pos`). Windowed blocks keep their tables: their window does not change.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import SamModel

from samtune.errors import UserError


def _resize_absolute(table: Tensor, grid: int) -> Tensor:
    """(1, g, g, C) -> (1, grid, grid, C)."""
    resized = F.interpolate(
        table.permute(0, 3, 1, 2), (grid, grid), mode="bicubic", align_corners=False
    )
    return resized.permute(0, 2, 3, 1).contiguous()


def _resize_relative(table: Tensor, grid: int) -> Tensor:
    """(2g - 1, C) -> (2 grid - 1, C)."""
    resized = F.interpolate(table.T[None], 2 * grid - 1, mode="linear", align_corners=False)
    return resized[0].T.contiguous()


@torch.no_grad()
def set_image_size(model: SamModel, image_size: int) -> None:
    """Make `model` take square inputs of another size, in place.

    Raises:
        UserError: `image_size` is not a positive multiple of the patch size.
    """
    vision, prompts = model.config.vision_config, model.config.prompt_encoder_config
    if image_size == vision.image_size:
        return
    if image_size <= 0 or image_size % vision.patch_size:
        raise UserError(
            f"image_size is {image_size}: give a multiple of the patch size {vision.patch_size}"
        )
    grid = image_size // vision.patch_size
    encoder = model.vision_encoder
    if encoder.pos_embed is not None:
        encoder.pos_embed = nn.Parameter(_resize_absolute(encoder.pos_embed, grid))
    for layer in encoder.layers:
        if layer.window_size == 0 and vision.use_rel_pos:
            layer.attn.rel_pos_h = nn.Parameter(_resize_relative(layer.attn.rel_pos_h, grid))
            layer.attn.rel_pos_w = nn.Parameter(_resize_relative(layer.attn.rel_pos_w, grid))
    encoder.image_size = image_size
    encoder.patch_embed.image_size = (image_size, image_size)
    encoder.patch_embed.num_patches = grid * grid
    vision.image_size = prompts.image_size = image_size
    prompts.image_embedding_size = grid
    model.prompt_encoder.image_embedding_size = (grid, grid)
    model.prompt_encoder.input_image_size = image_size
