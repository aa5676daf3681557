"""What is known of a model before it is loaded is true of the network that is then built."""

import re

import pytest
import torch

from samtune.errors import UserError
from samtune.models.families.table import find_family
from samtune.models.pretraining.initialise import build_config, build_network
from samtune.models.registry import REGISTRY, models_table, require_there


def build_without_memory(name):
    with torch.device("meta"):
        return build_network(REGISTRY[name])


# EdgeTAM's encoder is timm's, which cannot be installed beside a CPU build of torch
BUILT = [name for name in REGISTRY if name != "edgetam"]


@pytest.mark.parametrize("name", BUILT)
def test_the_parameter_count_is_the_network_s_with_the_tied_positional_matrix_once(name):
    network = build_without_memory(name)
    matrices = [n for n, _ in network.named_parameters() if n.endswith("positional_embedding")]
    is_buffer = REGISTRY[name].family in ("sam2", "sam3")
    assert len(matrices) == (0 if is_buffer else 1)
    assert REGISTRY[name].num_parameters == sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "image_size", "width", "blocks", "heads", "global_blocks"),
    [
        ("vit_b", 1024, 768, 12, 12, [2, 5, 8, 11]),
        ("vit_l", 1024, 1024, 24, 16, [5, 11, 17, 23]),
        ("vit_h", 1024, 1280, 32, 16, [7, 15, 23, 31]),
        ("medsam", 1024, 768, 12, 12, [2, 5, 8, 11]),
        ("nano", 256, 192, 6, 6, [2, 5]),
    ],
)
def test_the_encoder_is_built_as_published(name, image_size, width, blocks, heads, global_blocks):
    vision = build_config(REGISTRY[name]).vision_config
    assert REGISTRY[name].image_size == vision.image_size == image_size
    assert (vision.hidden_size, vision.num_hidden_layers) == (width, blocks)
    assert vision.num_attention_heads == heads
    assert list(vision.global_attn_indexes) == global_blocks


@pytest.mark.parametrize("name", BUILT)
def test_the_prompt_encoder_works_on_the_encoder_s_grid(name):
    family = find_family(build_without_memory(name))
    assert family.name == REGISTRY[name].family
    assert family.frame.side == REGISTRY[name].image_size
    assert family.grid == REGISTRY[name].image_size // (14 if name == "sam3" else 16)


def test_models_are_keyed_by_their_own_names():
    assert all(name == spec.name for name, spec in REGISTRY.items())


def test_only_nano_needs_no_download():
    names = ["nano", "nano_random", "vit_b_random", "mobile_sam_random", "sam2.1_tiny_random"]
    assert [name for name, spec in REGISTRY.items() if spec.origin != "hub"] == names
    assert [name for name, spec in REGISTRY.items() if not (spec.hub_id or spec.url)] == names


def test_a_hash_is_64_hexadecimal_digits_and_belongs_to_one_file():
    hashes = [spec.sha256 for spec in REGISTRY.values() if spec.sha256]
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in hashes)
    assert len(set(hashes)) == len(hashes) == 3 + 8 + 1


@pytest.mark.parametrize(("long", "num_columns"), [(False, 5), (True, 8)])
def test_the_table_has_a_row_for_each_model_without_an_empty_cell(long, num_columns):
    rows = models_table(long)
    assert [row["model"] for row in rows] == list(REGISTRY)
    assert {tuple(row) for row in rows} == {tuple(rows[0])}
    assert len(rows[0]) == num_columns
    assert all(cell for row in rows for cell in row.values())


def test_the_table_tells_size_input_and_where_the_weights_are():
    rows = {row["model"]: row for row in models_table(long=True)}
    assert list(rows["vit_b"].values())[:4] == ["vit_b", "93.7M", "1024", "facebook/sam-vit-base"]
    file = "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
    assert rows["vit_b"]["official file"] == file
    assert list(rows["nano"].values()) == [
        "nano", "3.8M", "256", "(comes with samtune)", "Apache-2.0", "Apache-2.0", "-", "-",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("runs/nope", "no model 'runs/nope'.*; runs holds mine"),
        ("./nope", r"no model './nope'.*; \. holds runs"),
        ("a/b/c", "nor an existing file or folder$"),
    ],
)
def test_a_path_that_leads_nowhere_is_no_name_of_the_hub(tmp_path, monkeypatch, source, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match=told):
        require_there(source)


@pytest.mark.parametrize("source", ["nano", "facebook/sam-vit-base", "runs/mine"])
def test_names_and_what_is_there_may_be_asked_for(tmp_path, monkeypatch, source):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    require_there(source)
