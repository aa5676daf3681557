import numpy as np
import torch

from samtune.prompts.packing import best_by_score, decode_groups, group_by_signature, pack
from samtune.types import MaskPrediction, Prompt

CPU = torch.device("cpu")


def points(*labels, at=0.0):
    coords = np.array([[at + number, at] for number in range(len(labels))], np.float32)
    return Prompt(coords, np.array(labels, np.int64))


def box(x0):
    return Prompt(box_xyxy=np.array([x0, 0, x0 + 5, 5], np.float32))


def mask():
    return Prompt(mask_input=np.full((4, 4), 2, np.float32))


MANY = [box(0), points(1), points(1, 0), box(1), points(1, at=9), mask(), points(1, 1, at=3)]


def test_prompts_are_grouped_in_order_of_first_appearance():
    assert group_by_signature(MANY) == [[0, 3], [1, 4], [2, 6], [5]]


def test_a_box_with_a_point_is_neither_box_nor_point():
    both = Prompt(*vars(points(1)).values())
    both.box_xyxy = box(0).box_xyxy
    assert group_by_signature([box(0), both, points(1)]) == [[0], [1], [2]]


def test_no_prompts_have_no_groups():
    assert group_by_signature([]) == []
    assert decode_groups(lambda *_: None, [], True, CPU) == []


def test_points_are_packed_by_object():
    packed = pack([points(1, 0), points(1, 1, at=3)])
    assert packed.point_coords.tolist() == [[[0, 0], [1, 0]], [[3, 3], [4, 3]]]
    assert packed.point_labels.tolist() == [[1, 0], [1, 1]]
    assert packed.boxes_xyxy is None
    assert packed.mask_inputs is None
    assert len(packed) == 2


def test_boxes_are_packed_by_object():
    packed = pack([box(0), box(1), box(2)])
    assert packed.boxes_xyxy.tolist() == [[0, 0, 5, 5], [1, 0, 6, 5], [2, 0, 7, 5]]
    assert packed.point_coords is None
    assert packed.point_labels is None


def test_masks_get_a_channel():
    packed = pack([mask(), mask()])
    assert packed.mask_inputs.shape == (2, 1, 4, 4)
    assert (packed.mask_inputs == 2).all()


def test_some_of_the_packed_prompts_can_be_taken():
    packed = pack([box(0), box(1), box(2)])
    assert packed[1:].boxes_xyxy[:, 0].tolist() == [1, 2]
    assert packed[torch.tensor([2, 0])].boxes_xyxy[:, 0].tolist() == [2, 0]
    assert packed[1:].point_coords is None


class Decoder:
    """Answers with the first number of each prompt, and remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def __call__(self, indices, prompts, with_multimask):
        self.calls.append((indices.tolist(), with_multimask))
        parts = (prompts.point_coords, prompts.boxes_xyxy, prompts.mask_inputs)
        first = next(part for part in parts if part is not None)
        value = first.reshape(len(indices), -1)[:, 0]
        return MaskPrediction(value[:, None, None, None], value[:, None])


def test_only_single_prompts_are_answered_by_three_masks():
    decoder = Decoder()
    decode_groups(decoder, MANY, True, CPU)
    assert decoder.calls == [([0, 3], True), ([1, 4], True), ([2, 6], False), ([5], True)]


def test_without_multimask_no_prompt_is_answered_by_three_masks():
    decoder = Decoder()
    decode_groups(decoder, MANY, False, CPU)
    assert [with_multimask for _, with_multimask in decoder.calls] == [False] * 4


def test_each_object_is_answered_once_with_its_own_prompt():
    answers = decode_groups(Decoder(), MANY, True, CPU)
    found = {
        int(index): float(score)
        for indices, prediction in answers
        for index, score in zip(indices, prediction.iou_scores, strict=True)
    }
    assert found == {0: 0, 1: 0, 2: 0, 3: 1, 4: 9, 5: 2, 6: 3}


def test_the_best_mask_is_the_one_with_the_highest_score():
    logits = torch.arange(12.0).reshape(2, 3, 1, 2)
    scores = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.2, 0.4]])
    best, score = best_by_score(MaskPrediction(logits, scores))
    assert best.tolist() == [[[2, 3]], [[6, 7]]]
    torch.testing.assert_close(score, torch.tensor([0.9, 0.8]))


def test_a_prompt_with_one_more_point_is_a_copy():
    before = points(1)
    after = before.with_point((7, 8), 0)
    assert before.num_points == 1
    assert after.point_coords.tolist() == [[0, 0], [7, 8]]
    assert after.point_labels.tolist() == [1, 0]
    assert (before.is_single, after.is_single) == (True, False)


def test_a_box_with_one_more_point_keeps_its_box():
    after = box(3).with_point((7, 8), 1)
    assert after.signature == (1, True, False)
    assert after.box_xyxy.tolist() == [3, 0, 8, 5]
