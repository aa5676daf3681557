"""ONNX graphs in onnxruntime, against torch: every family, prompt, size; int8; large files."""

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from samtune.data.readers.mask_folder import MaskFolder
from samtune.errors import UserError
from samtune.exports import agreement, torch_graphs
from samtune.exports.exported import ExportSettings
from samtune.exports.graphs import INPUTS, OUTPUTS, feature_names
from samtune.exports.onnx import export_onnx, sample_prompts
from samtune.exports.onnx_session import OnnxPredictor, TorchPredictor, choose, open_session
from samtune.images.preprocess import to_pixel_values
from samtune.inference.predictor import SamPredictor
from samtune.reading import Reading
from samtune.types import Prompt

BOUND = 1e-3
HW = (70, 101)


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(5).integers(0, 256, (*HW, 3), dtype=np.uint8)


def ask_both(sam, folder, image, prompts):
    ours, theirs = OnnxPredictor(sam, folder), TorchPredictor(sam)
    for each in (ours, theirs):
        each.set_image(image)
    return [(ours.predict(prompt), theirs.predict(prompt)) for prompt in prompts]


@pytest.fixture(scope="module")
def export(make_tuned, settings, tmp_path_factory):
    """A function that gives a family's tuned network, its folder and what was told, made once."""

    @cache
    def make(name="sam"):
        sam, folder = make_tuned(name), tmp_path_factory.mktemp(f"onnx_{name}")
        return sam, folder, export_onnx(sam, folder, settings)

    return make


def test_every_family_answers_as_torch_does(export, family_name, image):
    sam, folder, _ = export(family_name)
    for found, expected in ask_both(sam, folder, image, sample_prompts(HW, sam.mask_side)[::3]):
        for part, other in zip(found, expected, strict=True):
            assert part.shape == other.shape
            np.testing.assert_allclose(part, other, atol=BOUND, rtol=0)


class TestOfSam:
    @pytest.fixture
    def out(self, export):
        return export()[1]

    @pytest.fixture
    def sam(self, export):
        return export()[0]

    def test_the_interface_is_segment_anything_s(self, sam, out):
        decoder = open_session(out / "decoder.onnx")
        names = [each.name for each in decoder.get_inputs()]
        assert names == ["image_embeddings", "point_coords", "point_labels", "mask_input",
                         "has_mask_input", "orig_im_size"]  # fmt: skip
        assert [each.name for each in decoder.get_outputs()] == list(OUTPUTS)
        shapes = {each.name: each.shape for each in decoder.get_inputs()}
        assert shapes["point_coords"] == [1, "num_points", 2]
        assert shapes["mask_input"] == [1, 1, 16, 16]
        encoder = open_session(out / "encoder.onnx").get_inputs()[0]
        assert (encoder.name, encoder.shape) == ("x", [1, 3, 64, 64])
        assert onnx.load(str(out / "decoder.onnx")).opset_import[0].version == torch_graphs.OPSET

    @pytest.mark.parametrize("count", [1, 3, 17, 60])
    def test_any_number_of_points(self, sam, out, image, count):
        rng = np.random.default_rng(count)
        coords = (rng.random((count, 2)) * HW[::-1]).astype(np.float32)
        prompt = Prompt(coords, rng.integers(0, 2, count))
        ((found, expected),) = ask_both(sam, out, image, [prompt])
        np.testing.assert_allclose(found[0], expected[0], atol=BOUND, rtol=0)

    @pytest.mark.parametrize("hw", [(1, 40), (33, 33), (401, 5), (90, 1111), (64, 65)])
    def test_any_size_of_image(self, sam, out, hw):
        image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
        prompt = Prompt(box_xyxy=np.array([0, 0, hw[1] - 1, hw[0] - 1], np.float32))
        ((found, expected),) = ask_both(sam, out, image, [prompt])
        assert found[0].shape == (4, *hw)
        np.testing.assert_allclose(found[0], expected[0], atol=BOUND, rtol=0)

    def test_without_a_box_the_padding_point_is_expected(self, sam, out, image):
        """With the label -1, as segment_anything's users pass it: its place does not matter."""
        features = open_session(out / "encoder.onnx").run(
            None, {"x": to_pixel_values(image, sam.frame)[None].numpy()}
        )

        def ask(places, has_mask):
            coords = np.array([[[20, 30], *places]], np.float32)
            values = {
                "image_embeddings": features[0],
                "point_coords": coords,
                "point_labels": np.array([[1] + [-1] * len(places)], np.float32),
                "mask_input": np.ones((1, 1, 16, 16), np.float32),
                "has_mask_input": np.array([has_mask], np.float32),
                "orig_im_size": np.array(HW, np.float32),
            }
            assert values.keys() == {*feature_names(sam), *INPUTS}
            return open_session(out / "decoder.onnx").run(None, values)[2]

        assert np.array_equal(ask([[0, 0]], 0), ask([[50, 60]], 0))
        assert not np.allclose(ask([[0, 0]], 0), ask([], 0), atol=1e-3)
        assert np.array_equal(ask([[0, 0]], 0), ask([[0, 0]], -1)), "labelme sends -1 for none"
        assert not np.allclose(ask([[0, 0]], 0), ask([[0, 0]], 1), atol=1e-3)

    def test_several_masks_are_one_and_three(self, sam, out, image):
        prompt = Prompt(np.array([[20, 30]], np.float32), np.array([1]))
        ((found, _),) = ask_both(sam, out, image, [prompt])
        theirs = TorchPredictor(sam)
        theirs.set_image(image)
        best = 1 + int(found[1][1:].argmax())
        assert np.array_equal(theirs.mask(prompt), found[0][best] > 0)
        assert np.array_equal(choose(found, prompt, False), found[0][0] > 0)


def test_what_more_the_decoder_takes_is_told(export):
    _, _, exported = export("sam2")
    told = " ".join(exported.notes)
    assert "`high_res_feats_0`" in told
    assert "give none" in told
    assert "high_res_feats_1" in exported.usage


def test_int8_is_smaller_and_its_loss_is_measured(make_tuned, out, discs):
    source = MaskFolder(discs / "val")
    settings = ExportSettings("tiny", is_int8=True, source=source, max_images=2, min_area=10)
    exported = export_onnx(make_tuned(), out, settings)
    full, small = (out / f"encoder{part}.onnx" for part in ("", ".int8"))
    assert small.stat().st_size < 0.7 * full.stat().st_size
    weights = onnx.load(str(small)).graph.initializer
    assert any(each.data_type == onnx.TensorProto.INT8 for each in weights)
    sentence = exported.checks[-1]
    num_objects = sum(len(np.unique(source.read(n).labels)) - 1 for n in range(2))
    assert (
        f"{2 * num_objects} prompts (boxes and points) on 2 images of the validation split"
        in sentence
    )


class _Constant:
    """Answers every prompt with the same mask."""

    def __init__(self, mask):
        self.found = mask

    def set_image(self, image):
        assert image.shape[:2] == self.found.shape

    def mask(self, prompt):
        return self.found


def test_agreement_is_the_mean_iou(discs):
    source = MaskFolder(discs / "val")
    truth = source.read(0).labels[0] > 0
    half, settings = truth.copy(), ExportSettings("x", source=source, max_images=1, min_area=1)
    half[:32] = False
    found = agreement.compare_masks(_Constant(truth), _Constant(half), settings)
    ids = [number for number in np.unique(source.read(0).labels) if number]
    ious = [(source.read(0).labels[0] == n).sum() / truth.sum() for n in ids]
    assert found.same == pytest.approx(half.sum() / truth.sum())
    assert found.one == pytest.approx(np.mean(ious))
    assert (found.num_prompts, found.num_images) == (2 * len(ids), 1)


def test_without_objects_there_is_nothing_to_measure(discs):
    settings = ExportSettings("x", source=MaskFolder(discs / "val"), min_area=10**6)
    with pytest.raises(UserError, match="no objects"):
        agreement.compare_masks(*[_Constant(np.ones((64, 64), bool))] * 2, settings)


def test_large_weights_lie_beside_the_graph_in_one_file(tmp_path):
    torch_graphs.write_onnx(
        torch.nn.Linear(64, 64), [torch.ones(1, 64)], tmp_path / "a.onnx", (["x"], ["y"]), {}
    )
    torch_graphs.save_model(onnx.load(str(tmp_path / "a.onnx")), tmp_path / "b.onnx", largest=1000)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx", "b.onnx.data"]
    values = {"x": np.ones((1, 64), np.float32)}
    found, expected = (
        open_session(tmp_path / name).run(None, values)[0] for name in ("b.onnx", "a.onnx")
    )
    assert np.array_equal(found, expected)
    assert (tmp_path / "b.onnx").stat().st_size < 1000


@pytest.mark.parametrize("stretch", ["none", "auto"])
def test_the_card_s_code_gives_samtune_s_masks(make_tuned, settings, out, tmp_path, stretch):
    """On an image of 16 bit, of which a plain conversion to 8 leaves nothing but white."""
    sam = make_tuned()
    sam.reading = Reading(stretch=stretch)
    exported = export_onnx(sam, out, settings)
    values = np.random.default_rng(2).integers(300, 4000, (50, 80)).astype(np.uint16)
    values[10:30, 20:60] += 3000
    Image.fromarray(values).save(tmp_path / "dark.tif")
    code = exported.usage.removeprefix("```python").partition("```")[0]
    for name in ("image.png", "encoder.onnx", "decoder.onnx"):
        folder = tmp_path if name == "image.png" else out
        code = code.replace(name, str(folder / name.replace("image.png", "dark.tif")))
    found = {}
    exec(code, found)  # noqa: S102
    predictor = SamPredictor(sam)
    predictor.set_image(sam.reading.read(tmp_path / "dark.tif"))
    masks, _, _ = predictor.predict(box=np.array([10, 20, 200, 180]), multimask_output=False)
    assert np.array_equal(found["mask"], masks[0])
    assert any("read as told above" in note for note in exported.notes) == (stretch == "auto")
