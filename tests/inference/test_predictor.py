"""`SamPredictor` keeps segment_anything's contract and is transformers' forward inside."""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image

from samtune.errors import UserError
from samtune.images.intensity import to_uint8
from samtune.inference.predictor import SamPredictor
from samtune.models.backend import BaseIdentity, Sam
from samtune.models.loading import load_model
from samtune.models.pretraining.initialise import build_random
from samtune.models.registry import REGISTRY
from samtune.models.saving import save_official
from samtune.reading import Reading

MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])
POINTS = np.array([[60.0, 50.0], [150.0, 100.0]])
LABELS = np.array([1, 0])
BOX = np.array([20.0, 30.0, 120.0, 110.0])


@pytest.fixture(scope="module")
def predictor(nano, image):
    """A predictor with the image set; no test may change it."""
    predictor = SamPredictor(nano.sam)
    predictor.set_image(image)
    return predictor


@pytest.fixture
def fresh(nano):
    return SamPredictor(nano.sam)


def official_input(image, side):
    """segment_anything's preprocessing, written down once more: (1, 3, side, side) and its size."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = int(width * scale + 0.5), int(height * scale + 0.5)
    resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
    padded = np.zeros((side, side, 3))
    padded[: size[1], : size[0]] = (resized - MEAN) / STD
    return torch.from_numpy(padded).permute(2, 0, 1)[None].float(), size[::-1]


@torch.no_grad()
def plain_answer(network, image, points=None, labels=None, box=None, mask=None, multimask=True):
    """transformers' forward on one image: logits at the original size, scores, low resolution."""
    side = network.config.vision_config.image_size
    pixels, (height, width) = official_input(image, side)
    scale = np.array([width / image.shape[1], height / image.shape[0]])
    found = network(
        pixels,
        input_points=None if points is None else torch.tensor(points * scale)[None, None].float(),
        input_labels=None if labels is None else torch.tensor(labels)[None, None],
        input_boxes=None
        if box is None
        else torch.tensor((box.reshape(2, 2) * scale).reshape(4))[None, None].float(),
        input_masks=None if mask is None else torch.from_numpy(mask)[None],
        multimask_output=multimask,
    )
    full = F.interpolate(found.pred_masks[0], (side, side), mode="bilinear")
    full = F.interpolate(full[..., :height, :width], image.shape[:2], mode="bilinear")
    return full[0].numpy(), found.iou_scores[0, 0].numpy(), found.pred_masks[0, 0].numpy()


def assert_equals_plain(predictor, network, image, multimasks=(True, False), **prompts):
    ours = {
        "point_coords": prompts.get("points"),
        "point_labels": prompts.get("labels"),
        "box": prompts.get("box"),
        "mask_input": prompts.get("mask"),
    }
    for multimask in multimasks:
        found = predictor.predict(**ours, multimask_output=multimask, return_logits=True)
        expected = plain_answer(network, image, **prompts, multimask=multimask)
        for part, reference in zip(found, expected, strict=True):
            assert part.shape == reference.shape
            np.testing.assert_allclose(part, reference, atol=1e-5, rtol=0)


class TestContract:
    @pytest.mark.parametrize(
        ("method", "arguments"),
        [
            ("set_image", {"image": ..., "image_format": "RGB"}),
            ("set_torch_image", {"transformed_image": ..., "original_image_size": ...}),
            (
                "predict",
                {
                    "point_coords": None,
                    "point_labels": None,
                    "box": None,
                    "mask_input": None,
                    "multimask_output": True,
                    "return_logits": False,
                },
            ),
            (
                "predict_torch",
                {
                    "point_coords": ...,
                    "point_labels": ...,
                    "boxes": None,
                    "mask_input": None,
                    "multimask_output": True,
                    "return_logits": False,
                },
            ),
            ("get_image_embedding", {}),
            ("reset_image", {}),
        ],
    )
    def test_arguments_and_defaults_are_segment_anything_s(self, method, arguments):
        parameters = inspect.signature(getattr(SamPredictor, method)).parameters
        found = {
            name: ... if p.default is inspect.Parameter.empty else p.default
            for name, p in parameters.items()
            if name != "self"
        }
        assert found == arguments
        assert list(found) == list(arguments)

    def test_the_model_is_given_as_sam_model(self, nano):
        assert SamPredictor(sam_model=nano.sam).model is nano.sam

    @pytest.mark.parametrize("count", [3, 1])
    def test_shapes_and_types_of_an_answer(self, predictor, count):
        masks, scores, logits = predictor.predict(POINTS, LABELS, multimask_output=count == 3)
        assert masks.shape == (count, 150, 200)
        assert masks.dtype == np.bool_
        assert scores.shape == (count,)
        assert scores.dtype == np.float32
        assert logits.shape == (count, 64, 64)
        assert logits.dtype == np.float32

    def test_logits_instead_of_masks_are_what_the_masks_are_thresholded_from(self, predictor):
        masks, *_ = predictor.predict(POINTS, LABELS)
        logits, *_ = predictor.predict(POINTS, LABELS, return_logits=True)
        assert logits.shape == masks.shape
        assert logits.dtype == np.float32
        np.testing.assert_array_equal(logits > 0, masks)

    def test_tensors_in_tensors_out(self, predictor):
        points = torch.tensor([[[60.0, 50.0]], [[90.0, 70.0]], [[10.0, 10.0]]])
        masks, scores, logits = predictor.predict_torch(points, torch.ones(3, 1))
        assert (masks.shape, masks.dtype) == ((3, 3, 150, 200), torch.bool)
        assert (scores.shape, logits.shape) == ((3, 3), (3, 3, 64, 64))
        full, *_ = predictor.predict_torch(points, torch.ones(3, 1), return_logits=True)
        assert full.dtype == torch.float32
        assert torch.equal(full > 0, masks)

    def test_attributes_while_an_image_is_set(self, predictor):
        assert predictor.is_image_set
        assert predictor.original_size == (150, 200)
        assert predictor.input_size == (192, 256)
        assert predictor.features.shape == (1, 128, 16, 16)
        assert predictor.get_image_embedding() is predictor.features
        assert predictor.device == torch.device("cpu")

    def test_no_gradient_is_kept(self, predictor):
        assert not predictor.features.requires_grad
        answer = predictor.predict_torch(torch.tensor([[[9.0, 9.0]]]), torch.ones(1, 1))
        assert not any(part.requires_grad for part in answer)

    def test_the_transform_moves_prompts_into_the_frame_that_predict_torch_wants(self, predictor):
        boxes = torch.from_numpy(BOX[None]).float()
        moved = predictor.transform.apply_boxes_torch(boxes, (150, 200))
        assert torch.allclose(moved, boxes * 1.28)
        _, _, expected = predictor.predict(box=BOX)
        _, _, found = predictor.predict_torch(None, None, moved)
        np.testing.assert_allclose(found[0].numpy(), expected, atol=1e-5)

    def test_the_model_is_put_into_evaluation_mode(self, nano):
        nano.sam.train()
        SamPredictor(nano.sam)
        assert not nano.sam.training


class TestAgainstTransformers:
    """The same preprocessed input through transformers' own forward gives the same to 1e-5."""

    @pytest.mark.parametrize(
        "prompts",
        [
            {"points": POINTS, "labels": LABELS},
            {"points": POINTS[:1], "labels": LABELS[:1]},
            {"box": BOX},
            {"points": POINTS, "labels": LABELS, "box": BOX},
            {"mask": np.linspace(-5, 5, 64 * 64, dtype=np.float32).reshape(1, 64, 64)},
            {
                "points": POINTS,
                "labels": LABELS,
                "mask": np.linspace(5, -5, 64 * 64, dtype=np.float32).reshape(1, 64, 64),
            },
        ],
        ids=["points", "point", "box", "points and box", "mask", "points and mask"],
    )
    def test_a_landscape_image(self, predictor, nano, image, prompts):
        assert_equals_plain(predictor, nano.plain, image, **prompts)

    @pytest.mark.parametrize(
        "window", [np.s_[:, :70], np.s_[:33, :], np.s_[:64, :64]], ids=["tall", "flat", "square"]
    )
    def test_images_of_other_shapes(self, fresh, nano, image, window):
        part = np.ascontiguousarray(image[window])
        fresh.set_image(part)
        assert_equals_plain(fresh, nano.plain, part, points=np.array([[20.0, 25.0]]), labels=[1])

    def test_an_image_of_one_row_keeps_one_row(self, fresh, image):
        fresh.set_image(np.tile(image[:1], (1, 4, 1)))
        assert fresh.input_size == (1, 256)
        assert fresh.predict(box=np.array([10, 0, 400, 0]))[0].shape == (3, 1, 800)

    def test_an_image_of_the_network_s_own_size_is_not_resized(self, fresh, nano, image):
        whole = np.tile(image, (2, 2, 1))[:256, :256]
        fresh.set_image(whole)
        assert fresh.input_size == (256, 256)
        assert_equals_plain(fresh, nano.plain, whole, box=BOX)

    @pytest.mark.slow
    def test_vit_b_at_1024_pixels(self, image, tmp_path):
        plain = build_random(REGISTRY["vit_b"], seed=0).eval()
        path = tmp_path / "sam_vit_b.pth"
        save_official(Sam(plain, BaseIdentity("vit_b", "", 1024, "")), path)
        predictor = SamPredictor(load_model("vit_b", checkpoint=path))
        path.unlink()
        predictor.set_image(image)
        assert predictor.features.shape == (1, 256, 64, 64)
        prompts = {"points": POINTS, "labels": LABELS, "box": BOX}
        assert_equals_plain(predictor, plain, image, multimasks=(True,), **prompts)


class TestImages:
    def test_bgr_is_rgb_with_its_channels_turned(self, fresh, predictor, image):
        fresh.set_image(image[..., ::-1], image_format="BGR")
        assert torch.equal(fresh.features, predictor.features)
        fresh.set_image(image[..., ::-1], image_format="RGB")
        assert not torch.allclose(fresh.features, predictor.features, atol=1e-3)

    def test_an_image_is_left_as_it_was(self, fresh, image):
        before = image.copy()
        fresh.set_image(image)
        np.testing.assert_array_equal(image, before)

    def test_an_image_that_is_a_view_is_read_right(self, fresh, image):
        fresh.set_image(image[::-1, ::-1])
        turned = fresh.features
        fresh.set_image(np.ascontiguousarray(image[::-1, ::-1]))
        assert torch.equal(fresh.features, turned)

    def test_a_resized_tensor_may_be_set_instead(self, fresh, predictor, image):
        resized = np.asarray(Image.fromarray(image).resize((256, 192), Image.Resampling.BILINEAR))
        fresh.set_torch_image(torch.tensor(resized).permute(2, 0, 1)[None], (150, 200))
        assert torch.allclose(fresh.features, predictor.features, atol=1e-5)
        assert (fresh.original_size, fresh.input_size) == ((150, 200), (192, 256))

    def test_images_are_stretched_as_in_training(self, nano, image, monkeypatch):
        dark = image // 8
        plain = SamPredictor(nano.sam)
        plain.set_image(to_uint8(dark, "percentile"))
        monkeypatch.setattr(nano.sam, "reading", Reading(stretch="percentile"))
        stretched = SamPredictor(nano.sam)
        stretched.set_image(dark)
        assert torch.equal(stretched.features, plain.features)

    def test_another_image_takes_the_place_of_the_first(self, fresh, predictor, image):
        fresh.set_image(image[:80])
        fresh.set_image(image)
        assert torch.equal(fresh.features, predictor.features)
        assert fresh.original_size == (150, 200)

    def test_resetting_forgets_the_image(self, fresh, image):
        fresh.set_image(image)
        fresh.reset_image()
        assert not fresh.is_image_set
        assert fresh.features is fresh.original_size is fresh.input_size is None

    @pytest.mark.parametrize(
        "bad",
        [
            np.zeros((20, 30), np.uint8),
            np.zeros((20, 30, 4), np.uint8),
            np.zeros((20, 30, 1), np.uint8),
            np.zeros((1, 20, 30, 3), np.uint8),
            np.zeros((20, 30, 3), np.float32),
            np.zeros((20, 30, 3), np.uint16),
        ],
        ids=lambda array: f"{array.shape} {array.dtype}",
    )
    def test_an_array_that_is_no_rgb_image_is_a_value_error(self, fresh, bad):
        with pytest.raises(ValueError, match=r"expected \(H, W, 3\) uint8"):
            fresh.set_image(bad)
        assert not fresh.is_image_set

    @pytest.mark.parametrize("shape", [(0, 30, 3), (20, 0, 3)])
    def test_an_image_without_a_pixel_is_a_value_error(self, fresh, shape):
        with pytest.raises(ValueError, match=r"shape|must be > 0"):
            fresh.set_image(np.zeros(shape, np.uint8))

    def test_an_unknown_order_of_channels_is_a_value_error(self, fresh, image):
        with pytest.raises(ValueError, match="'RGB' or 'BGR'"):
            fresh.set_image(image, "GBR")

    @pytest.mark.parametrize("shape", [(3, 192, 256), (1, 1, 192, 256), (1, 3, 150, 200)])
    def test_a_tensor_of_another_shape_is_a_value_error(self, fresh, shape):
        with pytest.raises(ValueError, match="longest side of 256"):
            fresh.set_torch_image(torch.zeros(shape), (150, 200))


class TestPrompts:
    def test_objects_at_once_are_answered_as_one_by_one(self, predictor):
        scale = 256 / 200
        coords = np.array([[[60.0, 50.0]], [[150.0, 100.0]], [[20.0, 140.0]]])
        together = predictor.predict_torch(
            torch.from_numpy(coords * scale).float(), torch.ones(3, 1, dtype=torch.int)
        )
        for number in range(3):
            alone = predictor.predict(coords[number], np.array([1]))
            np.testing.assert_allclose(together[2][number].numpy(), alone[2], atol=1e-5)
            np.testing.assert_allclose(together[1][number].numpy(), alone[1], atol=1e-5)

    def test_integers_and_lists_are_as_good_as_floats(self, predictor):
        expected = predictor.predict(POINTS, LABELS, BOX)
        found = predictor.predict(POINTS.astype(int).tolist(), [1, 0], BOX.astype(int))
        for part, reference in zip(found, expected, strict=True):
            np.testing.assert_array_equal(part, reference)

    def test_a_box_may_have_a_leading_one(self, predictor):
        np.testing.assert_array_equal(
            predictor.predict(box=BOX[None])[2], predictor.predict(box=BOX)[2]
        )

    def test_the_logits_of_an_answer_are_a_mask_prompt_for_the_next(self, predictor):
        _, scores, logits = predictor.predict(POINTS, LABELS)
        again = predictor.predict(
            POINTS, LABELS, mask_input=logits[[scores.argmax()]], multimask_output=False
        )
        without = predictor.predict(POINTS, LABELS, multimask_output=False)
        assert np.abs(again[2] - without[2]).max() > 1e-3

    @pytest.mark.parametrize("ask", ["predict", "get_image_embedding"])
    def test_asking_without_an_image_is_a_runtime_error(self, fresh, ask):
        with pytest.raises(RuntimeError, match="set_image"):
            getattr(fresh, ask)()

    def test_asking_after_a_reset_is_a_runtime_error(self, fresh, image):
        fresh.set_image(image)
        fresh.reset_image()
        with pytest.raises(RuntimeError, match="set_image"):
            fresh.predict_torch(None, None, torch.tensor([[1.0, 2.0, 30.0, 40.0]]))

    @pytest.mark.parametrize(
        "prompts",
        [
            {},
            {"point_coords": POINTS},
            {"point_labels": LABELS},
            {"point_coords": POINTS, "point_labels": np.array([1])},
            {"point_coords": POINTS, "point_labels": LABELS[None]},
            {"point_coords": np.zeros(3), "point_labels": LABELS},
            {"point_coords": np.zeros((2, 3)), "point_labels": np.ones(3)},
            {"point_coords": np.zeros((1, 4)), "point_labels": LABELS},
            {"point_coords": np.zeros((0, 2)), "point_labels": np.zeros(0)},
            {"box": np.zeros(3)},
            {"box": np.zeros((2, 4))},
            {"mask_input": np.zeros((64, 64))},
            {"mask_input": np.zeros((1, 256, 256))},
            {"mask_input": np.zeros((3, 64, 64))},
        ],
        ids=[
            "nothing", "no labels", "labels alone", "too few labels", "labels of two dimensions",
            "half a point", "points of three numbers", "points of four numbers", "no points",
            "box of three", "two boxes", "mask of two dimensions", "large mask", "three masks",
        ],
    )  # fmt: skip
    def test_prompts_of_other_shapes_are_value_errors(self, predictor, prompts):
        assert issubclass(UserError, ValueError)
        with pytest.raises(UserError):
            predictor.predict(**prompts)


class TestManyAtOnce:
    @pytest.mark.parametrize(
        ("num_points", "num_labels", "num_boxes", "num_masks"),
        [(1, 1, 2, 0), (2, 2, 1, 0), (0, 0, 2, 1), (2, 1, 0, 0), (2, 0, 0, 0), (3, 3, 3, 2)],
    )
    def test_unequal_numbers_of_prompts_are_an_error(
        self, predictor, num_points, num_labels, num_boxes, num_masks
    ):
        side = predictor.model.mask_side
        parts = (
            torch.rand(num_points, 1, 2) * 50, torch.ones(num_labels, 1),
            torch.tensor([[5.0, 5, 40, 40]]).repeat(num_boxes, 1),
            torch.zeros(num_masks, 1, side, side),
        )  # fmt: skip
        given = [part if len(part) else None for part in parts]
        with pytest.raises(UserError, match=r"unequal numbers|one of them is missing"):
            predictor.predict_torch(*given)
        names = ("point_coords", "point_labels", "boxes", "mask_inputs")
        record = {n: part for n, part in zip(names, given, strict=True) if part is not None}
        record |= {"image": torch.zeros(3, *predictor.input_size), "original_size": (50, 50)}
        with pytest.raises(UserError, match=r"unequal numbers|one of them is missing"):
            predictor.model([record], multimask_output=False)

    def test_labels_of_another_number_than_points_are_an_error(self, predictor):
        with pytest.raises(UserError, match=r"shape \(1, 2, 2\) and labels \(1, 3\)"):
            predictor.predict_torch(torch.rand(1, 2, 2) * 50, torch.ones(1, 3))


class TestHalfPrecision:
    """A point must not move: what places prompts stays in single precision."""

    def answer(self, sam, image):
        predictor = SamPredictor(sam)
        predictor.set_image(image)
        masks, scores, logits = predictor.predict(POINTS, LABELS, BOX, multimask_output=False)
        assert scores.dtype == logits.dtype == np.float32
        again = predictor.predict(box=BOX, mask_input=logits, multimask_output=False)[0]
        return masks, again

    def test_autocast(self, nano, image):
        expected = self.answer(nano.sam, image)
        with torch.autocast("cpu", torch.bfloat16):
            found = self.answer(nano.sam, image)
        assert all(np.mean(f != e) < 0.02 for f, e in zip(found, expected, strict=True))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_a_model_of_half_precision(self, image, dtype):
        sam = load_model("nano")
        expected = self.answer(sam, image)
        table = sam.core.shared_image_embedding.positional_embedding.clone()
        sam.to(dtype)
        assert sam.dtype == dtype
        assert torch.equal(sam.core.shared_image_embedding.positional_embedding, table)
        found = self.answer(sam, image)
        assert all(np.mean(f != e) < 0.02 for f, e in zip(found, expected, strict=True))
        sam.float()
        assert sam.dtype == torch.float32


def test_sizes_have_segment_anything_s_names(predictor, image):
    assert (predictor.orig_h, predictor.orig_w) == image.shape[:2]
    assert (predictor.input_h, predictor.input_w) == predictor.input_size
    assert SamPredictor(predictor.model).orig_h is None


class TestNumbersThatAreNone:
    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("focus", ["off", "auto"])
    @pytest.mark.parametrize(
        ("name", "wrong"),
        [
            ("point_coords", lambda value: {"point_coords": [[20, value]], "point_labels": [1]}),
            ("point_labels", lambda value: {"point_coords": [[20, 20]], "point_labels": [value]}),
            ("box", lambda value: {"box": [1, 2, value, 30]}),
            ("mask_input", lambda value: {"mask_input": np.full((1, 64, 64), value)}),
        ],
    )
    def test_of_a_prompt_are_refused(self, nano, image, focus, name, wrong, value):
        predictor = SamPredictor(nano.sam, focus)
        predictor.set_image(image)
        prompt = {n: np.array(v) for n, v in wrong(value).items()}
        with pytest.raises(UserError, match=f"{name} holds NaN or infinite values"):
            predictor.predict(**prompt)

    def test_labels_are_whole(self, predictor):
        with pytest.raises(UserError, match=r"point_labels are \[0\.5\]"):
            predictor.predict(np.array([[20, 20]]), np.array([0.5]))

    @pytest.mark.parametrize("part", range(3))
    def test_of_tensors_are_refused(self, predictor, part):
        given = [torch.ones(1, 1, 2), torch.ones(1, 1), torch.ones(1, 4)]
        given[part].view(-1)[0] = np.nan
        with pytest.raises(UserError, match="holds NaN or infinite values"):
            predictor.predict_torch(*given)

    def test_of_an_image_are_refused(self, fresh, nano):
        side = nano.sam.image_size
        pixels = torch.zeros(1, 3, side, side)
        pixels[0, 0, 0, 0] = np.inf
        with pytest.raises(UserError, match="the image holds NaN or infinite values"):
            fresh.set_torch_image(pixels, (side, side))

    def test_of_an_answer_are_refused(self, fresh, image):
        fresh.set_image(image)
        fresh.features = torch.full_like(fresh.features, np.nan)
        with pytest.raises(UserError, match="the model answers with NaN"):
            fresh.predict(box=np.array([1, 2, 30, 30]))
