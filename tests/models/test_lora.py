"""What is trained, where it sits, and that an adapter is plain PEFT."""

import re
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import SamModel

from samtune.errors import UserError
from samtune.models.encoder_steps import frozen_depth
from samtune.models.families.sam import SamFamily
from samtune.models.loading import load_model
from samtune.models.lora import (
    base_beside,
    encoder_target,
    go_on_from,
    merge,
    parameters_table,
    prepare_for_training,
)
from samtune.models.saving import save_tuned
from samtune.models.settings import LoraSettings
from samtune.models.strength import TunedScale

# Every way to train: name -> arguments of `prepare_for_training` after the network.
WAYS = {
    "qkv of all blocks, decoder whole": ("lora", LoraSettings(rank=2), "full"),
    "qkv of all blocks, decoder frozen": ("lora", LoraSettings(rank=2), "frozen"),
    "last block, decoder lora": (
        "lora",
        LoraSettings(rank=2, encoder="last", last_blocks=1),
        "lora",
    ),
    "everything in the blocks": ("lora", LoraSettings(rank=2, targets="all"), "lora"),
    "decoder lora alone": ("lora", LoraSettings(rank=2, encoder="none"), "lora"),
    "with the prompt encoder": ("lora", LoraSettings(rank=2), "full", True),
    "DoRA": ("lora", LoraSettings(rank=2, with_dora=True), "full"),
    "rsLoRA": ("lora", LoraSettings(rank=2, with_rslora=True), "full"),
    "mode decoder": ("decoder", LoraSettings(), "full"),
}


@pytest.fixture
def prepared(make_sam):
    """A function that makes a fresh tiny network ready to train."""

    def prepare(*arguments):
        sam = make_sam()
        prepare_for_training(sam, *arguments)
        return sam.eval()

    return prepare


def trainable(sam):
    return {name for name, p in sam.core.named_parameters() if p.requires_grad}


def lora_layers(sam):
    """Layers that hold trainable LoRA matrices, each as (A, B)."""
    found = [name for name in trainable(sam) if ".lora_A." in name or ".lora_B." in name]
    layers = {re.split(r"\.lora_", name)[0] for name in found}
    assert len(found) == 2 * len(layers)
    return layers


def plain_names(names):
    """Names as in the network before PEFT."""
    return {name.replace("modules_to_save.default.", "") for name in names}


def part_names(sam, part):
    names = {name for name, _ in sam.core.named_parameters() if name.startswith(part)}
    return {name for name in names if not name.endswith("positional_embedding")}


class TestPlacement:
    @pytest.mark.parametrize(
        ("encoder", "last", "blocks"),
        [
            ("last", 1, (3,)),
            ("last", 3, (1, 2, 3)),
            ("last", 4, (0, 1, 2, 3)),
            ("all", 1, range(4)),
        ],
    )
    @pytest.mark.parametrize(
        ("targets", "layers"),
        [
            ("qkv", ("attn.qkv",)),
            ("attention", ("attn.qkv", "attn.proj")),
            ("all", ("attn.qkv", "attn.proj", "mlp.lin1", "mlp.lin2")),
        ],
    )
    def test_lora_sits_in_the_chosen_layers_of_the_chosen_blocks(
        self, prepared, encoder, last, blocks, targets, layers
    ):
        settings = LoraSettings(rank=2, encoder=encoder, last_blocks=last, targets=targets)
        sam = prepared("lora", settings, "frozen")
        expected = {f"vision_encoder.layers.{b}.{layer}" for b in blocks for layer in layers}
        assert lora_layers(sam) == expected
        assert len(trainable(sam)) == 2 * len(expected)

    def test_the_tenth_block_is_not_taken_for_the_first(self):
        pattern = encoder_target(
            LoraSettings(encoder="last", last_blocks=2), SamFamily, num_layers=12
        )
        matching = [
            n for n in range(12) if re.fullmatch(pattern, f"vision_encoder.layers.{n}.attn.qkv")
        ]
        assert matching == [10, 11]

    def test_without_an_encoder_adapter_only_the_decoder_is_trained(self, prepared, base):
        sam = prepared("lora", LoraSettings(encoder="none"), "full")
        assert plain_names(trainable(sam)) == part_names(base, "mask_decoder")
        assert frozen_depth(sam) == sam.depth == 5

    def test_a_whole_decoder_is_trained_beside_the_encoder_s_lora(self, prepared, base):
        sam = prepared("lora", LoraSettings(rank=2), "full")
        layers = {f"vision_encoder.layers.{b}.attn.qkv" for b in range(4)}
        assert lora_layers(sam) == layers
        whole = {name for name in trainable(sam) if ".lora_" not in name}
        assert plain_names(whole) == part_names(base, "mask_decoder")
        assert frozen_depth(sam) == 0

    def test_decoder_lora_sits_in_every_linear_layer_of_the_decoder(self, prepared, base):
        sam = prepared("lora", LoraSettings(rank=2, encoder="none"), "lora")
        linears = {
            f"mask_decoder.{name}"
            for name, module in base.core.mask_decoder.named_modules()
            if isinstance(module, nn.Linear)
        }
        assert len(linears) == 2 * 14 + 4 + 5 * 3
        assert lora_layers(sam) == linears
        assert frozen_depth(sam) == sam.depth

    def test_the_prompt_encoder_is_trained_whole_but_for_its_matrix(self, prepared, base):
        sam = prepared("lora", LoraSettings(encoder="none"), "frozen", True)
        assert plain_names(trainable(sam)) == part_names(base, "prompt_encoder")

    def test_mode_decoder_trains_the_decoder_whatever_the_lora_settings_say(self, prepared, base):
        sam = prepared("decoder", LoraSettings(encoder="all", targets="all"), "frozen")
        assert plain_names(trainable(sam)) == part_names(base, "mask_decoder")

    def test_mode_full_trains_everything_but_the_positional_matrix_without_peft(
        self, prepared, base
    ):
        sam = prepared("full", LoraSettings())
        everything = {name for name, _ in base.core.named_parameters()}
        assert everything - trainable(sam) == {"shared_image_embedding.positional_embedding"}
        assert not sam.is_adapted

    @pytest.mark.parametrize("way", [*WAYS.values(), ("full", LoraSettings())], ids=[*WAYS, "full"])
    def test_the_positional_matrix_never_trains(self, prepared, way):
        matrices = [
            parameter.requires_grad
            for name, parameter in prepared(*way).named_parameters()
            if name.endswith("positional_embedding")
        ]
        assert matrices
        assert not any(matrices)


class TestSettings:
    def test_the_matrices_have_the_given_rank(self, prepared):
        sam = prepared("lora", LoraSettings(rank=3), "frozen")
        qkv = sam.core.vision_encoder.layers[0].attn.qkv
        assert qkv.lora_A["default"].weight.shape == (3, 48)
        assert qkv.lora_B["default"].weight.shape == (144, 3)

    @pytest.mark.parametrize(
        ("with_rslora", "scale"), [(False, 6 / 4), (True, 6 / 2)], ids=["LoRA", "rsLoRA"]
    )
    def test_the_update_is_scaled_by_alpha_over_rank_or_its_root(
        self, prepared, with_rslora, scale
    ):
        settings = LoraSettings(rank=4, alpha=6.0, with_rslora=with_rslora)
        sam = prepared("lora", settings, "frozen")
        qkv = sam.core.vision_encoder.layers[0].attn.qkv
        with torch.no_grad():
            qkv.lora_B["default"].weight.fill_(0.01)
        update = qkv.lora_B["default"].weight @ qkv.lora_A["default"].weight
        assert torch.allclose(qkv.get_delta_weight("default"), scale * update, atol=1e-7)

    def test_dora_trains_a_magnitude_for_each_layer_too(self, prepared):
        sam = prepared("lora", LoraSettings(rank=2, with_dora=True), "frozen")
        extra = {name for name in trainable(sam) if "lora_magnitude_vector" in name}
        assert len(extra) == 4
        assert len(trainable(sam)) == 3 * 4

    def test_dora_s_magnitudes_start_as_the_norms_of_the_rows(self, prepared):
        qkv = prepared("lora", LoraSettings(with_dora=True)).core.vision_encoder.layers[0].attn.qkv
        magnitude = qkv.lora_magnitude_vector["default"].weight
        assert torch.allclose(magnitude, qkv.base_layer.weight.norm(dim=1), atol=1e-6)

    def test_dropout_acts_in_training_only(self, prepared, shake, pixels):
        sam = prepared("lora", LoraSettings(rank=2, dropout=0.5), "frozen")
        shake(sam)
        with torch.no_grad():
            assert torch.equal(sam.encode(pixels).main, sam.encode(pixels).main)
            sam.train()
            assert not torch.equal(sam.encode(pixels).main, sam.encode(pixels).main)

    @pytest.mark.parametrize("last", [0, -1, 5])
    def test_more_blocks_than_there_are_are_refused(self, prepared, last):
        with pytest.raises(UserError, match=f"last_blocks is {last}.*has 4 blocks.*from 1 to 4"):
            prepared("lora", LoraSettings(encoder="last", last_blocks=last))

    @pytest.mark.parametrize("rank", [0, -2])
    def test_a_rank_below_one_is_refused(self, prepared, rank):
        with pytest.raises(UserError, match=f"lora.rank is {rank}"):
            prepared("lora", LoraSettings(rank=rank))

    def test_nothing_to_train_is_refused(self, prepared):
        with pytest.raises(UserError, match="nothing would be trained"):
            prepared("lora", LoraSettings(encoder="none"), "frozen")


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
class TestEveryWay:
    def test_a_fresh_adapter_answers_exactly_as_the_base(self, prepared, base, answer, way):
        assert torch.equal(answer(prepared(*way)), answer(base))

    def test_turned_off_it_gives_the_base_back_after_training(
        self, prepared, base, answer, shake, way
    ):
        sam = prepared(*way)
        shake(sam)
        tuned = answer(sam)
        with sam.base_weights():
            assert torch.equal(answer(sam), answer(base))
        assert torch.equal(answer(sam), tuned)
        assert not torch.allclose(tuned, answer(base), atol=1e-3)

    def test_its_base_stands_beside_it_while_it_learns(self, prepared, base, answer, shake, way):
        sam = prepared(*way).train()
        learning = trainable(sam)
        beside = base_beside(sam)
        shake(sam)  # in place, as an optimizer does
        assert torch.equal(answer(beside), answer(base))
        assert trainable(sam) == learning
        assert sam.training
        assert not beside.training
        tuned = answer(sam.eval())
        assert not torch.allclose(tuned, answer(base), atol=1e-3)
        own = {id(each) for each in sam.parameters()}
        assert all(id(each) in own for each in beside.parameters())

    def test_training_goes_on_from_what_was_trained(self, prepared, answer, shake, way):
        tuned = prepared(*way)
        shake(tuned)
        again = prepared(*way)
        go_on_from(again, tuned)
        assert torch.equal(answer(again), answer(tuned))

    def test_merged_it_answers_the_same_without_peft(self, prepared, answer, shake, way):
        sam = prepared(*way)
        shake(sam)
        tuned = answer(sam)
        merge(sam)
        assert type(sam.network) is SamModel
        assert not any("lora" in name for name in sam.core.state_dict())
        assert torch.allclose(answer(sam), tuned, atol=1e-5)

    def test_the_folder_loads_with_peft_alone_to_the_same_logits(
        self, base_folder, pixels, shake, tmp_path, way
    ):
        sam = load_model(base_folder)
        prepare_for_training(sam, *way)
        shake(sam)
        sam.eval()
        folder = save_tuned(sam, tmp_path)
        plain = PeftModel.from_pretrained(SamModel.from_pretrained(base_folder), folder).eval()
        inputs = {
            "input_points": torch.tensor([[[[9.0, 20.0]], [[33.0, 40.0]]]] * 2),
            "input_labels": torch.ones(2, 2, 1, dtype=torch.int64),
        }
        with torch.no_grad():
            found = plain(pixel_values=pixels, **inputs)
            expected = sam.core(pixels, **inputs)
        assert torch.allclose(found.pred_masks, expected.pred_masks, atol=1e-5)
        assert torch.allclose(found.iou_scores, expected.iou_scores, atol=1e-5)


class TestSwitching:
    def test_a_network_without_an_adapter_has_no_base_to_go_back_to(self, prepared):
        with (
            pytest.raises(RuntimeError, match="no adapter"),
            prepared("full", LoraSettings()).base_weights(),
        ):
            pass

    def test_the_adapter_is_on_again_after_an_error(self, prepared, answer, shake):
        sam = prepared("lora", LoraSettings(rank=2))
        shake(sam)
        tuned = answer(sam)
        with pytest.raises(KeyError), sam.base_weights():
            raise KeyError
        assert torch.equal(answer(sam), tuned)

    @pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
    def test_what_is_trainable_is_the_same_after_switching(self, prepared, way):
        sam = prepared(*way)
        before = trainable(sam)
        with sam.base_weights():
            pass
        assert trainable(sam) == before

    def test_a_loaded_adapter_stays_frozen_after_switching(self, prepared, tmp_path, base_folder):
        sam = load_model(base_folder)
        prepare_for_training(sam, "lora", LoraSettings(rank=2))
        save_tuned(sam, tmp_path)
        loaded = load_model(tmp_path)
        assert not trainable(loaded)
        with loaded.base_weights():
            pass
        assert not trainable(loaded)

    def test_merging_a_plain_network_changes_nothing(self, make_sam, answer, base):
        sam = make_sam()
        merge(sam)
        assert torch.equal(answer(sam), answer(base))

    def test_the_base_s_weights_stay_frozen_when_others_are_trained(
        self, prepared, base, pixels, prompts
    ):
        sam = prepared("lora", LoraSettings(rank=2), "full")
        optimizer = torch.optim.SGD([p for p in sam.parameters() if p.requires_grad], lr=1.0)
        found = sam.decode(sam.encode(pixels), prompts.image_index, prompts.kinds["points"], True)
        found.low_res_logits.square().mean().backward()
        optimizer.step()
        with sam.base_weights(), torch.no_grad():
            assert torch.equal(sam.encode(pixels).main, base.encode(pixels).main)


class TestTable:
    def rows(self, sam):
        lines = parameters_table(sam).splitlines()[1:]
        return {line.split()[0]: [c.replace(",", "") for c in line.split()[1:]] for line in lines}

    def test_every_parameter_is_counted_once(self, base):
        total = sum(p.numel() for p in base.core.parameters())
        rows = self.rows(base)
        assert rows["total"][1] == str(total)
        assert sum(int(rows[p][1]) for p in rows if p != "total") == total

    def test_lora_is_counted_as_trainable(self, prepared):
        sam = prepared("lora", LoraSettings(rank=2), "frozen")
        rows = self.rows(sam)
        assert int(rows["vision_encoder"][0]) == 4 * 2 * (48 + 144)
        assert rows["mask_decoder"][0] == rows["prompt_encoder"][0] == "0"
        assert rows["total"][0] == rows["vision_encoder"][0]

    def test_a_whole_decoder_is_not_counted_twice(self, prepared, base):
        decoder = sum(p.numel() for p in base.core.mask_decoder.parameters())
        row = self.rows(prepared("decoder", LoraSettings()))["mask_decoder"]
        assert row == [str(decoder), str(decoder), "100.00%"]


class TestGoingOn:
    def test_a_strength_that_was_chosen_stays(self, prepared, base, answer, shake):
        tuned = prepared("lora", LoraSettings(), "lora")
        shake(tuned)
        TunedScale(tuned, base).settle(0.5)
        again = prepared("lora", LoraSettings(), "lora")
        go_on_from(again, tuned)
        assert torch.allclose(answer(again), answer(tuned), atol=1e-5)

    def test_other_parts_are_refused(self, prepared):
        with pytest.raises(UserError, match="must be those of that run"):
            go_on_from(prepared("lora", LoraSettings()), prepared("lora", LoraSettings(rank=4)))

    def test_another_base_is_refused(self, prepared):
        one, other = prepared("lora", LoraSettings()), prepared("lora", LoraSettings())
        other.base = replace(other.base, sha256="another")
        with pytest.raises(UserError, match="is on the base"):
            go_on_from(one, other)
