"""Weights and settings from elsewhere that would run code, run for ever, or answer nothing."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from samtune.errors import UserError
from samtune.models.foreign import require_bounded_patterns, require_known_attention
from samtune.models.loading import load_model


@pytest.mark.parametrize(
    "config",
    [
        {"_attn_implementation": "someone/kernel"},
        {"vision_config": {"attn_implementation": "someone/kernel:version"}},
        {"parts": [{"_attn_implementation": {"": "kernels/x"}}]},
    ],
)
def test_kernels_that_would_be_fetched_are_refused(config):
    with pytest.raises(UserError, match=r"'x' asks for the attention kernel .*fetched and run"):
        require_known_attention(config, "x")


def test_kernels_of_the_library_are_taken():
    require_known_attention(
        {"_attn_implementation": "sdpa", "a": {"attn_implementation": None}}, "x"
    )


def test_a_folder_that_names_a_kernel_is_not_loaded(tmp_path):
    load_model("nano").core.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text()) | {"_attn_implementation": "someone/kernel"}
    file.write_text(json.dumps(config))
    with pytest.raises(UserError, match="someone/kernel"):
        load_model(tmp_path)


@pytest.mark.parametrize(
    ("settings", "is_bounded"),
    [
        ({"target_modules": ["qkv", "q_proj"]}, True),
        ({"target_modules": r".*mask_decoder.*(q_proj|v_proj)"}, True),
        ({"target_modules": r"(a\.(0|1|2)\.q)|(b\.(.*\.(k|v)|\w+_(head|mlp)\.x\.\d+))"}, True),
        ({"target_modules": r"(.*\.)?x"}, True),
        ({"target_modules": r"(a*)\1+"}, False),
        ({"target_modules": "(unclosed"}, False),
        ({"target_modules": r"(a+)+$"}, False),
        ({"target_modules": r"(.*)*b"}, False),
        ({"exclude_modules": ".*a.*b.*c.*d"}, False),
        ({"rank_pattern": {r"(\w+\.)+x": 8}}, False),
        ({"modules_to_save": ["(a|aa)+"]}, False),
        ({"layers_pattern": "x" * 2001}, False),
    ],
)
def test_patterns_of_an_adapter_are_bounded(tmp_path, settings, is_bounded):
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    if is_bounded:
        require_bounded_patterns(tmp_path)
        return
    with pytest.raises(UserError, match=r"adapter_config\.json: \w+ has the pattern"):
        require_bounded_patterns(tmp_path)


def test_an_adapter_config_that_is_no_mapping_is_named(tmp_path):
    (tmp_path / "adapter_config.json").write_text("[1]")
    with pytest.raises(UserError, match="holds no settings of an adapter"):
        require_bounded_patterns(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    load_model("nano").core.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    name = next(name for name, each in weights.items() if each.is_floating_point())
    weights[name].view(-1)[0] = value
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match="hold NaN or infinite values"):
        load_model(tmp_path)


def test_so_is_an_adapter(lora_run, tmp_path):
    import shutil

    shutil.copytree(lora_run / "adapter", tmp_path / "adapter")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    weights = load_file(file)
    next(iter(weights.values())).view(-1)[0] = torch.nan
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"adapter hold NaN or infinite values"):
        load_model(tmp_path / "adapter")
