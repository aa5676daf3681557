"""The authors' checkpoints: every key and shape that they publish, and what their code answers.

`published/*.txt` lists the state dicts of the official models, one line for keys that differ in a
number only. `published/official_outputs.json` holds samples of what the official code (mobile_sam,
SAM-HQ's segment_anything, sam2's image predictor) answers with the weights that `drawn` makes.
"""

import json
import re
import zlib

import numpy as np
import pytest
import torch

from samtune.errors import UserError
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.families.table import FAMILIES, family_of_official
from samtune.models.loading import load_model
from samtune.models.pretraining.initialise import build_network
from samtune.models.registry import REGISTRY
from samtune.types import Prompts
from tests.models.families.published_keys import PUBLISHED, published

NAMES = {
    "mobile_sam": "mobile_sam", "hq_vit_b": "sam_hq_vit_b", "hq_vit_l": "sam_hq_vit_l",
    "hq_vit_h": "sam_hq_vit_h", "sam2.1_tiny": "sam2.1_tiny", "sam2.1_small": "sam2.1_small",
    "sam2.1_base_plus": "sam2.1_base_plus", "sam2.1_large": "sam2.1_large",
}  # fmt: skip
# What 2.1 has and 2.0 has not (facebookresearch/sam2, issues 337 and 704); all for videos
NEW_IN_2_1 = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
OUTPUTS = json.loads((PUBLISHED / "official_outputs.json").read_text())


def empty_tensors(shapes):
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def build_without_memory(name):
    with torch.device("meta"):
        return build_network(REGISTRY[name])


def drawn(key, shape):
    """The weight that both codes were given under an official key."""
    values = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    values = values.astype(np.float32)
    if "gaussian_matrix" in key:
        return values
    if key.endswith("running_var"):
        return 1 + np.abs(values)
    if len(shape) == 1:
        return 1 + 0.1 * values if key.endswith(".weight") else 0.1 * values
    parts = ("embed", "token", "rel_pos", "biases")
    if any(part in key for part in parts) and "proj" not in key:
        return 0.4 * values
    return 1.2 * values / np.sqrt(np.prod(shape[1:]))


def drawn_state(shapes):
    return {
        key: torch.from_numpy(np.asarray(drawn(key, shape), np.float32))
        if not key.endswith("num_batches_tracked")
        else torch.zeros((), dtype=torch.int64)
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize("name", NAMES)
class TestKeys:
    def test_every_published_tensor_finds_its_place(self, name):
        family = FAMILIES[REGISTRY[name].family]
        state = empty_tensors(published(NAMES[name]))
        assert family_of_official(state) is family
        converted = family.official.official_to_transformers(state)
        expected = build_without_memory(name).state_dict()
        assert {k: v.shape for k, v in converted.items()} == {
            k: v.shape for k, v in expected.items()
        }

    def test_the_architecture_is_read_off_the_shapes(self, name):
        family = FAMILIES[REGISTRY[name].family]
        side, settings = family.official.read_settings(empty_tensors(published(NAMES[name])))
        found, expected = family.build_config(side, settings), build_without_memory(name).config
        parts = [(found.mask_decoder_config, expected.mask_decoder_config)]
        vision = found.vision_config, expected.vision_config
        parts.append(tuple(getattr(part, "backbone_config", part) for part in vision))
        for ours, theirs in parts:
            one, other = ours.to_dict(), theirs.to_dict()
            assert {k: v for k, v in one.items() if k not in ("heads", "windows")} == {
                k: v if not isinstance(v, tuple) else list(v)
                for k, v in other.items()
                if k not in ("heads", "windows")
            }

    def test_our_names_become_the_published_ones(self, name):
        shapes = published(NAMES[name])
        found = FAMILIES[REGISTRY[name].family](build_without_memory(name)).to_official()
        for key, shape in shapes.items():
            if key in found:
                assert found[key].shape == shape, key
        missing = shapes.keys() - found.keys()
        assert not found.keys() - shapes.keys()
        video = ("memory_", "maskmem_", "no_mem_pos_enc", "no_obj_", "obj_ptr_", "mask_downsample.")
        assert all(key.startswith(video) for key in missing)
        assert bool(missing) == name.startswith("sam2")


def test_sam_2_0_loads_as_2_1_does():
    shapes = {k: v for k, v in published("sam2.1_tiny").items() if k not in NEW_IN_2_1}
    converted = FAMILIES["sam2"].official.official_to_transformers(empty_tensors(shapes))
    assert converted.keys() == build_without_memory("sam2_tiny").state_dict().keys()


def hq_shapes():
    """SAM-HQ with a smaller encoder: four blocks of 96 channels at 256 pixels."""
    shapes = {}
    for key, shape in published("sam_hq_vit_b").items():
        match = re.search(r"blocks\.(\d+)\.", key)
        if match and int(match[1]) > 3:
            continue
        shape = tuple({768: 96, 2304: 288, 3072: 384}.get(size, size) for size in shape)
        if key.endswith("pos_embed"):
            shape = (1, 16, 16, 96)
        if ".rel_pos_" in key:
            shape = (31 if match[1] in "13" else 27, 24)
        shapes[key] = shape
    return shapes


@pytest.fixture(scope="module", params=["mobile_sam", "sam_hq", "sam2"])
def loaded(request, tmp_path_factory):
    """A model of each family from an official file, and what the authors' code says to it."""
    shapes = {
        "mobile_sam": lambda: published("mobile_sam"),
        "sam_hq": hq_shapes,
        "sam2": lambda: published("sam2.1_tiny"),
    }[request.param]()
    path = tmp_path_factory.mktemp("official") / "model.pt"
    state = drawn_state(shapes)
    torch.save({"model": state} if request.param == "sam2" else state, path)
    sam = load_model(path, image_size=256 if request.param == "sam2" else None)
    return sam, OUTPUTS[request.param]


class TestAnswers:
    def prompts(self, side):
        scale = side / 256
        mask = np.random.default_rng(1).standard_normal((1, 1, side // 4, side // 4)) * 4

        def points(coords, labels):
            return torch.tensor([coords]) * scale, torch.tensor([labels])

        def box(*corners):
            return torch.tensor([corners]) * scale

        return {
            "box": Prompts(boxes_xyxy=box(50, 40, 180, 200)),
            "points": Prompts(*points([[100.0, 80], [190, 150]], [1, 0])),
            "box and point": Prompts(*points([[80.0, 130]], [0]), box(30, 80, 150, 230)),
            "point and mask": Prompts(
                *points([[140.0, 115]], [1]), None, torch.from_numpy(mask.astype(np.float32))
            ),
        }

    @staticmethod
    def sample(values, count):
        flat = values.flatten()
        return flat[:: max(1, len(flat) // count)][:count]

    @torch.no_grad()
    def test_the_authors_code_says_the_same(self, loaded):
        sam, expected = loaded
        side = sam.image_size
        image = np.random.default_rng(0).standard_normal((1, 3, side, side)).astype(np.float32)
        features = sam.encode(torch.from_numpy(image))
        found = self.sample(features.main, 32)
        torch.testing.assert_close(
            found, torch.tensor(expected["embeddings"]), atol=1e-4, rtol=1e-4
        )
        for kind, prompts in self.prompts(side).items():
            for with_three, name in ((True, "three"), (False, "one")):
                answer = sam.decode(features, torch.tensor([0]), prompts, with_three)
                theirs = expected["answers"][f"{kind}, {name}"]
                logits, scores = answer.low_res_logits, answer.iou_scores
                if sam.family.name == "sam_hq":  # the authors' code gives the best one only
                    logits, scores = logits[:, :1], scores[:, :1]
                for ours, other, atol in (
                    (self.sample(logits, 24), theirs["logits"], 5e-4),
                    (self.sample(scores, 4), theirs["scores"], 1e-5),
                ):
                    torch.testing.assert_close(ours, torch.tensor(other), atol=atol, rtol=1e-4)

    @torch.no_grad()
    def test_transformers_own_sam_hq_does_not(self, loaded):
        """It upscales the image as it was before the decoder saw the prompt (5.23); ours does not."""
        sam, _ = loaded
        if sam.family.name != "sam_hq":
            pytest.skip("of SAM-HQ alone")
        pixels = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
        box = torch.tensor([[50.0, 40, 180, 200]])
        ours = sam.decode(sam.encode(pixels), torch.tensor([0]), Prompts(boxes_xyxy=box), True)
        theirs = sam.core(pixels, input_boxes=box[None])
        assert torch.allclose(theirs.iou_scores[0], ours.iou_scores, atol=1e-4)
        assert not torch.allclose(theirs.pred_masks[0], ours.low_res_logits, atol=0.1)


class TestMistakes:
    @pytest.fixture
    def state(self):
        return drawn_state(hq_shapes())

    def test_a_missing_tensor_is_named(self, state, tmp_path):
        del state["mask_decoder.embedding_maskfeature.3.weight"]
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(UserError, match=r"missing keys \(such as mask_decoder\.mask_conv2"):
            load_model(tmp_path / "x.pth")

    def test_a_surplus_tensor_is_named(self, state, tmp_path):
        state["mask_decoder.own.weight"] = torch.zeros(1)
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(UserError, match=r"surplus keys \(such as mask_decoder\.own"):
            load_model(tmp_path / "x.pth")

    def test_a_file_of_another_family_is_told_from_the_name(self, state, tmp_path):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(UserError, match="is not a vit_b: it holds a sam_hq model"):
            load_model("vit_b", checkpoint=tmp_path / "x.pth")

    def test_another_size_of_the_family_is_told_from_the_name(self, state, tmp_path):
        torch.save(state, tmp_path / "x.pth")
        with pytest.raises(UserError, match="is not a hq_vit_b: its encoder has hidden_size 96"):
            load_model("hq_vit_b", checkpoint=tmp_path / "x.pth")

    def test_an_unpublished_number_of_blocks_is_refused(self, tmp_path):
        shapes = published("sam2.1_tiny")
        state = drawn_state({k: v for k, v in shapes.items() if "trunk.blocks.11." not in k})
        torch.save({"model": state}, tmp_path / "x.pt")
        with pytest.raises(UserError, match="published number of blocks"):
            load_model(tmp_path / "x.pt")


def test_stability_decides_between_one_mask_and_the_best_of_three():
    sam = Sam(build_network(REGISTRY["sam2.1_tiny"]), BaseIdentity("x", "", 1024, "")).eval()
    logits = torch.full((3, 4, 8, 8), 5.0)
    logits[1, 0] = 0.01  # hangs on the threshold everywhere
    logits[2, 0] = -5.0  # an empty mask is a stable one
    logits[:, 3] = -2.0
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.9]]).repeat(3, 1)
    chosen, found = sam.family._stable(logits, scores)
    assert torch.equal(chosen[:, 0], torch.stack([logits[0, 0], logits[1, 3], logits[2, 0]]))
    assert found.flatten().tolist() == pytest.approx([0.1, 0.9, 0.1])
