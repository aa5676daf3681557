"""The decoder's products in another order give transformers' own answers."""

import pytest
import torch
from torch import nn
from transformers import SamConfig, SamModel

from samtune.models.decoder import finer_values, to_pixels, two_way, upscale_once

GRID = 4


@pytest.fixture(scope="module")
def transformer():
    torch.manual_seed(0)
    width = {"hidden_size": 32}
    config = SamConfig(
        vision_config={
            "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 64,
            "output_channels": 32, "num_pos_feats": 16, "global_attn_indexes": [0],
        },
        prompt_encoder_config={**width, "image_size": 64},
        mask_decoder_config={**width, "mlp_dim": 48, "iou_head_hidden_dim": 16},
    )  # fmt: skip
    return SamModel(config).mask_decoder.transformer.eval()


@pytest.mark.parametrize("num_tokens", [1, 5, 40])
@pytest.mark.parametrize("is_shared", [True, False])
def test_tokens_and_image_are_those_of_transformers(transformer, num_tokens, is_shared):
    torch.manual_seed(1)
    tokens, places = torch.randn(3, num_tokens, 32), torch.randn(GRID**2, 32)
    image = torch.randn(1 if is_shared else 3, GRID**2, 32)
    with torch.no_grad():
        found = two_way(transformer, tokens, image, places)

        def maps(values):
            return values.transpose(1, 2).unflatten(-1, (GRID, GRID))

        expected = transformer(
            point_embeddings=tokens[:, None],
            image_embeddings=maps(image.expand(3, -1, -1)),
            image_positional_embeddings=maps(places[None]),
            attention_similarity=None,
        )[:2]
    torch.testing.assert_close(found[0], expected[0].reshape(found[0].shape), atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found[1], expected[1].reshape(found[1].shape), atol=2e-5, rtol=1e-4)


def test_upscaling_twice_is_two_transposed_convolutions():
    torch.manual_seed(0)
    first, second = nn.ConvTranspose2d(8, 4, 2, 2), nn.ConvTranspose2d(4, 2, 2, 2)
    image = torch.randn(3, GRID**2, 8)
    with torch.no_grad():
        found = upscale_once(second, upscale_once(first, image)).flatten(1, 3).transpose(1, 2)
        expected = second(first(image.transpose(1, 2).unflatten(-1, (GRID, GRID))))
    torch.testing.assert_close(to_pixels(found, GRID), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("levels", [1, 2])
def test_finer_maps_come_in_the_order_of_upscaling(levels):
    side = 2**levels
    detail = torch.arange(GRID * side * GRID * side, dtype=torch.float32)
    detail = detail.view(1, 1, GRID * side, GRID * side)
    values = finer_values(detail, levels)
    assert values.shape == (1, GRID**2, side**2, 1)
    if levels == 2:
        torch.testing.assert_close(to_pixels(values.flatten(1).view(1, 1, -1), GRID), detail)
    else:
        expected = detail.view(GRID, 2, GRID, 2).permute(0, 2, 1, 3).reshape(1, GRID**2, 4, 1)
        torch.testing.assert_close(values, expected)
