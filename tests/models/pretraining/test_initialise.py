"""A network from nothing: reproducible, and at scales from which it can learn."""

import copy

import pytest
import torch

from samtune.models.pretraining.initialise import NEIGHBOURS, build_network, build_random
from samtune.models.registry import REGISTRY


@pytest.fixture(scope="module")
def nano():
    return build_random(REGISTRY["nano"], seed=0)


def equal_weights(first, second):
    ours, theirs = first.state_dict(), second.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before(tiny_spec):
    torch.manual_seed(123)
    first = build_random(tiny_spec, seed=7)
    torch.rand(10)
    assert equal_weights(first, build_random(tiny_spec, seed=7))


@pytest.mark.slow
def test_the_number_of_threads_changes_no_weight(nano):
    torch.set_num_threads(2)
    with_two = build_random(REGISTRY["nano"], seed=0)
    torch.set_num_threads(1)
    assert equal_weights(with_two, nano)


def test_another_seed_gives_other_weights_in_every_part(tiny_spec):
    first, second = build_random(tiny_spec, seed=7), build_random(tiny_spec, seed=8)
    for part in ("vision_encoder", "prompt_encoder", "mask_decoder", "shared_image_embedding"):
        assert not equal_weights(getattr(first, part), getattr(second, part))


def test_building_leaves_the_global_random_numbers_alone(tiny_spec):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_random(tiny_spec, seed=1)
    assert torch.equal(torch.rand(3), expected)


def test_the_positional_matrix_has_long_and_short_waves_and_is_the_same_in_both_places(nano):
    matrix = nano.shared_image_embedding.positional_embedding
    assert matrix.shape == (2, 64)
    lengths = matrix.norm(dim=0)
    assert lengths.min() < 0.15
    assert lengths.max() > 1
    assert torch.equal(matrix, nano.prompt_encoder.shared_embedding.positional_embedding)


def test_the_first_waves_run_along_x_and_the_next_along_y(nano):
    matrix = nano.shared_image_embedding.positional_embedding
    assert not matrix[1, :4].any()
    assert not matrix[0, 4:8].any()
    assert torch.equal(matrix[0, :4], matrix[1, 4:8])
    assert matrix[:, 8:].all()


@pytest.mark.parametrize(("head", "axis", "sign"), [(4, 0, -1), (5, 0, 1), (6, 1, -1), (7, 1, 1)])
def test_four_heads_see_on_which_side_of_a_prompt_a_place_lies(nano, head, axis, sign):
    steps = torch.linspace(-0.2, 0.2, 21)
    places = torch.full((21, 2), 0.4)
    places[:, axis] += steps
    prompt = torch.full((1, 2), 0.4)
    encode = nano.shared_image_embedding
    rows = slice(8 * head, 8 * head + 8)
    for layer in nano.mask_decoder.transformer.layers:
        attention = layer.cross_attn_image_to_token
        queries = encode(places[None, None])[0, 0] @ attention.q_proj.weight[rows].T
        keys = encode(prompt[None, None])[0, 0] @ attention.k_proj.weight[rows].T
        logits = sign * (queries @ keys.T)[:, 0] * attention.scaling
        assert (logits.diff() > 0).all()
        assert logits[10].item() == pytest.approx(0, abs=1e-4)
        assert logits[-1].item() > 2


def test_what_is_no_place_starts_small_beside_it(nano):
    kinds = torch.stack([e.weight for e in nano.prompt_encoder.point_embed])
    assert 0.2 < kinds.std().item() < 0.3
    assert (nano.vision_encoder.neck.layer_norm2.weight == 0.4).all()


def test_places_of_the_image_attend_to_those_that_look_like_them(nano):
    for layer in nano.vision_encoder.layers:
        query, key, value = layer.attn.qkv.weight.view(3, 6, 32, 192)[:, 4:, 4:].flatten(1, 2)
        assert torch.equal(query, key)
        assert torch.allclose(query @ query.T, 0.64 * torch.eye(56), atol=1e-4)
        assert torch.allclose(value @ value.T, torch.eye(56), atol=1e-4)


def test_what_is_found_is_mixed_anew(nano):
    for layer in nano.vision_encoder.layers:
        weight, value = layer.attn.proj.weight, layer.attn.qkv.weight[384:]
        assert torch.allclose(weight @ weight.T, 0.25 * torch.eye(192), atol=1e-4)
        assert (weight @ value).diagonal().mean().abs() < 0.02


@pytest.mark.parametrize("head", range(6))
@pytest.mark.parametrize(("block", "side", "step"), [(0, 8, 1), (2, 16, 2)])
def test_four_heads_of_a_block_look_at_neighbours_and_the_others_everywhere(
    nano, block, side, step, head
):
    attention = copy.deepcopy(nano.vision_encoder.layers[block].attn)
    value = torch.zeros(192, 192)
    value[32 * head, 0] = 1
    with torch.no_grad():
        attention.qkv.weight[384:] = value
        attention.proj.weight.copy_(torch.eye(192))
        pixels = torch.zeros(1, side, side, 192)
        pixels[0, 5, 6, 0] = 1  # seen by the value alone
        attention.qkv.weight[:384, 0] = 0
        found = attention(pixels)
    found = (found[0] if isinstance(found, tuple) else found)[0, :, :, 32 * head]
    if head >= 4:
        assert torch.allclose(found, torch.full_like(found, side**-2), atol=1e-4)
        return
    y, x = NEIGHBOURS[head]
    seen_from = divmod(int(found.argmax()), side)
    assert seen_from == (5 - y * step, 6 - x * step)
    assert found.max() > (0.2 if step == 1 else 0.05)


def test_position_tables_of_the_encoder_are_not_zero(nano):
    assert nano.vision_encoder.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)


def test_cross_attentions_start_with_equal_orthogonal_queries_and_keys_of_gain_two(nano):
    transformer = nano.mask_decoder.transformer
    blocks = [(transformer.final_attn_token_to_image, 64)]
    for layer in transformer.layers:
        # the last four of eight heads from image to prompt are the directed ones
        blocks += [(layer.cross_attn_token_to_image, 64), (layer.cross_attn_image_to_token, 32)]
    for attention, count in blocks:
        weight = attention.q_proj.weight[:count]
        assert torch.equal(weight, attention.k_proj.weight[:count])
        assert torch.allclose(weight @ weight.T, 4 * torch.eye(len(weight)), atol=1e-5)
        assert not attention.q_proj.bias.any()
        assert not attention.k_proj.bias.any()


def test_self_attentions_of_the_decoder_are_not_matched(nano):
    for layer in nano.mask_decoder.transformer.layers:
        assert not torch.equal(layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight)


@pytest.mark.parametrize("name", [name for name in REGISTRY if name != "edgetam"])
def test_decoder_norms_have_the_official_eps(name):
    with torch.device("meta"):
        layers = build_network(REGISTRY[name]).mask_decoder.transformer.layers
    norms = [getattr(layer, f"layer_norm{n}") for layer in layers for n in range(1, 5)]
    assert {norm.eps for norm in norms} == {1e-5}


def test_the_eps_reaches_the_layers(nano):
    for layer in nano.mask_decoder.transformer.layers:
        assert [getattr(layer, f"layer_norm{i}").eps for i in (1, 2, 3, 4)] == [1e-5] * 4


def test_an_untrained_network_answers_with_finite_numbers_that_depend_on_the_prompt(
    base, pixels, prompts
):
    with torch.no_grad():
        embeddings = base.encode(pixels)
        found = base.decode(embeddings, prompts.image_index, prompts.kinds["points"], True)
    assert found.low_res_logits.isfinite().all()
    assert not torch.allclose(found.low_res_logits[1], found.low_res_logits[2], atol=1e-3)
