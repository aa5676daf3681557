"""Scores of a validation pass: means over objects by protocol."""

import json
import subprocess
import sys
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.training.validation import ValidationScores, score_batch
from samtune.types import Prompt, Prompts

CPU = torch.device("cpu")


def boxes(batch):
    """The exact box of each object, in the input frame of 64 pixels."""
    prompts = []
    for target in batch.targets:
        rows, columns = (target > 127).nonzero(as_tuple=True)
        corners = [columns.min() * 2, rows.min() * 2, columns.max() * 2 + 1, rows.max() * 2 + 1]
        prompts.append(Prompt(box_xyxy=np.array(corners, np.float32)))
    return prompts


@pytest.fixture(scope="module")
def two_protocols(batch):
    return replace(batch, prompts={"box": boxes(batch), "mixed": batch.prompts["first"]})


@pytest.fixture(scope="module")
def blind(sam):
    """The network with a decoder that never sees an object."""
    changed = deepcopy(sam)
    decoder = changed.core.mask_decoder
    with torch.no_grad():
        decoder.upscale_conv2.weight.zero_()
        decoder.upscale_conv2.bias.fill_(1.0)
        for head in decoder.output_hypernetworks_mlps:
            head.proj_out.weight.zero_()
            head.proj_out.bias.fill_(-1.0)
    return changed


class TestScores:
    def test_means_are_over_objects_and_their_mean_over_protocols(self):
        scores = ValidationScores()
        scores.add({"box": torch.tensor([0.5, 1.0]), "point": torch.tensor([0.25, 0.25])})
        scores.add({"box": torch.tensor([0.0]), "point": torch.tensor([0.75])})
        found = scores.compute()
        assert found == {
            "box_miou": pytest.approx(0.5),
            "point_miou": pytest.approx(1.25 / 3),
            "miou": pytest.approx((0.5 + 1.25 / 3) / 2),
        }

    def test_without_objects_there_are_none(self):
        assert ValidationScores().compute() == {}

    def test_they_are_forgotten_between_passes(self):
        scores = ValidationScores()
        scores.add({"box": torch.tensor([0.5])})
        scores.clear()
        assert scores.compute() == {}
        scores.add({"box": torch.tensor([0.25])})
        assert scores.compute()["miou"] == pytest.approx(0.25)

    def test_computing_changes_nothing(self):
        scores = ValidationScores()
        scores.add({"box": torch.tensor([0.5, 0.25])})
        assert scores.compute() == scores.compute()


class TestBatch:
    def test_each_object_is_measured_under_each_protocol(self, sam, two_protocols):
        found = score_batch(sam, two_protocols, 32)
        assert {name: ious.shape for name, ious in found.items()} == {"box": (4,), "mixed": (4,)}
        assert not any(ious.requires_grad for ious in found.values())

    @torch.no_grad()
    def test_the_mask_that_the_network_thinks_best_is_measured(self, sam, two_protocols):
        found = score_batch(sam, two_protocols, 32)["box"]
        packed = Prompts(
            boxes_xyxy=torch.tensor(np.stack([p.box_xyxy for p in boxes(two_protocols)]))
        )
        answer = sam.decode(
            sam.encode(two_protocols.pixel_values), two_protocols.image_index, packed, True
        )
        for k, image in enumerate(two_protocols.image_index):
            best = answer.low_res_logits[k, answer.iou_scores[k].argmax()]
            full = F.interpolate(best[None, None], (32, 32), mode="bilinear")[0, 0] > 0
            full &= two_protocols.valid[image]
            truth = two_protocols.targets[k] > 127
            expected = (full & truth).sum() / (full | truth).sum()
            assert found[k].item() == pytest.approx(expected.item(), abs=1e-6)

    def test_single_prompts_are_answered_by_one_mask_where_it_was_trained_so(
        self, sam, two_protocols, monkeypatch
    ):
        three = score_batch(sam, two_protocols, 32)["box"]
        monkeypatch.setattr(sam, "with_multimask", False)
        one = score_batch(sam, two_protocols, 32)["box"]
        assert not torch.allclose(one, three, atol=1e-3)

    @pytest.mark.parametrize("order", [[3, 1, 0, 2], [2], [1, 3]])
    def test_neither_order_nor_batch_changes_an_object_s_score(
        self, sam, two_protocols, choose, order
    ):
        whole = score_batch(sam, two_protocols, 32)
        part = score_batch(sam, choose(two_protocols, order), 32)
        for name, ious in part.items():
            assert torch.allclose(ious, whole[name][order], atol=1e-2)

    def test_the_chunk_size_changes_no_score(self, sam, two_protocols):
        whole, chunks = (score_batch(sam, two_protocols, size) for size in (32, 1))
        for name, ious in chunks.items():
            assert torch.allclose(ious, whole[name], atol=1e-2)

    def test_nothing_predicted_scores_nothing(self, blind, two_protocols):
        assert score_batch(blind, two_protocols, 32)["box"].tolist() == [0.0] * 4

    def test_nothing_predicted_scores_nothing_for_an_object_smaller_than_half_a_cell(
        self, blind, two_protocols
    ):
        targets = torch.zeros_like(two_protocols.targets)
        targets[:, 5, 5] = 60
        found = score_batch(blind, replace(two_protocols, targets=targets), 32)
        assert found["box"].tolist() == [0.0] * 4

    def test_an_adapter_that_is_off_scores_as_the_base(self, sam, two_protocols):
        tuned = deepcopy(sam)
        prepare_for_training(tuned, "lora", LoraSettings(rank=2), "full")
        with torch.no_grad():
            for parameter in tuned.core.mask_decoder.parameters():
                parameter.add_(0.05 * parameter.requires_grad)
            with tuned.base_weights():
                found = score_batch(tuned.eval(), two_protocols, 32)
        for name, ious in score_batch(sam, two_protocols, 32).items():
            assert torch.equal(found[name], ious)


PROCESS = """
import json
import sys
from datetime import timedelta

import torch

from samtune.training.validation import ValidationScores

rank, meeting_point = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group(
    "gloo", f"file://{meeting_point}", timedelta(seconds=30), world_size=2, rank=rank
)
scores = ValidationScores()
for ious in json.loads(sys.argv[3])[rank]:
    scores.add({"box": torch.tensor(ious)})
print(json.dumps(scores.compute()))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "shares",
    [[[[0.5, 0.5]], [[0.75], [0.25]]], [[[0.25, 0.75]], []]],
    ids=["both have objects", "only one has objects"],
)
def test_processes_gather_the_objects_of_all(tmp_path, shares):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(rank), str(tmp_path / "meet"), json.dumps(shares)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    answers = [process.communicate(timeout=120)[0] for process in processes]
    assert [json.loads(answer or "null") for answer in answers] == (
        [{"box_miou": 0.5, "miou": 0.5}] * 2
    )
