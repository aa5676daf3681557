"""Official checkpoints and transformers' networks hold the same tensors under other names."""

from dataclasses import replace

import pytest
import torch
from transformers import SamConfig, SamModel

from samtune.errors import UserError
from samtune.models.families.sam import SamFamily
from samtune.models.official.sam import (
    official_to_transformers,
    read_settings,
    transformers_to_official,
)
from samtune.models.official.strict import load_strictly
from samtune.models.pretraining.initialise import build_config, build_random
from samtune.models.registry import REGISTRY


def read_config(state):
    return SamFamily.build_config(*read_settings(state))


MATRIX = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def linear(name, rows, columns):
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def norm(name, width):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def conv(name, *shape, out=None):
    return {f"{name}.weight": shape, f"{name}.bias": (out or shape[0],)}


def attention(name, inner):
    projections = (linear(f"{name}.{p}_proj", inner, 256) for p in "qkv")
    parts = {k: shape for projection in projections for k, shape in projection.items()}
    return parts | linear(f"{name}.out_proj", 256, inner)


def published_encoder(width, depth, head_width, global_blocks):
    """Keys and shapes of `image_encoder` at 1024 pixels, as segment_anything publishes them."""
    root = "image_encoder"
    keys = {f"{root}.pos_embed": (1, 64, 64, width)}
    keys |= conv(f"{root}.patch_embed.proj", width, 3, 16, 16)
    for number in range(depth):
        block = f"{root}.blocks.{number}"
        table = 2 * (64 if number in global_blocks else 14) - 1
        keys |= norm(f"{block}.norm1", width) | norm(f"{block}.norm2", width)
        keys[f"{block}.attn.rel_pos_h"] = keys[f"{block}.attn.rel_pos_w"] = (table, head_width)
        keys |= linear(f"{block}.attn.qkv", 3 * width, width)
        keys |= linear(f"{block}.attn.proj", width, width)
        keys |= linear(f"{block}.mlp.lin1", 4 * width, width)
        keys |= linear(f"{block}.mlp.lin2", width, 4 * width)
    keys[f"{root}.neck.0.weight"] = (256, width, 1, 1)
    keys[f"{root}.neck.2.weight"] = (256, 256, 3, 3)
    return keys | norm(f"{root}.neck.1", 256) | norm(f"{root}.neck.3", 256)


def published_prompt_encoder():
    root = "prompt_encoder"
    keys = {MATRIX: (2, 128)}
    for name in ("point_embeddings.0", "point_embeddings.1", "point_embeddings.2",
                 "point_embeddings.3", "not_a_point_embed", "no_mask_embed"):  # fmt: skip
        keys[f"{root}.{name}.weight"] = (1, 256)
    keys |= conv(f"{root}.mask_downscaling.0", 4, 1, 2, 2)
    keys |= norm(f"{root}.mask_downscaling.1", 4)
    keys |= conv(f"{root}.mask_downscaling.3", 16, 4, 2, 2)
    keys |= norm(f"{root}.mask_downscaling.4", 16)
    return keys | conv(f"{root}.mask_downscaling.6", 256, 16, 1, 1)


def published_decoder():
    root = "mask_decoder"
    keys = {f"{root}.iou_token.weight": (1, 256), f"{root}.mask_tokens.weight": (4, 256)}
    for number in range(2):
        layer = f"{root}.transformer.layers.{number}"
        keys |= attention(f"{layer}.self_attn", 256)
        keys |= attention(f"{layer}.cross_attn_token_to_image", 128)
        keys |= attention(f"{layer}.cross_attn_image_to_token", 128)
        keys |= linear(f"{layer}.mlp.lin1", 2048, 256) | linear(f"{layer}.mlp.lin2", 256, 2048)
        for index in range(1, 5):
            keys |= norm(f"{layer}.norm{index}", 256)
    keys |= attention(f"{root}.transformer.final_attn_token_to_image", 128)
    keys |= norm(f"{root}.transformer.norm_final_attn", 256)
    keys |= conv(f"{root}.output_upscaling.0", 256, 64, 2, 2, out=64)
    keys |= norm(f"{root}.output_upscaling.1", 64)
    keys |= conv(f"{root}.output_upscaling.3", 64, 32, 2, 2, out=32)
    for head, last in [(f"output_hypernetworks_mlps.{i}", 32) for i in range(4)] + [
        ("iou_prediction_head", 4)
    ]:
        for number, rows in enumerate((256, 256, last)):
            keys |= linear(f"{root}.{head}.layers.{number}", rows, 256)
    return keys


PUBLISHED = {
    name: published_encoder(*sizes) | published_prompt_encoder() | published_decoder()
    for name, sizes in {
        "vit_b": (768, 12, 64, (2, 5, 8, 11)),
        "vit_l": (1024, 24, 64, (5, 11, 17, 23)),
        "vit_h": (1280, 32, 80, (7, 15, 23, 31)),
    }.items()
}


def empty_tensors(name):
    return {k: torch.empty(s, device="meta") for k, s in PUBLISHED[name].items()}


def same(found, expected):
    """Equal but for rounding: where the weights lie in memory may change the last digit."""
    return torch.allclose(found, expected, atol=1e-6, rtol=0)


def shapes(state):
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.fixture(scope="module")
def state(base):
    """The tiny network's weights in the official layout; tests copy before they change."""
    return transformers_to_official(base.core.state_dict())


def test_the_published_vit_b_has_314_tensors():
    assert len(PUBLISHED["vit_b"]) == 314


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_keys_become_exactly_those_of_transformers(name):
    with torch.device("meta"):
        network = SamModel(build_config(REGISTRY[name]))
    assert shapes(official_to_transformers(empty_tensors(name))) == shapes(network.state_dict())


@pytest.mark.parametrize("name", PUBLISHED)
def test_transformers_keys_become_exactly_the_published_ones(name):
    with torch.device("meta"):
        network = SamModel(build_config(REGISTRY[name]))
    assert shapes(transformers_to_official(network.state_dict())) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_configuration_is_read_off_the_shapes(name):
    found, expected = read_config(empty_tensors(name)), build_config(REGISTRY[name])
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size",
                  "patch_size", "output_channels", "num_pos_feats", "window_size"):  # fmt: skip
        assert getattr(found.vision_config, field) == getattr(expected.vision_config, field), field
    assert found.vision_config.mlp_dim == 4 * found.vision_config.hidden_size
    assert tuple(found.vision_config.global_attn_indexes) == (
        tuple(expected.vision_config.global_attn_indexes)
    )
    for part in ("prompt_encoder_config", "mask_decoder_config"):
        ours, theirs = getattr(found, part).to_dict(), getattr(expected, part).to_dict()
        assert ours == theirs


def test_official_to_transformers_and_back_is_the_identity(state):
    back = transformers_to_official(official_to_transformers(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_transformers_to_official_and_back_is_the_identity(base):
    original = base.core.state_dict()
    back = official_to_transformers(transformers_to_official(original))
    assert back.keys() == original.keys()
    assert all(torch.equal(back[key], original[key]) for key in original)


def test_no_two_official_keys_become_one():
    assert len(official_to_transformers(PUBLISHED["vit_b"])) == 314 + 1


def test_the_positional_matrix_goes_to_both_places(state):
    converted = official_to_transformers(state)
    for key in (
        "shared_image_embedding.positional_embedding",
        "prompt_encoder.shared_embedding.positional_embedding",
    ):
        assert torch.equal(converted[key], state[MATRIX])


def test_normalisation_buffers_are_dropped(state):
    buffers = {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.ones(3, 1, 1)}
    assert official_to_transformers({**state, **buffers}).keys() == (
        official_to_transformers(state).keys()
    )


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_iou_heads_of_any_depth_come_back(tiny_spec, depth):
    settings = {**tiny_spec.mask_decoder, "iou_head_depth": depth}
    state = build_random(replace(tiny_spec, mask_decoder=settings)).state_dict()
    official = transformers_to_official(state)
    heads = {k for k in official if "iou_prediction_head" in k and k.endswith("weight")}
    names = {f"mask_decoder.iou_prediction_head.layers.{i}.weight" for i in range(depth)}
    assert heads == names
    assert shapes(official_to_transformers(official)) == shapes(state)
    assert read_config(official).mask_decoder_config.iou_head_depth == depth


def test_the_layout_is_recognised_by_its_positional_matrix(state, base):
    assert SamFamily.is_official(state)
    assert not SamFamily.is_official(base.core.state_dict())


def test_a_network_built_from_an_official_state_answers_as_the_original(state, base, pixels):
    network = SamFamily.from_official(state, "tiny.pth").eval()
    boxes = torch.tensor([[[5.0, 6.0, 40.0, 50.0]], [[1.0, 2.0, 30.0, 20.0]]])
    with torch.no_grad():
        ours = network(pixels, input_boxes=boxes)
        expected = base.core(pixels, input_boxes=boxes)
    assert same(ours.pred_masks, expected.pred_masks)
    assert same(ours.iou_scores, expected.iou_scores)


def test_a_network_built_from_an_official_state_has_the_official_eps(state):
    network = SamFamily.from_official(state, "tiny.pth")
    assert network.config.mask_decoder_config.layer_norm_eps == 1e-5
    for layer in network.mask_decoder.transformer.layers:
        assert [getattr(layer, f"layer_norm{i}").eps for i in (1, 2, 3, 4)] == [1e-5] * 4


def test_transformers_default_eps_is_another():
    assert SamConfig().mask_decoder_config.layer_norm_eps == 1e-6


def test_a_grid_smaller_than_the_window_is_read_off_the_shapes_too(tiny_spec):
    vision = {**tiny_spec.vision, "window_size": 8}  # 64 pixels are a grid of 4
    network = build_random(replace(tiny_spec, vision=vision))
    config = read_config(transformers_to_official(network.state_dict()))
    assert config.vision_config.window_size == 8
    assert config.vision_config.global_attn_indexes == [1, 3]


@pytest.mark.parametrize(
    "key",
    [
        MATRIX,
        "image_encoder.pos_embed",
        "image_encoder.patch_embed.proj.weight",
        "image_encoder.blocks.0.mlp.lin1.weight",
        "image_encoder.neck.0.weight",
        "prompt_encoder.no_mask_embed.weight",
        "mask_decoder.mask_tokens.weight",
        "mask_decoder.iou_token.weight",
        "mask_decoder.transformer.layers.0.cross_attn_token_to_image.q_proj.weight",
    ],
)
def test_a_missing_tensor_that_the_shapes_are_read_off_is_named(state, key):
    rest = {k: v for k, v in state.items() if k != key}
    with pytest.raises(UserError, match=key.replace(".", r"\.")):
        SamFamily.from_official(rest, "my.pth")


@pytest.mark.parametrize(
    "part",
    [
        ".attn.rel_pos_h",
        "image_encoder.blocks.",
        "mask_decoder.transformer.layers.",
        "iou_prediction_head",
    ],
)
def test_a_state_that_lacks_a_whole_kind_of_tensor_is_a_user_s_error(state, part):
    rest = {k: v for k, v in state.items() if part not in k}
    with pytest.raises(UserError, match="lacks"):
        SamFamily.from_official(rest, "my.pth")


def test_a_missing_key_is_named_with_the_file(state):
    rest = {k: v for k, v in state.items() if k != "mask_decoder.output_upscaling.1.bias"}
    with pytest.raises(UserError) as caught:
        SamFamily.from_official(rest, "my.pth")
    assert "my.pth" in str(caught.value)
    assert "1 missing keys (such as mask_decoder.upscale_layer_norm.bias)" in str(caught.value)


def test_a_surplus_key_is_named(state):
    with pytest.raises(UserError, match=r"1 surplus keys \(such as teacher\.weight\)"):
        SamFamily.from_official({**state, "teacher.weight": torch.zeros(1)}, "my.pth")


def test_a_misshapen_key_is_named_with_both_shapes(state):
    changed = {**state, "mask_decoder.iou_token.weight": torch.zeros(2, 32)}
    with pytest.raises(UserError) as caught:
        SamFamily.from_official(changed, "my.pth")
    assert "mask_decoder.iou_token.weight is (2, 32) instead of (1, 32)" in str(caught.value)


def test_all_kinds_of_misfit_are_told_at_once(base):
    state = dict(base.core.state_dict())
    del state["mask_decoder.iou_token.weight"]
    state["stray"] = torch.zeros(1)
    state["mask_decoder.mask_tokens.weight"] = torch.zeros(1, 1)
    with pytest.raises(UserError, match=r"1 missing keys .*1 surplus keys .*1 wrong shapes"):
        load_strictly(SamModel(base.core.config), state, "x")


def test_a_refused_state_leaves_the_network_as_it_was(base, tiny_spec):
    network = build_random(tiny_spec, seed=9)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    state = {key: torch.zeros_like(value) for key, value in before.items()} | {
        "stray": torch.ones(1)
    }
    with pytest.raises(UserError):
        load_strictly(network, state, "x")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
