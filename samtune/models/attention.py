"""Exact attention with decomposed relative positions, without its bias in memory.

The encoders of SAM and SAM-HQ add to the attention logits of a query at (y, x) and a key at (y', x')
the terms q . Rh[y, y'] and q . Rw[x, x'] (arXiv 2112.01526, section 4.1). Written out, that bias is as
large as the attention itself, (heads, HW, HW), and keeps fused kernels from being used once it has a
gradient. Here it is added to one block of queries at a time and computed again in the backward pass,
so that time and memory go to the products alone. On CUDA the same sum is written as additional
channels of query and key, for which fused kernels need no bias:

    q . k + q . Rh[y, y'] + q . Rw[x, x'] = [q, q . Rh[y], q . Rw[x]] . [k, onehot(y'), onehot(x')]
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamVisionAttention
from transformers.models.sam_hq.modeling_sam_hq import SamHQVisionAttention

# Elements of the block of logits that is worked on at once: small enough for a cache
_BLOCK_ELEMENTS = 2**20


def attend(query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D) + relative positions) v, exactly.

    Args:
        query, key, value: (N, HW, D), N being images times windows times heads.
        rel_h: (H, H, D) vectors of rows: `rel_h[y, y']` for a query in row y and a key in row y'.
        rel_w: (W, W, D) likewise of columns.

    Returns:
        (N, HW, D).
    """
    if query.is_cuda or torch.onnx.is_in_onnx_export():  # ONNX has not our operator
        return attend_with_columns(query, key, value, rel_h, rel_w)
    answer: Tensor = _attend_by_blocks(query, key, value, rel_h, rel_w)
    return answer


def attend_with_columns(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor
) -> Tensor:
    """`attend` through torch's fused attention."""
    count, length, width = query.shape
    height, breadth = len(rel_h), len(rel_w)
    grid = query.view(count, height, breadth, width)
    by_row = torch.einsum("nhwd,hkd->nhwk", grid, rel_h.to(query.dtype)).flatten(1, 2)
    by_column = torch.einsum("nhwd,wkd->nhwk", grid, rel_w.to(query.dtype)).flatten(1, 2)
    rows = torch.eye(height, device=query.device, dtype=query.dtype)
    columns = torch.eye(breadth, device=query.device, dtype=query.dtype)
    marks = torch.cat([
        rows[:, None].expand(height, breadth, height),
        columns.expand(height, breadth, breadth),
    ], 2).reshape(1, length, -1).expand(count, -1, -1)  # fmt: skip
    wide_query = torch.cat([query * width**-0.5, by_row, by_column], 2)
    wide_key = torch.cat([key, marks], 2)
    # fused kernels take four dimensions
    found = F.scaled_dot_product_attention(wide_query[None], wide_key[None], value[None], scale=1.0)
    return found[0]


# An operator of its own, so that torch.compile calls it as it is instead of unrolling its loop.
@torch.library.custom_op("samtune::attend_by_blocks", mutates_args=())
def _attend_by_blocks(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor
) -> Tensor:
    found = torch.empty_like(query, memory_format=torch.contiguous_format)
    tables = rel_h.to(query.dtype), rel_w.to(query.dtype)
    for heads, rows, queries in _blocks(query, rel_h, rel_w):
        weights = _weights(query[heads, queries], key[heads], tables[0][rows], tables[1])
        torch.bmm(weights, value[heads], out=found[heads, queries])
    return found


@_attend_by_blocks.register_fake
def _(query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    return torch.empty_like(query, memory_format=torch.contiguous_format)


@torch.library.custom_op("samtune::attend_by_blocks_backward", mutates_args=())
def _backward_by_blocks(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor,
    found: Tensor, gradient: Tensor, with_tables: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    scale = query.shape[-1] ** -0.5
    tables = rel_h.to(query.dtype), rel_w.to(query.dtype)
    d_query, d_key, d_value = (torch.zeros_like(part) for part in (query, key, value))
    d_rel_h, d_rel_w = torch.zeros_like(rel_h), torch.zeros_like(rel_w)
    for heads, rows, queries in _blocks(query, rel_h, rel_w):
        part, reached = query[heads, queries], gradient[heads, queries]
        weights = _weights(part, key[heads], tables[0][rows], tables[1])
        d_value[heads].baddbmm_(weights.mT, reached)
        share = (reached * found[heads, queries]).sum(-1, keepdim=True)
        d_logits = torch.bmm(reached, value[heads].mT).sub_(share).mul_(weights)
        grid = (len(part), len(tables[0][rows]), len(rel_w))
        by_key = d_logits.view(*grid, len(rel_h), len(rel_w))
        by_row, by_column = by_key.sum(-1), by_key.sum(-2)
        d_part = torch.bmm(d_logits, key[heads]).mul_(scale).view(*grid, -1)
        d_part += torch.einsum("nhwk,hkd->nhwd", by_row, tables[0][rows])
        d_part += torch.einsum("nhwk,wkd->nhwd", by_column, tables[1])
        d_query[heads, queries] = d_part.flatten(1, 2)
        d_key[heads].baddbmm_(d_logits.mT, part, alpha=scale)
        if with_tables:
            places = part.view(*grid, -1)
            d_rel_h[rows] += torch.einsum("nhwk,nhwd->hkd", by_row, places)
            d_rel_w += torch.einsum("nhwk,nhwd->wkd", by_column, places)
    return d_query, d_key, d_value, d_rel_h, d_rel_w


@_backward_by_blocks.register_fake
def _(
    query: Tensor, key: Tensor, value: Tensor, rel_h: Tensor, rel_w: Tensor,
    found: Tensor, gradient: Tensor, with_tables: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    parts = [torch.empty_like(part) for part in (query, key, value, rel_h, rel_w)]
    return parts[0], parts[1], parts[2], parts[3], parts[4]


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs, output)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    with_tables = any(ctx.needs_input_grad[3:])
    parts = _backward_by_blocks(*ctx.saved_tensors, gradient.contiguous(), with_tables)
    return tuple(parts) if with_tables else (*parts[:3], None, None)


_attend_by_blocks.register_autograd(_backward, setup_context=_remember)


def _blocks(query: Tensor, rel_h: Tensor, rel_w: Tensor) -> list[tuple[slice, slice, slice]]:
    """Which heads, rows of the grid and queries are worked on at once."""
    count, length, _ = query.shape
    height, breadth = len(rel_h), len(rel_w)
    rows = max(1, min(height, _BLOCK_ELEMENTS // (breadth * length)))
    heads = max(1, min(count, _BLOCK_ELEMENTS // (rows * breadth * length)))
    return [
        (
            slice(head, min(head + heads, count)),
            slice(row, min(row + rows, height)),
            slice(row * breadth, min(row + rows, height) * breadth),
        )
        for head in range(0, count, heads)
        for row in range(0, height, rows)
    ]


def _weights(query: Tensor, key: Tensor, rel_h: Tensor, rel_w: Tensor) -> Tensor:
    """Attention (N, rows * W, HW) of the queries of some rows of the grid."""
    count, _, width = query.shape
    rows, breadth = len(rel_h), len(rel_w)
    logits = torch.bmm(query * width**-0.5, key.mT)
    grid = query.view(count, rows, breadth, width)
    bias = logits.view(count, rows, breadth, rel_h.shape[1], breadth)
    bias += torch.einsum("nhwd,hkd->nhwk", grid, rel_h)[..., None]
    bias += torch.einsum("nhwd,wkd->nhwk", grid, rel_w)[..., None, :]
    if logits.dtype in (torch.float16, torch.bfloat16):
        return logits.softmax(-1, dtype=torch.float32).to(logits.dtype)
    return torch.softmax(logits, -1, out=logits)


class _ExactAttention(nn.Module):
    """The forward pass of a vision attention with `attend`; the layers stay transformers'."""

    def forward(self, hidden_states: Tensor, output_attentions: Any = None) -> tuple[Tensor, None]:
        own: Any = self
        batch, height, width, _ = hidden_states.shape
        heads = own.num_attention_heads
        # (3, B * heads, HW, D)
        split = own.qkv(hidden_states).view(batch, height * width, 3, heads, -1)
        query, key, value = split.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
        if own.use_rel_pos:
            found = attend(
                query, key, value,
                relative_table(own.rel_pos_h, height), relative_table(own.rel_pos_w, width),
            )  # fmt: skip
        else:
            found = F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
        found = found.view(batch, heads, height, width, -1).permute(0, 2, 3, 1, 4)
        return own.proj(found.flatten(3)), None


def relative_table(vectors: Tensor, side: int) -> Tensor:
    """Vectors (2 g - 1, D) by distance -> (side, side, D) by query and key; resized if they must be.

    Source: segment_anything's `get_rel_pos` (modeling/image_encoder.py).
    """
    if len(vectors) != 2 * side - 1:
        resized = F.interpolate(vectors.T[None], 2 * side - 1, mode="linear", align_corners=False)
        vectors = resized[0].T
    places = torch.arange(side, device=vectors.device)
    return vectors[places[:, None] - places + side - 1]


class ExactSamAttention(_ExactAttention, SamVisionAttention):  # type: ignore[misc]
    """SAM's."""


class ExactSamHQAttention(_ExactAttention, SamHQVisionAttention):  # type: ignore[misc]
    """SAM-HQ's."""


def use_exact_attention(encoder: nn.Module) -> None:
    """Give every attention of an encoder the exact, fast forward pass, in place.

    The class of the modules changes, not their parameters: adapters, checkpointing and saving see
    what they saw before.
    """
    for module in encoder.modules():
        if getattr(module, "dropout", 0.0):
            continue  # attention dropout needs the whole matrix
        for ours in (ExactSamAttention, ExactSamHQAttention):
            if isinstance(module, ours.__mro__[2]):
                module.__class__ = ours
