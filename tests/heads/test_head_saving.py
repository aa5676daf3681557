import json

import pytest
import torch

from samtune.errors import UserError
from samtune.heads.instances import InstanceHead
from samtune.heads.network import Encoded
from samtune.heads.saving import head_sha256, read_heads, write_heads

ENCODED = Encoded(64, 8, (4, 6))


@pytest.fixture
def folder(tmp_path):
    head = InstanceHead(ENCODED, {"tile": 48, "seed": 0.7})
    write_heads({"instances": head}, tmp_path)
    return tmp_path


def test_a_head_is_read_back_equal(tmp_path):
    torch.manual_seed(1)
    head = InstanceHead(ENCODED, {"tile": 48, "seed": 0.7}).eval()
    write_heads({"instances": head}, tmp_path)
    found = read_heads(tmp_path, ENCODED)["instances"]
    assert found.tile == 48
    assert found.settings == head.settings
    assert not found.training
    assert head_sha256(found) == head_sha256(head)
    assert not any(parameter.requires_grad for parameter in found.parameters())


def test_other_settings_are_another_head(tmp_path):
    head = InstanceHead(ENCODED, {"tile": 48})
    before = head_sha256(head)
    assert head_sha256(head.changed(seed=0.5)) != before


def test_without_heads_there_are_none(tmp_path):
    assert read_heads(tmp_path, ENCODED) == {}


def test_of_another_encoder(folder):
    with pytest.raises(UserError, match="was made for"):
        read_heads(folder, Encoded(64, 16))


def test_of_an_unknown_kind(folder):
    (folder / "heads/instances").rename(folder / "heads/smells")
    with pytest.raises(UserError, match="does not know"):
        read_heads(folder, ENCODED)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}", b"nonsense"])
def test_damaged_weights(folder, content):
    (folder / "heads/instances/head.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="is damaged"):
        read_heads(folder, ENCODED)


@pytest.mark.parametrize("change", [{"format": 99}, {"settings": None}, {"encoded": {}}])
def test_damaged_settings(folder, change):
    file = folder / "heads/instances/head.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError):
        read_heads(folder, ENCODED)


def test_weights_that_are_no_numbers(tmp_path):
    head = InstanceHead(ENCODED, {"tile": 0})
    torch.nn.init.constant_(head.network.last.bias, float("nan"))
    write_heads({"instances": head}, tmp_path)
    with pytest.raises(UserError, match="no numbers"):
        read_heads(tmp_path, ENCODED)
