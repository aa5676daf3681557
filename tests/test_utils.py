"""segment_anything's notebooks run with `segment_anything` in their imports changed to `samtune`."""

import warnings

import numpy as np
import pytest
import torch

from samtune import SamPredictor, load_model
from samtune.errors import UserError
from samtune.utils import amg
from samtune.utils.onnx import SamOnnxModel
from samtune.utils.transforms import ResizeLongestSide


@pytest.fixture(scope="module")
def sam():
    """Without what sharpens the masks of its predictor, which these are compared with."""
    sam = load_model("nano")
    sam.base_sharpeners = torch.nn.ModuleList()
    return sam


@pytest.fixture(scope="module")
def image():
    picture = np.full((120, 160, 3), 60, np.uint8)
    picture[30:80, 40:100] = (200, 60, 40)
    return picture


def test_batched_prompts_of_the_predictor_s_notebook(sam, image):
    """From predictor_example.ipynb, "End-to-end batched inference"."""
    transform = ResizeLongestSide(sam.image_encoder.img_size)
    boxes = torch.tensor([[40, 30, 99, 79], [20, 20, 120, 90]])
    resized = torch.as_tensor(transform.apply_image(image)).permute(2, 0, 1).contiguous()
    record = {
        "image": resized, "boxes": transform.apply_boxes_torch(boxes, image.shape[:2]),
        "original_size": image.shape[:2],
    }  # fmt: skip
    (found,) = sam([record], multimask_output=False)
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    for number, box in enumerate(boxes.numpy()):
        mask = predictor.predict(box=box, multimask_output=False)[0]
        np.testing.assert_array_equal(found["masks"][number].numpy(), mask)


@pytest.mark.parametrize("is_box", [False, True])
def test_the_decoder_of_the_onnx_notebook(sam, image, is_box):
    """From onnx_model_example.ipynb: one mask for a point with a padding point, or for a box."""
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    model = SamOnnxModel(sam, return_single_mask=True)
    embed_size = sam.prompt_encoder.image_embedding_size
    assert predictor.get_image_embedding().shape[1:] == (sam.prompt_encoder.embed_dim, *embed_size)
    point, box = np.array([[70, 50]]), np.array([40, 30, 99, 79])
    coords = box.reshape(2, 2) if is_box else np.concatenate([point, [[0, 0]]])
    labels = np.array([[2, 3]] if is_box else [[1, -1]], np.float32)
    coords = predictor.transform.apply_coords(coords[None].astype(float), image.shape[:2])
    with torch.no_grad():
        masks, scores, _ = model(
            predictor.get_image_embedding(), torch.from_numpy(coords).float(),
            torch.from_numpy(labels), torch.zeros(1, 1, *(4 * side for side in embed_size)),
            torch.zeros(1), torch.tensor(image.shape[:2], dtype=torch.float32),
        )  # fmt: skip
    given = {"box": box} if is_box else {"point_coords": point, "point_labels": np.ones(1)}
    expected, known, _ = predictor.predict(**given, multimask_output=True)
    best = int(known.argmax())
    np.testing.assert_array_equal((masks[0, 0] > model.sam.mask_threshold).numpy(), expected[best])
    assert scores.shape == (1, 1)


def test_what_the_decoder_s_module_does_not_offer_is_refused(sam):
    with pytest.raises(UserError, match="no stability scores or extra metrics"):
        SamOnnxModel(sam, True, use_stability_score=True)


def test_run_lengths_and_boxes_of_masks():
    masks = torch.zeros(2, 4, 5, dtype=torch.bool)
    masks[0, 1:3, 2:5] = True
    codes = amg.mask_to_rle_pytorch(masks)
    assert codes[0] == {"size": [4, 5], "counts": [9, 2, 2, 2, 2, 2, 1]}
    assert codes[1]["counts"] == [20]
    assert [amg.area_from_rle(code) for code in codes] == [6, 0]
    np.testing.assert_array_equal(amg.rle_to_mask(codes[0]), masks[0].numpy())
    assert isinstance(amg.coco_encode_rle(codes[0])["counts"], str)
    boxes = amg.batched_mask_to_box(masks)
    assert boxes.tolist() == [[2, 1, 4, 2], [0, 0, 0, 0]]
    assert amg.box_xyxy_to_xywh(boxes).tolist()[0] == [2, 1, 2, 1]


def test_grids_crops_stability_and_small_regions():
    assert amg.build_point_grid(2).tolist() == [
        [0.25, 0.25],
        [0.75, 0.25],
        [0.25, 0.75],
        [0.75, 0.75],
    ]
    assert [len(grid) for grid in amg.build_all_layer_point_grids(4, 1, 2)] == [16, 4]
    crops, layers = amg.generate_crop_boxes((100, 200), 1, 0.5)
    assert crops[0] == [0, 0, 200, 100]
    assert layers == [0, 1, 1, 1, 1]
    logits = torch.tensor([[[2.0, 0.5], [-0.5, -2]]])
    assert amg.calculate_stability_score(logits, 0.0, 1.0).tolist() == pytest.approx([1 / 3])
    mask = np.ones((6, 6), bool)
    mask[2, 2] = False
    mended, is_changed = amg.remove_small_regions(mask, 4, "holes")
    assert is_changed
    assert mended.all()
    parts = list(amg.batch_iterator(2, [1, 2, 3], "abc"))
    assert parts == [[[1, 2], "ab"], [[3], "c"]]


def test_the_decoder_is_exported_as_the_notebook_does(sam, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    dim, size = sam.prompt_encoder.embed_dim, sam.prompt_encoder.image_embedding_size
    inputs = {
        "image_embeddings": torch.randn(1, dim, *size),
        "point_coords": torch.randint(0, sam.image_size, (1, 5, 2)).float(),
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, *(4 * side for side in size)),
        "has_mask_input": torch.tensor([1.0]),
        "orig_im_size": torch.tensor([150.0, 225.0]),
    }
    model, file = SamOnnxModel(sam, return_single_mask=True), tmp_path / "sam.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, tuple(inputs.values()), str(file), opset_version=17, dynamo=False,
            input_names=list(inputs), output_names=["masks", "iou_predictions", "low_res_masks"],
            dynamic_axes={"point_coords": {1: "num_points"}, "point_labels": {1: "num_points"}},
        )  # fmt: skip
    session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    masks, *_ = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    expected = model(*inputs.values())[0].detach().numpy()
    np.testing.assert_allclose(masks, expected, atol=1e-3)
