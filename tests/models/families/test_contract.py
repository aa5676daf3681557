"""What holds for every family, so that the rest of samtune need not know which one it has."""

import numpy as np
import pytest
import torch
from peft import PeftModel

from samtune.data.features import FeatureStore
from samtune.data.readers.mask_folder import MaskFolder
from samtune.errors import UserError
from samtune.evaluation.comparing import compare
from samtune.evaluation.contestants import Contestants
from samtune.evaluation.settings import EvaluationSettings
from samtune.inference.predictor import SamPredictor
from samtune.models.backend import Sam
from samtune.models.encoder_steps import frozen_depth
from samtune.models.families.table import FAMILIES, family_of_official
from samtune.models.loading import load_model
from samtune.models.lora import merge, prepare_for_training
from samtune.models.official.strict import made_of
from samtune.models.saving import save_transformers, save_tuned
from samtune.models.settings import LoraSettings
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.training.encoding import encode_batch, frozen_part
from samtune.training.losses import LossWeights
from samtune.training.rounds import run_rounds
from samtune.training.settings import LossSettings
from samtune.types import Batch, Features, ObjectKey, Prompt, Prompts

KINDS = ("points", "boxes", "both", "points and masks", "masks alone")
WITH_PYRAMID = ("sam2", "sam3", "edgetam")


def encoded_by_transformers(sam, pixels):
    """Image embeddings and the finer maps as the decoder takes them."""
    with torch.no_grad():
        found = sam.core.get_image_embeddings(pixels)
    if sam.family.name == "sam_hq":
        return found[0], found[1][:1]
    return (found[-1], found[:-1]) if isinstance(found, list) else (found, [])


def answered_by_transformers(sam, pixels, prompts, kind, multimask):
    """What transformers' own forward says to each object alone, stacked as ours."""
    given, masks, scores = prompts.kinds[kind], [], []
    for k, image in enumerate(prompts.image_index):

        def one(value, k=k):
            return None if value is None else value[k : k + 1][None]

        mask = given.mask_inputs
        with torch.no_grad():
            found = sam.core(
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


@pytest.fixture
def ask(pixels, prompts):
    """A function that gives a network's logits and scores for every kind of prompt, joined."""

    @torch.no_grad()
    def answer(sam, with_multimask=True):
        features, parts = sam.encode(pixels), []
        for kind in prompts.kinds.values():
            found = sam.decode(features, prompts.image_index, kind, with_multimask)
            parts += [found.low_res_logits.flatten(), found.iou_scores.flatten()]
        return torch.cat(parts)

    return answer


@pytest.fixture
def can_lora(family_name):
    return bool(FAMILIES[family_name].lora_layers)


class TestEncoding:
    def test_embeddings_are_transformers_own(self, member, pixels):
        with torch.no_grad():
            ours = member.encode(pixels)
        main, details = encoded_by_transformers(member, pixels)
        assert ours.main.shape == (2, 32, 4, 4)
        assert torch.allclose(ours.main, main, atol=1e-4)
        assert len(ours.details) == len(details)

    def test_an_image_is_encoded_alone_as_in_a_batch(self, member, pixels):
        with torch.no_grad():
            together, alone = member.encode(pixels), member.encode(pixels[1:])
        for ours, other in zip(
            (together.main, *together.details), (alone.main, *alone.details), strict=True
        ):
            assert torch.allclose(ours[1], other[0], atol=1e-4)

    def test_it_may_be_left_and_entered_after_every_step(self, member, pixels):
        with torch.no_grad():
            whole = member.encode(pixels)
            for depth in range(member.depth + 1):
                features = member.encode_until(pixels, depth)
                kept = [part.clone() for part in (features.main, *features.details)]
                again = member.encode_from(Features(kept[0], tuple(kept[1:])), depth)
                assert torch.equal(again.main, whole.main)
                assert all(map(torch.equal, again.details, whole.details))

    def test_frame_and_sides_fit_together(self, member, family_name):
        assert (member.image_size, member.mask_side) == (64, 16)
        assert member.frame.keeps_aspect == (family_name not in WITH_PYRAMID)


class TestMadeOfWeights:
    """Nothing is left of a start that is not drawn, and nothing else is missing with it."""

    @pytest.fixture
    def made(self, member):
        return made_of(type(member.core), member.core.config, member.core.state_dict(), "x")

    def test_it_answers_the_same_to_the_bit(self, made, member, ask):
        assert torch.equal(ask(Sam(made, member.base).eval()), ask(member))

    def test_what_no_file_holds_is_there_too(self, made, member):
        others = dict(made.named_buffers())
        for name, value in member.core.named_buffers():
            assert torch.equal(others[name], value), name

    def test_tensors_that_are_one_stay_one(self, made, member):
        assert tied(made) == tied(member.core)


def tied(network):
    """Names of tensors that share their place."""
    places = {}
    both = (network.named_parameters, network.named_buffers)
    for name, value in (each for named in both for each in named(remove_duplicate=False)):
        places.setdefault(value.data_ptr(), []).append(name)
    return sorted(names for names in places.values() if len(names) > 1)


class TestDecoding:
    @pytest.mark.parametrize("multimask", [True, False])
    @pytest.mark.parametrize("kind", KINDS)
    def test_packed_objects_are_answered_as_by_transformers_one_by_one(
        self, member, pixels, prompts, kind, multimask, family_name
    ):
        if family_name == "sam_hq":
            pytest.skip("transformers reads the masks off the wrong tensor: see TestSamHQ")
        if kind == "masks alone" and family_name in WITH_PYRAMID:
            pytest.skip("transformers adds an empty point there, the authors' predictor does not")
        with torch.no_grad():
            features = member.encode(pixels)
            found = member.decode(features, prompts.image_index, prompts.kinds[kind], multimask)
        masks, scores = answered_by_transformers(member, pixels, prompts, kind, multimask)
        assert found.low_res_logits.shape == masks.shape == (5, 3 if multimask else 1, 16, 16)
        assert torch.allclose(found.low_res_logits, masks, atol=1e-3, rtol=1e-4)
        assert torch.allclose(found.iou_scores, scores, atol=1e-4, rtol=1e-4)

    @pytest.mark.parametrize("size", [1, 2, 100])
    def test_neither_chunks_nor_neighbours_change_a_result(self, member, pixels, prompts, size):
        with torch.no_grad():
            features = member.encode(pixels)
            for kind in prompts.kinds.values():
                whole = member.decode(features, prompts.image_index, kind, True)
                parts = member.decode(features, prompts.image_index, kind, True, size)
                assert torch.allclose(parts.low_res_logits, whole.low_res_logits, atol=1e-3)
                one = member.decode(features, prompts.image_index[2:3], kind[2:3], True)
                assert torch.allclose(one.low_res_logits, whole.low_res_logits[2:3], atol=1e-3)

    def test_every_part_of_a_prompt_matters(self, member, pixels, prompts):
        with torch.no_grad():
            features = member.encode(pixels)
            answers = [
                member.decode(features, prompts.image_index, kind, True).low_res_logits
                for kind in prompts.kinds.values()
            ]
        for number, first in enumerate(answers):
            for second in answers[number + 1 :]:
                assert not torch.allclose(first, second, atol=1e-3)

    def test_the_details_of_an_image_are_used(self, member, pixels, prompts, family_name):
        with torch.no_grad():
            features = member.encode(pixels)
            if not features.details:
                assert family_name in ("sam", "mobile_sam")
                return
            boxes = prompts.kinds["boxes"]
            whole = member.decode(features, prompts.image_index, boxes, True).low_res_logits
            for number in range(len(features.details)):
                details = list(features.details)
                details[number] = torch.zeros_like(details[number])
                without = Features(features.main, tuple(details))
                changed = member.decode(without, prompts.image_index, boxes, True).low_res_logits
                assert (changed - whole).abs().max() > 1e-2

    def test_whether_there_is_an_object_is_said_where_the_family_knows(
        self, member, pixels, prompts, family_name
    ):
        with torch.no_grad():
            found = member.decode(
                member.encode(pixels), prompts.image_index, prompts.kinds["boxes"], True, 2
            )
        assert (found.object_logits is not None) == (family_name in WITH_PYRAMID)
        if found.object_logits is not None:
            assert found.object_logits.shape == (5,)

    def test_training_mode_changes_no_answer_of_what_is_frozen(self, fresh, pixels):
        prepare_for_training(fresh, "decoder", LoraSettings())
        with torch.no_grad():
            before = fresh.encode(pixels).main
            found = fresh.train().encode(pixels).main
            alone = fresh.encode(pixels[:1]).main
            after = fresh.eval().encode(pixels).main
        for other in (found, after):
            assert torch.equal(other, before)
        assert torch.allclose(alone, before[:1], atol=1e-4)

    def test_it_may_be_asked_for_its_sizes_and_in_inference_mode_before_training(
        self, fresh, pixels
    ):
        """Whatever is made once and kept must serve afterwards too."""
        assert fresh.features_size(fresh.depth) > 0
        with torch.inference_mode():
            fresh.encode(pixels)
        prepare_for_training(fresh, "full", LoraSettings())
        fresh.train().encode(pixels).main.square().mean().backward()
        assert frozen_depth(fresh) == -1


class TestTuning:
    @pytest.fixture
    def lora(self, fresh, can_lora):
        """The family's network with LoRA wherever it can be."""
        settings = LoraSettings(rank=2, encoder="all" if can_lora else "none")
        prepare_for_training(fresh, "lora", settings, "lora")
        return fresh

    def test_lora_that_has_not_learnt_answers_as_the_base(self, lora, member, ask):
        assert torch.allclose(ask(lora), ask(member), atol=1e-3, rtol=1e-4)

    def test_exactly_what_is_trained_has_gradients(self, lora, pixels, prompts, shake, can_lora):
        shake(lora)
        lora.train()
        losses = []
        for kind in prompts.kinds.values():
            found = lora.decode(lora.encode(pixels), prompts.image_index, kind, True, 2)
            losses += [found.low_res_logits.square().mean(), found.iou_scores.mean()]
            if found.object_logits is not None:
                losses.append(found.object_logits.mean())
        torch.stack(losses).sum().backward()
        for name, parameter in lora.named_parameters():
            assert parameter.requires_grad == (".lora_" in name), name
            assert (parameter.grad is not None) == parameter.requires_grad, name
        encoder = [n for n, p in lora.named_parameters() if p.requires_grad and "vision_enc" in n]
        assert bool(encoder) == can_lora

    def test_checkpointing_gives_equal_gradients(self, make_member, family_name, pixels, prompts):
        gradients = []
        for with_checkpointing in (False, True):
            sam = make_member(family_name)
            prepare_for_training(sam, "full", LoraSettings())
            sam.with_checkpointing = with_checkpointing
            sam.train()
            found = sam.decode(
                sam.encode(pixels), prompts.image_index, prompts.kinds["both"], True, 2
            )
            found.low_res_logits.square().mean().backward()
            gradients.append({n: p.grad for n, p in sam.named_parameters()})
        for name, expected in gradients[0].items():
            if expected is None:
                assert gradients[1][name] is None
            else:
                scale = expected.abs().max()
                assert torch.allclose(gradients[1][name], expected, atol=1e-4 * scale + 1e-6), name

    def test_the_last_blocks_alone_leave_the_others_frozen(self, fresh, can_lora):
        settings = LoraSettings(rank=2, encoder="last", last_blocks=1)
        if not can_lora:
            with pytest.raises(UserError, match="no layers for LoRA"):
                prepare_for_training(fresh, "lora", settings, "frozen")
            return
        prepare_for_training(fresh, "lora", settings, "frozen")
        assert frozen_depth(fresh) == fresh.depth - 2

    def test_a_tuned_model_is_the_base_without_its_adapter(self, lora, member, ask, shake):
        shake(lora)
        tuned = ask(lora)
        assert not torch.allclose(tuned, ask(member), atol=1e-2)
        with lora.base_weights():
            assert torch.allclose(ask(lora), ask(member), atol=1e-3, rtol=1e-4)
        assert torch.allclose(ask(lora), tuned, atol=1e-4)

    def test_merging_changes_no_answer(self, lora, ask, shake):
        shake(lora)
        tuned = ask(lora)
        merge(lora)
        assert not isinstance(lora.network, PeftModel)
        assert torch.allclose(ask(lora), tuned, atol=2e-3, rtol=1e-3)

    @pytest.mark.parametrize("recipe", ["mixed", "sam2"])
    def test_a_simulated_session_trains_it(self, lora, pixels, recipe, shake):
        shake(lora)
        lora.train()
        prompts = [
            Prompt(np.float32([[20, 20]]), np.int64([1])),
            Prompt(box_xyxy=np.float32([30, 30, 50, 60])),
        ]
        targets = torch.zeros(2, 16, 16, dtype=torch.uint8)
        targets[0, 3:8, 3:8] = targets[1, 8:15, 8:13] = 255
        batch = Batch(
            pixels, torch.tensor([0, 1]), targets, torch.ones(2, 16, 16, dtype=torch.bool),
            {"first": prompts}, [ObjectKey("a", 1), ObjectKey("b", 1)],
        )  # fmt: skip
        weights = LossWeights.from_settings(LossSettings(), RECIPES[recipe])
        rounds = run_rounds(lora, lora.encode(pixels), batch, RECIPES[recipe], weights, 0)
        loss = torch.stack([result.parts.total.mean() for result in rounds]).mean()
        assert torch.isfinite(loss)
        loss.backward()
        trained = [p for p in lora.parameters() if p.requires_grad]
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)

    def test_what_is_kept_of_it_gives_the_same_embeddings(self, fresh, pixels, can_lora, tmp_path):
        for encoder in ("last", "none") if can_lora else ("none",):
            settings = LoraSettings(rank=2, encoder=encoder, last_blocks=1)
            if isinstance(fresh.network, PeftModel):
                fresh.network = fresh.network.unload()
            prepare_for_training(fresh, "lora", settings, "lora")
            part = frozen_part(fresh, "32-true")
            store = FeatureStore(tmp_path, part, "fp32", 10**9)
            batch = Batch(
                pixels, torch.zeros(0), torch.zeros(0), torch.zeros(2), {}, [],
                entries=["aa", "bb"], kept=[None, None],
            )  # fmt: skip
            with torch.no_grad():
                plain, made = fresh.encode(pixels), encode_batch(fresh, batch, store)
                batch.kept = [store.read("aa"), store.read("bb")]
                batch.pixel_values = torch.empty(0)
                again = encode_batch(fresh, batch, store)
            size = sum(k.main.numel() + sum(d.numel() for d in k.details) for k in batch.kept)
            assert 4 * size == 2 * store.entry_bytes
            for ours in (made, again):
                assert torch.allclose(ours.main, plain.main, atol=1e-4)
                assert all(map(torch.allclose, ours.details, plain.details))


class TestFiles:
    @pytest.fixture
    def folder(self, member, tmp_path):
        return save_transformers(member, tmp_path / "base")

    def test_a_folder_loads_to_the_same_answers(self, folder, member, ask):
        assert torch.allclose(ask(load_model(folder)), ask(member), atol=1e-4)

    def test_an_adapter_loads_with_its_base(self, folder, tmp_path, can_lora, ask, shake):
        sam = load_model(folder)
        settings = LoraSettings(rank=2, encoder="all" if can_lora else "none")
        prepare_for_training(sam, "lora", settings, "full")
        shake(sam)
        save_tuned(sam, tmp_path / "run")
        assert torch.allclose(ask(load_model(tmp_path / "run")), ask(sam.eval()), atol=1e-4)

    def test_a_whole_tuned_model_loads_again(self, folder, tmp_path, ask, shake):
        sam = load_model(folder)
        prepare_for_training(sam, "full", LoraSettings())
        shake(sam)
        save_tuned(sam, tmp_path / "run")
        assert torch.allclose(ask(load_model(tmp_path / "run")), ask(sam.eval()), atol=1e-4)

    def test_the_official_layout_and_back_is_the_same_network(self, member, family_name):
        if member.family.official is None:
            with pytest.raises(UserError, match="no official layout"):
                member.family.to_official()
            return
        state = member.family.to_official()
        assert family_of_official(state) is FAMILIES[family_name]
        back = member.family.official.official_to_transformers(state)
        own = member.core.state_dict()
        assert back.keys() == own.keys()
        assert all(torch.equal(back[key], own[key]) for key in own)


class TestUse:
    def test_base_and_tuned_are_compared(self, fresh, can_lora, shake, discs):
        settings = LoraSettings(rank=2, encoder="last" if can_lora else "none", last_blocks=1)
        prepare_for_training(fresh, "lora", settings, "lora")
        shake(fresh)
        protocols = tuple(find_protocols(["box", "clicks_5"]))
        rows = compare(
            Contestants(fresh.eval(), is_tuned=True), MaskFolder(discs / "test"),
            EvaluationSettings(protocols),
        ).rows  # fmt: skip
        assert {row.protocol for row in rows} == {"box", "clicks_5"}
        assert all(0 <= row.scores[name].iou <= 1 for row in rows for name in ("base", "tuned"))
        assert any(row.scores["base"] != row.scores["tuned"] for row in rows)

    def test_masks_go_back_as_prompts_as_in_the_authors_code(self, member, pixels, family_name):
        side = member.mask_side
        far = torch.linspace(-90, 90, side * side).view(1, 1, side, side)
        limit = 32 if family_name in WITH_PYRAMID else 90
        near = far.clamp(-limit, limit)
        assert torch.equal(member.embed_prompts(Prompts(mask_inputs=far))[1],
                           member.embed_prompts(Prompts(mask_inputs=near))[1])  # fmt: skip
        predictor = SamPredictor(member)
        predictor.set_image(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
        logits = predictor.predict(box=np.array([5, 5, 30, 30]))[2]
        assert limit == 90 or np.abs(logits).max() <= limit

    @torch.no_grad()
    def test_parts_have_segment_anything_s_names_and_arguments(self, member, pixels, family_name):
        grid, width = member.family.grid, member.num_channels
        encoder, decoder = member.prompt_encoder, member.mask_decoder
        assert member.image_encoder.img_size == member.image_size
        embeddings = member.image_encoder(pixels[:1])
        assert embeddings.shape == (1, width, grid, grid)
        assert encoder.embed_dim == width
        assert encoder.image_embedding_size == (grid, grid)
        assert encoder.mask_input_size == (4 * grid, 4 * grid)
        assert list(decoder.parameters())
        boxes = torch.tensor([[1.0, 2, 20, 22], [3, 4, 15, 18]])
        sparse, dense = encoder(points=None, boxes=boxes, masks=None)
        assert dense.shape == (2, width, grid, grid)
        call = {
            "image_embeddings": embeddings, "image_pe": encoder.get_dense_pe(),
            "sparse_prompt_embeddings": sparse, "dense_prompt_embeddings": dense,
            "multimask_output": True,
        }  # fmt: skip
        if member.family.detail_names:
            with pytest.raises(UserError, match=r"call sam\.decode"):
                decoder(**call)
            return
        masks, scores = decoder(**call)
        index, prompts = torch.zeros(2, dtype=torch.int64), Prompts(boxes_xyxy=boxes)
        expected = member.decode(member.encode(pixels[:1]), index, prompts, True)
        torch.testing.assert_close(masks, expected.low_res_logits)
        torch.testing.assert_close(scores, expected.iou_scores)

    def test_the_predictor_answers_with_masks_of_the_image_s_size(self, member):
        image = np.random.default_rng(0).integers(0, 255, (40, 100, 3), dtype=np.uint8)
        predictor = SamPredictor(member)
        predictor.set_image(image)
        masks, scores, logits = predictor.predict(box=np.array([10, 5, 60, 30]))
        assert masks.shape == (3, 40, 100)
        assert (scores.shape, logits.shape) == ((3,), (3, 16, 16))
        says = member.family.name in WITH_PYRAMID
        assert (predictor.object_logits is not None) == says
        again, *_ = predictor.predict(
            point_coords=np.array([[30, 20]]), point_labels=np.array([1]),
            mask_input=logits[:1], multimask_output=False,
        )  # fmt: skip
        assert again.shape == (1, 40, 100)

    @pytest.mark.parametrize("side", [32, 96])
    def test_other_input_sizes(self, fresh, side):
        fresh.family.set_image_size(side)
        assert fresh.image_size == side
        with torch.no_grad():
            features = fresh.encode(torch.randn(1, 3, side, side))
        assert features.main.shape == (1, 32, side // 16, side // 16)
        image = np.zeros((side, side // 2, 3), np.uint8)
        predictor = SamPredictor(fresh)
        predictor.set_image(image)
        assert predictor.predict(box=np.array([1, 1, 9, 9]))[0].shape == (3, side, side // 2)

    def test_a_size_that_does_not_fit_is_refused(self, fresh):
        with pytest.raises(UserError, match="multiple of"):
            fresh.family.set_image_size(50)

    def test_a_resized_network_survives_saving(self, fresh, tmp_path, ask):
        fresh.family.set_image_size(96)
        folder = save_transformers(fresh, tmp_path / "other")
        loaded = load_model(folder)
        assert loaded.image_size == 96
        pixels = torch.randn(1, 3, 96, 96)
        with torch.no_grad():
            assert torch.allclose(loaded.encode(pixels).main, fresh.encode(pixels).main, atol=1e-4)


def test_edgetam_without_timm_says_what_is_missing(monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr("samtune.models.families.edgetam.find_spec", lambda name: None)
    with pytest.raises(UserError, match="timm, which is not installed: pip install timm"):
        load_model("edgetam")
