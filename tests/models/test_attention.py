"""The fast attention says exactly what transformers' eager one says, forward and backward."""

import copy

import pytest
import torch
from transformers import SamHQVisionConfig, SamVisionConfig
from transformers.models.sam.modeling_sam import SamVisionAttention, SamVisionLayer
from transformers.models.sam_hq.modeling_sam_hq import SamHQVisionAttention

from samtune.models import attention
from samtune.models.attention import attend, attend_with_columns, use_exact_attention

KINDS = {
    "sam": (SamVisionConfig, SamVisionAttention),
    "sam_hq": (SamHQVisionConfig, SamHQVisionAttention),
}


@pytest.fixture(params=KINDS)
def pair(request):
    """An eager attention on a 6 x 6 grid with random tables, and the same made fast."""
    config, build = KINDS[request.param]
    torch.manual_seed(0)
    eager = build(
        config(hidden_size=24, num_attention_heads=3, image_size=96, patch_size=16), window_size=0
    ).double()
    torch.nn.init.normal_(eager.rel_pos_h)
    torch.nn.init.normal_(eager.rel_pos_w)
    fast = copy.deepcopy(eager)
    use_exact_attention(fast)
    return eager, fast


def gradients(layer, values):
    values = values.clone().requires_grad_()
    weights = torch.linspace(-1, 1, values.numel(), dtype=values.dtype).view_as(values)
    (layer(values)[0] * weights).sum().backward()
    return {"input": values.grad} | {name: p.grad for name, p in layer.named_parameters()}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of one row of one head, so that a small grid is cut into many."""
    monkeypatch.setattr(attention, "_BLOCK_ELEMENTS", 1)


@pytest.fixture(autouse=True)
def _softmax_in_the_precision_of_its_input(monkeypatch):
    """Eager attention rounds its softmax to single precision, also in double: 1e-7 off by itself."""
    exact = torch.nn.functional.softmax

    def softmax(values, dim, dtype=None):
        return (
            exact(values, dim) if values.dtype == torch.float64 else exact(values, dim, dtype=dtype)
        )

    monkeypatch.setattr(torch.nn.functional, "softmax", softmax)


class TestAgainstEager:
    @pytest.fixture(params=["one block", "many blocks"], autouse=True)
    def blocks(self, request):
        if request.param == "many blocks":
            request.getfixturevalue("small_blocks")

    def test_in_double_precision_to_1e_10(self, pair):
        eager, fast = pair
        values = torch.randn(2, 6, 6, 24, dtype=torch.float64)
        assert (fast(values)[0] - eager(values)[0]).abs().max() < 1e-10
        expected, found = gradients(eager, values), gradients(fast, values)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            assert (gradient - expected[name]).abs().max() < 1e-10, name

    def test_in_single_precision_to_1e_4(self, pair):
        eager, fast = (layer.float() for layer in pair)
        values = torch.randn(2, 6, 6, 24)
        assert (fast(values)[0] - eager(values)[0]).abs().max() < 1e-4
        expected, found = gradients(eager, values), gradients(fast, values)
        for name, gradient in found.items():
            assert (gradient - expected[name]).abs().max() < 1e-4, name

    def test_frozen_tables_get_no_gradient_and_change_none(self, pair):
        eager, fast = pair
        for layer in pair:
            layer.rel_pos_h.requires_grad_(False)
            layer.rel_pos_w.requires_grad_(False)
        values = torch.randn(1, 6, 6, 24, dtype=torch.float64)
        expected, found = gradients(eager, values), gradients(fast, values)
        assert found["rel_pos_h"] is None
        assert (found["qkv.weight"] - expected["qkv.weight"]).abs().max() < 1e-10

    def test_grids_that_are_not_square_and_tables_of_another_size(self, pair):
        eager, fast = pair
        for side in ((4, 6), (6, 5), (3, 3)):
            values = torch.randn(1, *side, 24, dtype=torch.float64)
            if side[0] != side[1]:
                # one table for both sides of a window: eager's own rule cannot be asked for more
                eager.rel_pos_h.data = fast.rel_pos_h.data = torch.randn(
                    2 * side[0] - 1, 8
                ).double()
                eager.rel_pos_w.data = fast.rel_pos_w.data = torch.randn(
                    2 * side[1] - 1, 8
                ).double()
            assert (fast(values)[0] - eager(values)[0]).abs().max() < 1e-10


class TestColumns:
    """The way for GPUs, which runs anywhere."""

    def inputs(self, dtype=torch.float64):
        torch.manual_seed(1)
        parts = [torch.randn(3, 20, 8, dtype=dtype) for _ in range(3)]
        return [*parts, torch.randn(4, 4, 8, dtype=dtype), torch.randn(5, 5, 8, dtype=dtype)]

    def test_it_says_the_same_forward_and_backward(self):
        answers = []
        for function in (attend, attend_with_columns):
            inputs = [part.requires_grad_() for part in self.inputs()]
            found = function(*inputs)
            found.square().sum().backward()
            answers.append([found, *(part.grad for part in inputs)])
        for ours, columns in zip(*answers, strict=True):
            assert (ours - columns).abs().max() < 1e-10


class TestComposition:
    @pytest.fixture
    def layer(self):
        torch.manual_seed(2)
        config = SamVisionConfig(
            hidden_size=24, num_attention_heads=3, image_size=96, mlp_dim=48, window_size=4
        )
        config._attn_implementation = "eager"
        return SamVisionLayer(config, window_size=4)  # 6 x 6 in windows of 4: padded

    def test_with_checkpointing(self, layer):
        values = torch.randn(1, 6, 6, 24)
        use_exact_attention(layer)
        plain = torch.autograd.grad(layer(values).sum(), list(layer.parameters()))
        again = torch.utils.checkpoint.checkpoint(layer, values, use_reentrant=False)
        for first, second in zip(
            plain, torch.autograd.grad(again.sum(), list(layer.parameters())), strict=True
        ):
            assert torch.allclose(first, second, atol=1e-6)

    def test_with_autocast_as_near_to_single_precision_as_eager_is(self, layer):
        values = torch.randn(1, 6, 6, 24)
        fast = copy.deepcopy(layer)
        use_exact_attention(fast)
        exact = layer(values)
        with torch.autocast("cpu", torch.bfloat16):
            gaps = [(other(values) - exact).abs().max() for other in (layer, fast)]
            fast(values).float().sum().backward()
        assert gaps[1] < 1.5 * gaps[0] + 1e-3
        assert all(torch.isfinite(p.grad).all() for p in fast.parameters())

    @pytest.mark.slow
    def test_with_torch_compile_without_a_break(self, layer):
        use_exact_attention(layer)
        values = torch.randn(1, 6, 6, 24)
        compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
        assert torch.allclose(compiled(values), layer(values), atol=1e-6)
        compiled(values).sum().backward()
        found = layer.attn.qkv.weight.grad.clone()
        layer.zero_grad()
        layer(values).sum().backward()
        assert torch.allclose(found, layer.attn.qkv.weight.grad, atol=1e-5)

    def test_attention_with_dropout_stays_transformers_own(self, layer):
        layer.attn.dropout = 0.1
        use_exact_attention(layer)
        assert type(layer.attn) is SamVisionAttention

    def test_every_sam_that_samtune_makes_has_it(self, base):
        found = {type(layer.attn) for layer in base.core.vision_encoder.layers}
        assert found == {attention.ExactSamAttention}

    def test_the_whole_bias_is_never_in_memory(self, monkeypatch):
        monkeypatch.setattr(attention, "_BLOCK_ELEMENTS", 64)
        largest = []
        weights = attention._weights

        def spy(*arguments):
            found = weights(*arguments)
            largest.append(found.numel())
            return found

        monkeypatch.setattr(attention, "_weights", spy)
        parts = [torch.randn(4, 36, 8, requires_grad=True) for _ in range(3)]
        tables = [torch.randn(6, 6, 8) for _ in range(2)]
        attend(*parts, *tables).sum().backward()
        assert max(largest) == 6 * 36  # one row of queries of one head against all keys
