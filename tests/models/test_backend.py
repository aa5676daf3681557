"""One encode and decode for all: packed objects, chunks, gradients, segment_anything's forward."""

import pytest
import torch
from transformers import SamModel

from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.types import Prompts

KINDS = ("points", "boxes", "both", "points and masks", "masks alone")


@pytest.fixture(scope="module")
def embeddings(base, pixels):
    with torch.no_grad():
        return base.encode(pixels)


@pytest.fixture(scope="module")
def decode(base, embeddings, prompts):
    """A function that decodes all objects of a kind of prompt on the base."""

    @torch.no_grad()
    def ask(kind, multimask=True, **settings):
        return base.decode(
            embeddings, prompts.image_index, prompts.kinds[kind], multimask, **settings
        )

    return ask


def transformers_answer(base, pixels, prompts, kind, multimask):
    """What transformers' own forward says to each object alone, stacked as ours."""
    given, masks, scores = prompts.kinds[kind], [], []
    for k, image in enumerate(prompts.image_index):

        def one(value, k=k):
            return None if value is None else value[k : k + 1][None]

        mask = given.mask_inputs
        with torch.no_grad():
            found = base.core(
                pixels[image][None],
                input_points=one(given.point_coords),
                input_labels=one(given.point_labels),
                input_boxes=one(given.boxes_xyxy),
                input_masks=None if mask is None else mask[k : k + 1],
                multimask_output=multimask,
            )
        masks.append(found.pred_masks[0])
        scores.append(found.iou_scores[0])
    return torch.cat(masks), torch.cat(scores)


class TestDecoding:
    @pytest.mark.parametrize("multimask", [True, False])
    @pytest.mark.parametrize("kind", KINDS)
    def test_packed_objects_are_answered_as_by_transformers_one_by_one(
        self, base, decode, pixels, prompts, kind, multimask
    ):
        found = decode(kind, multimask)
        masks, scores = transformers_answer(base, pixels, prompts, kind, multimask)
        assert found.low_res_logits.shape == masks.shape == (5, 3 if multimask else 1, 16, 16)
        assert torch.allclose(found.low_res_logits, masks, atol=1e-5)
        assert torch.allclose(found.iou_scores, scores, atol=1e-5)

    @pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_chunk_size_never_changes_a_result(self, decode, kind, size):
        found, expected = decode(kind, objects_per_chunk=size), decode(kind)
        assert torch.allclose(found.low_res_logits, expected.low_res_logits, atol=1e-5)
        assert torch.allclose(found.iou_scores, expected.iou_scores, atol=1e-5)

    @pytest.mark.parametrize("kind", KINDS)
    def test_the_order_of_objects_only_changes_the_order_of_answers(
        self, base, embeddings, prompts, decode, kind
    ):
        order = torch.tensor([3, 0, 4, 2, 1])
        with torch.no_grad():
            found = base.decode(
                embeddings, prompts.image_index[order], prompts.kinds[kind][order], True
            )
        assert torch.allclose(found.low_res_logits, decode(kind).low_res_logits[order], atol=1e-5)

    def test_an_object_is_answered_on_its_own_image(self, base, embeddings, prompts, decode):
        with torch.no_grad():
            swapped = base.decode(embeddings, 1 - prompts.image_index, prompts.kinds["boxes"], True)
        gaps = (swapped.low_res_logits - decode("boxes").low_res_logits).abs().amax((1, 2, 3))
        assert (gaps > 1e-3).all()

    def test_every_part_of_a_prompt_matters(self, decode):
        answers = [decode(kind).low_res_logits for kind in KINDS]
        for number, first in enumerate(answers):
            for second in answers[number + 1 :]:
                assert not torch.allclose(first, second, atol=1e-4)

    def test_a_mask_alone_brings_no_tokens(self, base, prompts):
        sparse, dense = base.embed_prompts(prompts.kinds["masks alone"])
        assert sparse.shape == (5, 0, 32)
        assert dense.shape == (5, 32, 4, 4)

    @pytest.mark.parametrize(("kind", "tokens"), [("points", 3), ("boxes", 2), ("both", 4)])
    def test_points_alone_bring_a_padding_token_and_a_box_two_corners(
        self, base, prompts, kind, tokens
    ):
        assert base.embed_prompts(prompts.kinds[kind])[0].shape == (5, tokens, 32)

    def test_the_single_mask_is_not_among_the_three(self, decode):
        one, three = decode("both", False).low_res_logits, decode("both", True).low_res_logits
        assert all(not torch.allclose(one[:, 0], three[:, m], atol=1e-4) for m in range(3))


class TestHalfPrecision:
    @pytest.mark.parametrize("kind", ["points", "boxes"])
    def test_coordinates_stay_exact(self, base, prompts, kind):
        exact = base.embed_prompts(prompts.kinds[kind])[0]
        with torch.autocast("cpu", torch.bfloat16):
            found = base.embed_prompts(prompts.kinds[kind])[0]
        assert found.dtype == torch.float32
        assert torch.equal(found, exact)


class TestSizes:
    def test_sides_of_input_mask_and_embeddings(self, base, embeddings):
        assert (base.image_size, base.mask_side) == (64, 16)
        assert embeddings.main.shape == (2, 32, 4, 4)

    def test_images_are_encoded_independently_of_their_batch(self, base, pixels, embeddings):
        with torch.no_grad():
            alone = base.encode(pixels[1:])
        assert torch.allclose(alone.main[0], embeddings.main[1], atol=1e-5)

    def test_normalisation_is_the_official_one_and_padding_is_zero_right_and_below(self, base):
        image = torch.zeros(3, 2, 3)
        image[0] = 123.675 + 58.395
        image[1] = 116.28 - 57.12
        image[2] = 103.53 + 2 * 57.375
        done = base.preprocess(image)
        assert done.shape == (3, 64, 64)
        expected = torch.tensor([1.0, -1.0, 2.0])[:, None, None].expand(3, 2, 3)
        assert torch.allclose(done[:, :2, :3], expected, atol=1e-6)
        assert not done[:, 2:].any()
        assert not done[:, :, 3:].any()

    def test_a_batch_is_preprocessed_as_its_images(self, base):
        images = torch.rand(2, 3, 64, 48, generator=torch.Generator().manual_seed(0)) * 255
        assert torch.equal(base.preprocess(images)[1], base.preprocess(images[1]))

    def test_masks_come_back_at_the_original_size_without_the_padding(self, base):
        logits = torch.full((1, 1, 16, 16), -1.0)
        logits[..., :8, :] = 1.0  # the upper half of the padded square holds the image
        full = base.postprocess_masks(logits, (32, 64), (100, 200))
        assert full.shape == (1, 1, 100, 200)
        assert (full[..., :90, :] > 0).all()

    def test_the_device_is_that_of_the_weights(self, base):
        assert base.device == next(base.core.parameters()).device == torch.device("cpu")


class TestGradients:
    @pytest.fixture
    def adapted(self, make_sam, shake):
        """A function that gives a shaken adapter in training mode."""

        def prepare(*arguments):
            sam = make_sam()
            torch.manual_seed(0)  # PEFT draws its matrices from the global generator
            prepare_for_training(sam, *arguments)
            shake(sam)
            return sam.train()

        return prepare

    @pytest.fixture
    def backward(self, pixels, prompts):
        """A function that gives a loss's gradients by parameter name."""

        def run(sam):
            embeddings = sam.encode(pixels)
            losses = []
            for kind in prompts.kinds.values():
                found = sam.decode(embeddings, prompts.image_index, kind, True, 2)
                losses.append(found.low_res_logits.square().mean() + found.iou_scores.mean())
            torch.stack(losses).sum().backward()
            return {n: p.grad for n, p in sam.core.named_parameters() if p.requires_grad}

        return run

    def test_they_reach_every_lora_matrix_of_the_encoder(self, adapted, backward):
        gradients = backward(adapted("lora", LoraSettings(rank=2), "frozen"))
        assert len(gradients) == 2 * 4
        assert all(value is not None and value.abs().max() > 1e-9 for value in gradients.values())

    def test_they_reach_every_weight_in_mode_full(self, adapted, backward):
        gradients = backward(adapted("full", LoraSettings()))
        without = {name for name, value in gradients.items() if value is None}
        assert without == set()

    @pytest.mark.parametrize(
        "way",
        [
            ("lora", LoraSettings(rank=2), "full", True),
            ("lora", LoraSettings(rank=2, encoder="last", last_blocks=1), "lora"),
            ("full", LoraSettings()),
        ],
        ids=["all blocks", "last block", "full"],
    )
    def test_checkpointing_gives_equal_gradients(self, adapted, backward, way):
        expected = backward(adapted(*way))
        sam = adapted(*way)
        sam.with_checkpointing = True
        found = backward(sam)
        assert found.keys() == expected.keys()
        for name, gradient in found.items():
            assert torch.allclose(gradient, expected[name], atol=1e-6, rtol=1e-4), name

    def test_checkpointing_runs_each_block_again_in_the_backward_pass(self, adapted, backward):
        sam, calls = adapted("lora", LoraSettings(rank=2), "full"), []
        sam.with_checkpointing = True
        sam.core.vision_encoder.layers[1].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
        backward(sam)
        assert len(calls) == 2

    def test_checkpointing_runs_the_decoder_again_in_the_backward_pass(
        self, adapted, backward, pixels, prompts
    ):
        sam, calls = adapted("lora", LoraSettings(rank=2), "full"), []
        sam.with_checkpointing = True
        sam.core.mask_decoder.iou_prediction_head.register_forward_pre_hook(
            lambda *_: calls.append(1)
        )
        backward(sam)
        assert len(calls) == 2 * 5 * 3  # five kinds of prompts, each in chunks of 2, 2 and 1
        calls.clear()
        with torch.no_grad():
            embeddings = sam.encode(pixels)
            sam.decode(embeddings, prompts.image_index, prompts.kinds["boxes"], True, 2)
        assert len(calls) == 3  # one object alone on its image, two together, two alone


@pytest.fixture(scope="module")
def records():
    """Images of three shapes, with points, a box, and a box and a mask."""
    generator = torch.Generator().manual_seed(6)

    def image(height, width):
        return torch.rand(3, height, width, generator=generator) * 255

    return [
        {
            "image": image(64, 40),
            "original_size": (128, 80),
            "point_coords": torch.tensor([[[10.0, 12.0]], [[30.0, 40.0]]]),
            "point_labels": torch.tensor([[1], [1]]),
        },
        {
            "image": image(32, 64),
            "original_size": (50, 100),
            "boxes": torch.tensor([[4.0, 5.0, 30.0, 20.0]]),
        },
        {
            "image": image(64, 64),
            "original_size": (64, 64),
            "boxes": torch.tensor([[4.0, 5.0, 30.0, 20.0]]),
            "mask_inputs": torch.randn(1, 1, 16, 16, generator=generator),
        },
    ]


class TestForward:
    """segment_anything's `Sam.forward(batched_input, multimask_output)`."""

    def test_shapes_and_types_are_the_contract_s(self, base, records):
        for found, record, count in zip(base(records, True), records, (2, 1, 1), strict=True):
            assert found["masks"].shape == (count, 3, *record["original_size"])
            assert found["masks"].dtype == torch.bool
            assert found["iou_predictions"].shape == (count, 3)
            assert found["low_res_logits"].shape == (count, 3, 16, 16)

    def test_one_mask_without_multimask_output(self, base, records):
        assert base(records, False)[0]["masks"].shape == (2, 1, 128, 80)

    def test_a_list_is_answered_as_its_records(self, base, records):
        for together, record in zip(base(records, True), records, strict=True):
            alone = base([record], True)[0]
            assert torch.allclose(together["low_res_logits"], alone["low_res_logits"], atol=1e-5)

    def test_it_is_transformers_forward_between_the_official_pre_and_postprocessing(
        self, base, records
    ):
        found = base(records, True)[1]
        pixels = base.preprocess(records[1]["image"])[None]
        with torch.no_grad():
            expected = base.core(pixels, input_boxes=records[1]["boxes"][None])
        assert torch.allclose(found["low_res_logits"], expected.pred_masks[0], atol=1e-5)
        full = torch.nn.functional.interpolate(expected.pred_masks[0], (64, 64), mode="bilinear")
        full = torch.nn.functional.interpolate(full[..., :32, :], (50, 100), mode="bilinear")
        assert ((full > 0) == found["masks"]).float().mean() > 0.999

    def test_the_network_is_transformers_own(self, base):
        assert type(base.core) is SamModel


def test_prompts_are_counted_and_cut_together(prompts):
    both = prompts.kinds["both"]
    assert [len(kind) for kind in prompts.kinds.values()] == [5] * 5
    assert len(Prompts()) == 0
    part = both[1:3]
    assert torch.equal(part.boxes_xyxy, both.boxes_xyxy[1:3])
    assert torch.equal(part.point_labels, both.point_labels[1:3])
    assert part.mask_inputs is None
