"""SAM's two-way transformer and upscaling, computed with as few products as they need.

The layers and their weights are transformers'; all families share this part of the decoder. Three
things make it cheaper than transformers' own forward, to the same answer:

- What the K prompts of one image share is computed once. Until the image has seen the prompts, it is
  one (1, P, C); without mask prompts the first layer reads it by broadcasting.
- A prompt has a handful of tokens, an image thousands of places. Once each prompt has an image of its
  own, its tokens are projected to where the places are, not the places to where the tokens are:
  q . (W x) = (W^T q) . x.
- The transposed convolutions (kernel 2, stride 2) are products at each place; what they make stays in
  the order of the places, and only the masks are brought into the order of pixels.

Shapes: tokens (K, T, C); image (I, P, C) with I = K, or I = 1 where the prompts share it; places
(P, C), the positional encoding.
"""

from typing import Any

import torch
from torch import Tensor, nn


def two_way(
    transformer: Any, tokens: Tensor, image: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens (K, T, C) and image (K, P, C) after all layers and the final attention."""
    queries = tokens
    for layer in transformer.layers:
        queries, image = _layer(layer, queries, tokens, image, places)
    found = _tokens_to_image(
        transformer.final_attn_token_to_image, queries + tokens, image, image + places
    )
    return transformer.layer_norm_final_attn(queries + found), image


def _layer(
    layer: Any, queries: Tensor, tokens: Tensor, image: Tensor, places: Tensor
) -> tuple[Tensor, Tensor]:
    if layer.skip_first_layer_pe:
        queries = _among_tokens(layer.self_attn, queries, queries)
    else:
        queries = queries + _among_tokens(layer.self_attn, queries + tokens, queries)
    queries = layer.layer_norm1(queries)
    placed = image + places
    found = _tokens_to_image(layer.cross_attn_token_to_image, queries + tokens, image, placed)
    queries = layer.layer_norm2(queries + found)
    queries = layer.layer_norm3(queries + layer.mlp(queries))
    found = _image_to_tokens(layer.cross_attn_image_to_token, placed, queries + tokens, queries)
    return queries, layer.layer_norm4(image + found)


def _heads(values: Tensor, count: int) -> Tensor:
    """(K, T, H * D) -> (K, H, T, D)."""
    return torch.unflatten(values, -1, (count, -1)).transpose(1, 2)


def _join_heads(values: Tensor) -> Tensor:
    """(K, H, T, D) -> (K, T, H * D)."""
    return values.transpose(1, 2).flatten(2)


def _out(attention: Any) -> Any:
    """The last projection, by its name in SAM or in SAM 2."""
    return attention.out_proj if hasattr(attention, "out_proj") else attention.o_proj


def _project(layer: Any, values: Tensor) -> Tensor:
    projected: Tensor = layer(values)
    return projected


def _softmax(logits: Tensor, dim: int) -> Tensor:
    return logits.softmax(dim, dtype=torch.float32).to(logits.dtype)


def _among_tokens(attention: Any, asked: Tensor, said: Tensor) -> Tensor:
    count = attention.num_attention_heads
    query, key = _heads(attention.q_proj(asked), count), _heads(attention.k_proj(asked), count)
    weights = _softmax(query @ key.transpose(-1, -2) * attention.scaling, -1)
    found = _join_heads(weights @ _heads(attention.v_proj(said), count))
    return _project(_out(attention), found)


def _tokens_to_image(attention: Any, tokens: Tensor, image: Tensor, placed: Tensor) -> Tensor:
    """What the tokens (K, T, C) find in the image: keys are `placed`, values are `image`."""
    count = attention.num_attention_heads
    query = _heads(attention.q_proj(tokens), count) * attention.scaling
    is_plain = _are_plain(attention.k_proj, attention.v_proj)
    if len(image) < len(tokens) or not is_plain or _are_many(query):
        weights = _softmax(_compare(query, _heads(attention.k_proj(placed), count)), -1)
        return _project(
            _out(attention), _join_heads(_collect(weights, attention.v_proj(image), count))
        )
    weights = _softmax(_ask_places(query, attention.k_proj, placed), -1).flatten(1, 2)
    seen = torch.unflatten(weights @ image, 1, (count, -1))
    weight = torch.unflatten(attention.v_proj.weight, 0, (count, -1))
    found = torch.einsum("khtc,hdc->khtd", seen, weight)
    return _project(_out(attention), _join_heads(found) + attention.v_proj.bias)


def _image_to_tokens(attention: Any, placed: Tensor, tokens: Tensor, said: Tensor) -> Tensor:
    """What each place finds among the tokens of each prompt, (K, P, C)."""
    count = attention.num_attention_heads
    key = _heads(attention.k_proj(tokens), count) * attention.scaling
    value = _heads(attention.v_proj(said), count)
    if len(placed) < len(tokens) or not _are_plain(attention.q_proj) or _are_many(key):
        logits = _compare(key, _heads(attention.q_proj(placed), count))
    else:
        logits = _ask_places(key, attention.q_proj, placed)
    weights = _softmax(logits, 2)
    if not _are_plain(_out(attention)) or _are_many(key):
        return _project(_out(attention), _join_heads(weights.transpose(-1, -2) @ value))
    weight = torch.unflatten(_out(attention).weight, 1, (count, -1))
    answers = torch.einsum("khtd,chd->khtc", value, weight)
    found: Tensor = (
        weights.flatten(1, 2).transpose(-1, -2) @ answers.flatten(1, 2) + _out(attention).bias
    )
    return found


def _ask_places(tokens: Tensor, layer: Any, places: Tensor) -> Tensor:
    """(K, H, T, D) with `layer` of places (K, P, C) -> logits (K, H, T, P)."""
    count = tokens.shape[1]
    weight, bias = torch.unflatten(layer.weight, 0, (count, -1)), layer.bias.view(count, -1)
    asked = torch.einsum("khtd,hdc->khtc", tokens, weight).flatten(1, 2)
    # of keys the bias is the same for all places, but it belongs to the answer's gradient
    shift = torch.einsum("khtd,hd->kht", tokens, bias).flatten(1, 2)[..., None]
    return torch.unflatten(torch.baddbmm(shift, asked, places.transpose(-1, -2)), 1, (count, -1))


def _are_many(tokens: Tensor) -> bool:
    """Whether (K, H, T, D) tokens cost more than projecting each place to (H * D,) once."""
    return tokens.shape[2] > tokens.shape[3]


def _are_plain(*layers: Any) -> bool:
    """Whether the layers multiply with their weights, and no adapter adds to that."""
    return all(type(layer) is nn.Linear for layer in layers)


def _compare(tokens: Tensor, places: Tensor) -> Tensor:
    """(K, H, T, D) with (I, H, P, D) -> logits (K, H, T, P)."""
    if len(places) == len(tokens):
        return tokens @ places.transpose(-1, -2)
    return torch.einsum("khtd,hpd->khtp", tokens, places[0])


def _collect(weights: Tensor, image: Tensor, count: int) -> Tensor:
    """Weights (K, H, T, P) of values (I, P, H * D) -> (K, H, T, D)."""
    value = _heads(image, count)
    if len(value) == len(weights):
        return weights @ value
    return torch.einsum("khtp,hpd->khtd", weights, value[0])


def upscale_once(convolution: Any, values: Tensor) -> Tensor:
    """A transposed convolution (kernel 2, stride 2) of values (..., C) -> (..., 4, C').

    The four are the pixels above left, above right, below left and below right.
    """
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    pixels: Tensor = torch.unflatten(values @ weight, -1, (4, -1)) + convolution.bias
    return pixels


def finer_values(detail: Tensor, levels: int) -> Tensor:
    """(I, C, h 2^levels, w 2^levels) -> (I, h w, 4^levels, C), in the order of `upscale_once`."""
    side = 2**levels
    count, channels, height, width = detail.shape
    blocks = detail.view(count, channels, height // side, side, width // side, side)
    if levels == 2:  # within a block: row of the first level, column of the first, then the second
        blocks = torch.unflatten(torch.unflatten(blocks, 5, (2, 2)), 3, (2, 2))
        blocks = blocks.permute(0, 2, 5, 3, 6, 4, 7, 1)
    else:
        blocks = blocks.permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(count, (height // side) * (width // side), side * side, channels)


def to_pixels(values: Tensor, grid: int) -> Tensor:
    """(K, M, h w * 16) of two `upscale_once` -> (K, M, 4 h, 4 w), with h = w = `grid`."""
    count, masks = values.shape[:2]
    split = values.reshape(count, masks, grid, grid, 2, 2, 2, 2)
    return split.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(count, masks, 4 * grid, 4 * grid)


def mask_vectors(heads: Any, tokens: Tensor) -> Tensor:
    """The hypernetworks' answers to their mask tokens (K, M, C): (K, M, C / 8).

    Always of all tokens, also where one mask is wanted: each weight has a gradient in each step.
    """
    return torch.stack([head(tokens[:, number]) for number, head in enumerate(heads)], dim=1)
