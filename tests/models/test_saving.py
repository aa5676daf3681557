"""What is written loads again elsewhere, and a crash never leaves half of it."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import SamModel

from samtune.errors import UserError
from samtune.models import saving
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.loading import load_model
from samtune.models.lora import merge, prepare_for_training
from samtune.models.saving import save_official, save_transformers, save_tuned
from samtune.models.settings import LoraSettings
from samtune.reading import Reading


@pytest.fixture
def tuned(base_folder, shake):
    sam = load_model(base_folder)
    prepare_for_training(sam, "lora", LoraSettings(rank=2, encoder="last", last_blocks=1), "frozen")
    shake(sam)
    return sam.eval()


def same(found, expected):
    """Equal but for rounding: where the weights lie in memory may change the last digit."""
    return torch.allclose(found, expected, atol=1e-6, rtol=0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read_json(path):
    return json.loads(path.read_text())


class TestAdapters:
    def test_the_folder_holds_peft_s_files_and_ours_and_no_pickle(self, tuned, tmp_path):
        folder = save_tuned(tuned, tmp_path / "run")
        assert folder == tmp_path / "run" / "adapter"
        expected = {"adapter_config.json", "adapter_model.safetensors", "samtune.json"}
        assert set(names(folder)) - {"README.md"} == expected

    def test_only_what_was_trained_is_stored(self, tuned, tmp_path):
        folder = save_tuned(tuned, tmp_path)
        stored = load_file(folder / "adapter_model.safetensors")
        root = "base_model.model.vision_encoder.layers.3.attn.qkv"
        assert set(stored) == {f"{root}.lora_A.weight", f"{root}.lora_B.weight"}
        qkv = tuned.core.vision_encoder.layers[3].attn.qkv
        assert torch.equal(stored[f"{root}.lora_B.weight"], qkv.lora_B["default"].weight)

    def test_the_metadata_names_base_and_settings(self, tuned, base_folder, tmp_path):
        tuned.with_multimask, tuned.is_better = False, True
        tuned.reading = Reading((3, 1, 0), "auto", window="lung", axis="coronal", tile=512)
        metadata = read_json(save_tuned(tuned, tmp_path) / "samtune.json")
        assert metadata == {
            "format": 2,
            "base": {
                "name": str(base_folder),
                "checkpoint": "",
                "image_size": 64,
                "sha256": tuned.base.sha256,
                "is_random": False,
            },
            "reading": {
                "bands": [3, 1, 0], "stretch": "auto", "value_range": None, "window": "lung",
                "axis": "coronal", "with_neighbours": False, "tile": 512,
            },
            "with_multimask": False,
            "is_better": True,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("name", "checkpoint", "stored"),
        [
            ("vit_b", "", "facebook/sam-vit-base"),
            ("medsam", "", "wanglab/medsam-vit-base"),
            ("vit_b", "sam_vit_b_01ec64.pth", "sam_vit_b_01ec64.pth"),
            ("somebody/something", "", "somebody/something"),
        ],
    )
    def test_peft_s_config_names_the_base_as_transformers_finds_it(
        self, tuned, tmp_path, name, checkpoint, stored
    ):
        tuned.base = BaseIdentity(name, checkpoint, 64, "")
        config = read_json(save_tuned(tuned, tmp_path) / "adapter_config.json")
        assert config["base_model_name_or_path"] == stored
        assert config["peft_type"] == "LORA"

    def test_saving_again_replaces_the_folder_and_leaves_nothing_else(self, tuned, shake, tmp_path):
        save_tuned(tuned, tmp_path)
        (tmp_path / "adapter" / "old.txt").write_text("from before")
        shake(tuned, seed=8)
        save_tuned(tuned, tmp_path)
        assert names(tmp_path) == ["adapter"]
        assert "old.txt" not in names(tmp_path / "adapter")
        stored = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
        qkv = tuned.core.vision_encoder.layers[3].attn.qkv
        assert any(torch.equal(v, qkv.lora_B["default"].weight) for v in stored.values())

    def test_a_crash_while_writing_leaves_the_old_adapter(
        self, tuned, shake, answer, tmp_path, monkeypatch
    ):
        save_tuned(tuned, tmp_path)
        before = answer(tuned)
        shake(tuned, seed=8)

        def fail(*_):
            raise OSError("no space left on device")

        monkeypatch.setattr(saving, "write_json", fail)
        with pytest.raises(OSError, match="no space"):
            save_tuned(tuned, tmp_path)
        assert names(tmp_path) == ["adapter"]
        assert same(answer(load_model(tmp_path)), before)

    def test_saving_does_not_change_the_network(self, tuned, answer, tmp_path):
        before = answer(tuned)
        save_tuned(tuned, tmp_path)
        assert same(answer(tuned), before)
        assert isinstance(tuned.network, PeftModel)


class TestWholeModels:
    def test_after_training_everything_the_run_holds_a_model_folder(
        self, base_folder, shake, tmp_path
    ):
        sam = load_model(base_folder)
        prepare_for_training(sam, "full", LoraSettings())
        shake(sam)
        folder = save_tuned(sam, tmp_path)
        assert names(tmp_path) == ["model"]
        assert names(folder) == ["config.json", "model.safetensors", "samtune.json"]
        assert read_json(folder / "samtune.json")["base"]["sha256"] == sam.base.sha256

    def test_it_loads_with_transformers_alone_to_the_same_logits(self, make_sam, pixels, tmp_path):
        sam = make_sam(seed=5)
        plain = SamModel.from_pretrained(save_transformers(sam, tmp_path / "plain")).eval()
        boxes = torch.tensor([[[5.0, 6.0, 40.0, 50.0]]] * 2)
        with torch.no_grad():
            found, expected = (n(pixels, input_boxes=boxes) for n in (plain, sam.core))
        assert same(found.pred_masks, expected.pred_masks)

    def test_the_config_carries_the_decoder_s_eps(self, base_folder):
        config = read_json(base_folder / "config.json")
        assert config["mask_decoder_config"]["layer_norm_eps"] == 1e-5
        assert config["model_type"] == "sam"

    def test_metadata_are_written_only_when_asked_for(self, base_folder):
        assert names(base_folder) == ["config.json", "model.safetensors"]

    def test_a_merged_adapter_saves_as_a_plain_model(self, tuned, answer, tmp_path):
        before = answer(tuned)
        merge(tuned)
        loaded = load_model(save_transformers(tuned, tmp_path / "merged"))
        assert not loaded.is_adapted
        assert torch.allclose(answer(loaded), before, atol=1e-5)


class TestOfficialFiles:
    def test_keys_are_the_official_ones(self, official_file):
        state = torch.load(official_file, weights_only=True)
        assert "image_encoder.blocks.3.attn.qkv.weight" in state
        assert "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix" in state
        assert "mask_decoder.iou_prediction_head.layers.2.bias" in state
        assert {key.split(".")[0] for key in state} == {
            "image_encoder",
            "prompt_encoder",
            "mask_decoder",
        }

    def test_it_loads_to_the_same_answers(self, official_file, base, answer):
        assert same(answer(load_model(official_file)), answer(base))

    def test_folders_are_made_on_the_way(self, base, tmp_path):
        save_official(base, tmp_path / "new" / "deep" / "sam.pth")
        assert names(tmp_path / "new" / "deep") == ["sam.pth"]


@pytest.mark.parametrize("save", [save_transformers, save_official])
def test_an_adapter_must_be_merged_first(tuned, tmp_path, save):
    with pytest.raises(UserError, match="merge it before"):
        save(tuned, tmp_path / "out")
    assert names(tmp_path) == []


def test_a_plain_network_is_saved_as_a_model_and_not_as_an_adapter(make_sam, tmp_path):
    sam = make_sam()
    assert isinstance(sam, Sam)
    assert save_tuned(sam, tmp_path) == tmp_path / "model"
