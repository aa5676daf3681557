"""What a step takes is found without taking it; what is chosen fits; running out ends no run."""

from copy import deepcopy

import pytest
import torch

from samtune.cli import main
from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.lora import prepare_for_training
from samtune.models.settings import LoraSettings
from samtune.training.memory import (
    USABLE_SHARE,
    MemoryPlan,
    choose_plan,
    count_saved,
    estimate,
    free_memory,
    is_out_of_memory,
)


@pytest.fixture
def lora(sam):
    """nano at 64 px with LoRA in all blocks, in training."""
    tuned = deepcopy(sam)
    prepare_for_training(tuned, "lora", LoraSettings(rank=2), "full")
    return tuned.train()


class TestEstimate:
    def test_kept_bytes_are_counted_once_and_without_weights(self):
        weight, values = torch.ones(10, 10, requires_grad=True), torch.ones(4, 10)
        known = {weight.untyped_storage()._cdata}
        # the product keeps its input, the square its answer
        assert count_saved(lambda: (values @ weight).square().sum(), known) == 4 * (40 + 40)

    def test_it_is_what_autograd_keeps_of_real_tensors(self, lora):
        known = {p.untyped_storage()._cdata for p in lora.parameters()}
        pixels = torch.randn(1, 3, 64, 64)
        real = count_saved(lambda: lora.encode(pixels).main, known)
        found = estimate(lora, with_checkpointing=False).image
        neck = sum(4 * p.numel() for p in lora.core.vision_encoder.neck.parameters())
        assert real <= found <= real + 1.05 * neck  # fake convolutions keep a copy of their weight

    def test_checkpointing_takes_less_and_the_setting_comes_back(self, lora):
        plain, spared = (estimate(lora, flag) for flag in (False, True))
        assert spared.image < 0.4 * plain.image
        assert spared.object == plain.object
        assert lora.with_checkpointing is False

    def test_fewer_adapted_blocks_take_less(self, lora):
        from samtune.models.loading import load_model

        other = load_model("nano", image_size=64)
        prepare_for_training(other, "lora", LoraSettings(rank=2, encoder="last", last_blocks=2))
        assert estimate(other, False).image < 0.6 * estimate(lora, False).image

    def test_no_memory_is_taken_for_it(self, lora):
        kinds = []
        for block in lora.family.blocks:
            block.register_forward_pre_hook(
                lambda _, inputs: kinds.append(type(inputs[0]).__name__)
            )
        estimate(lora, False)
        assert set(kinds) == {"FakeTensor"}


class TestPlan:
    def plan_for(self, lora, free, wanted=8):
        return choose_plan(lora, wanted, num_objects=16, num_rounds=3, free=int(free))

    def total(self, lora, plan):
        return estimate(lora, plan.with_checkpointing).total(plan)

    def test_with_room_nothing_changes(self, lora):
        plan, lines = self.plan_for(lora, 1e12)
        assert plan == MemoryPlan(8, 1, False, 0, 16, 3)
        assert "chosen batch_size 8, accumulate_grad_batches 1, checkpointing off" in lines[-1]

    @pytest.mark.parametrize("share", [1.5, 3.0])
    def test_fewer_images_at_a_time_are_made_up_for(self, lora, share):
        one = self.total(lora, MemoryPlan(1, 8, False, 0, 16, 3))
        plan, _ = self.plan_for(lora, share * one / USABLE_SHARE)
        assert plan.batch_size * plan.accumulate == 8
        assert 1 <= plan.batch_size < 8
        assert not plan.with_checkpointing
        assert self.total(lora, plan) <= share * one

    def test_checkpointing_comes_before_smaller_chunks(self, lora):
        one = self.total(lora, MemoryPlan(1, 8, False, 0, 16, 3))
        spared = self.total(lora, MemoryPlan(1, 8, True, 0, 16, 3))
        assert spared < one
        plan, lines = self.plan_for(lora, 1.2 * spared / USABLE_SHARE)
        assert (plan.with_checkpointing, plan.objects_per_chunk) == (True, 0)
        assert "as it is takes" in lines[1]
        assert lines[1].endswith("does not fit")

    def test_then_chunks_become_smaller(self, lora):
        spared = self.total(lora, MemoryPlan(1, 8, True, 0, 16, 3))
        plan, _ = self.plan_for(lora, 0.5 * spared / USABLE_SHARE)
        assert plan.with_checkpointing
        assert 0 < plan.objects_per_chunk <= 8

    def test_what_cannot_fit_is_said(self, lora):
        with pytest.raises(UserError, match=r"give a smaller image_size"):
            self.plan_for(lora, 1e6)

    def test_free_memory_is_a_sensible_number(self):
        assert 1e8 < free_memory(torch.device("cpu")) < 1e14

    @pytest.mark.slow
    def test_the_command_notes_what_it_chose(self, discs, tmp_path, fast, capsys, monkeypatch):
        monkeypatch.setattr("samtune.training.preparing.free_memory", lambda device: 600_000_000)
        run = tmp_path / "run"
        flags = ["--auto", "true", "--data.batch_size", "4", "--trainer.max_epochs", "1"]
        flags += ["--image_size", "256"]  # of which four do not fit
        assert main(["fit", "--data.path", str(discs), "--run", str(run), *fast, *flags]) == 0
        assert "memory: chosen batch_size" in capsys.readouterr().out
        text = (run / "config.yaml").read_text()
        batch, steps = (
            int(text.split(f"{name}: ")[1].split()[0])
            for name in ("  batch_size", "accumulate_grad_batches")
        )
        assert batch * steps == 4
        assert "auto: false" in text


def train(data, run, fast):
    """The code of a run of one epoch, and its losses."""
    arguments = ["fit", "--data.path", str(data), "--run", str(run), *fast]
    code = main([*arguments, "--trainer.max_epochs", "1"])
    file = run / "metrics.csv"
    rows = file.read_text().splitlines()[1:] if file.exists() else []
    return code, [float(row.split(",")[1]) for row in rows]


@pytest.fixture(scope="module")
def plain(discs, fast, tmp_path_factory):
    """The losses of a run with room enough."""
    return train(discs, tmp_path_factory.mktemp("plain") / "run", fast)[1]


class TestRunningOut:
    @pytest.fixture
    def fit(self, discs, tmp_path, fast):
        return lambda: train(discs, tmp_path / "short", fast)

    @pytest.fixture
    def failing(self, monkeypatch):
        """A function after which the next so many passes through the encoder in training fail."""

        def fail(times, error):
            left, encode = [times], Sam.encode

            def spy(sam, pixels):
                if sam.training and torch.is_grad_enabled() and left[0]:
                    left[0] -= 1
                    raise error
                return encode(sam, pixels)

            monkeypatch.setattr(Sam, "encode", spy)

        return fail

    @pytest.mark.parametrize(
        "error",
        [
            torch.OutOfMemoryError("CUDA out of memory"),
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
            ),
        ],
    )
    def test_the_run_goes_on_to_the_same_losses(self, plain, fit, failing, error, capsys):
        failing(1, error)
        assert fit() == (0, pytest.approx(plain, rel=1e-5))
        told = capsys.readouterr().out
        assert "out of memory at step 0: it goes on with checkpointing" in told

    @pytest.mark.slow
    def test_in_the_backward_pass_too(self, plain, fit, capsys, monkeypatch):
        from samtune.training.module import SamTuner

        left, backward = [1], SamTuner.backward

        def spy(tuner, loss, *arguments, **settings):
            if left[0]:
                left[0] -= 1
                raise torch.OutOfMemoryError("CUDA out of memory")
            backward(tuner, loss, *arguments, **settings)

        monkeypatch.setattr(SamTuner, "backward", spy)
        assert fit() == (0, pytest.approx(plain, rel=1e-5))

    def test_the_second_time_it_says_what_to_do(self, fit, failing, capsys):
        failing(2, torch.OutOfMemoryError("CUDA out of memory"))
        assert fit()[0] == 2
        assert "out of memory again" in capsys.readouterr().err

    def test_other_errors_are_not_taken_for_it(self):
        assert not is_out_of_memory(RuntimeError("shapes cannot be multiplied"))
        assert not is_out_of_memory(ValueError("can't allocate memory"))
        assert is_out_of_memory(MemoryError())
