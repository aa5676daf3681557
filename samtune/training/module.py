"""`SamTuner`: the Lightning glue between a batch, the rounds and the optimizer. No logic of its own.

Checkpoints hold the trained parameters only, and all that is needed to rebuild the network.
"""

import sys
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from samtune.data.features import FeatureStore, FrozenPart
from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.encoder_steps import blocks_after
from samtune.models.loading import describe, load_start, load_trained
from samtune.models.lora import DecoderMode, LoraSettings, Mode, prepare_for_training
from samtune.models.quantize import Quantization
from samtune.models.quantize import quantize as quantize_encoder
from samtune.prompts.protocols import RECIPES
from samtune.prompts.seeding import object_rng
from samtune.training.encoding import encode_batch, frozen_part
from samtune.training.extents import ExtentHead, extent_loss, extent_targets
from samtune.training.losses import LossSettings, LossWeights, require_finite
from samtune.training.memory import is_out_of_memory
from samtune.training.optim import OptimSettings, build_optimizer, build_schedule
from samtune.training.processes import share_of, touch_all
from samtune.training.rounds import mean_of, run_rounds
from samtune.training.validation import ValidationScores, score_batch
from samtune.types import Batch, InputFrame, Stretch, View


class SamTuner(pl.LightningModule):
    """A SAM in training.

    Args:
        base: what to start from: registry name, hub id, transformers folder, official `.pth`, or a
            run, to tune on from its result.
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; 0 keeps the model's own (1024, `nano` 256).
        mode: `lora` as the settings below; `decoder` trains the mask decoder alone; `full` trains
            everything.
        lora: kind and place of the LoRA layers.
        decoder: in mode `lora`: `frozen`, `lora`, or `full` for all its weights.
        with_prompt_encoder: train the prompt encoder too.
        recipe: of the simulated prompts; the command line takes it from `data.recipe`.
        stretch: of the images; the command line takes it from `data.stretch`.
        bands: of the images; the command line takes them from `data.bands`.
        value_range: of the images; the command line takes it from `data.value_range`.
        view: of the images; the command line takes it from the section `data`.
        num_corrections: rounds of correction clicks; -1 takes the recipe's.
        with_encoder_warmup: train the encoder alone, to tell each place how far its object reaches;
            before anything else, for a network that starts from nothing.
        loss: weights of the losses.
        optim: learning rate and schedule.
        quantize: the frozen encoder in `4bit` (QLoRA) or `8bit`, by bitsandbytes; in mode `lora`.
        with_checkpointing: compute activations again in the backward pass, to save memory.
        objects_per_chunk: objects that are decoded at once; 0 chooses for the device.
    """

    def __init__(
        self,
        base: str = "vit_b",
        checkpoint: str = "",
        image_size: int = 0,
        mode: Mode = "lora",
        lora: LoraSettings = LoraSettings(),  # noqa: B008 (jsonargparse shows its defaults)
        decoder: DecoderMode = "full",
        with_prompt_encoder: bool = False,
        recipe: str = "mixed",
        stretch: Stretch = "none",
        bands: list[int | str] | None = None,
        value_range: list[float] | None = None,
        view: View = View(),  # noqa: B008
        num_corrections: int = -1,
        with_encoder_warmup: bool = False,
        loss: LossSettings = LossSettings(),  # noqa: B008
        optim: OptimSettings = OptimSettings(),  # noqa: B008
        quantize: Quantization = "none",
        with_checkpointing: bool = False,
        objects_per_chunk: int = 0,
    ) -> None:
        super().__init__()
        self.base, self.checkpoint, self.input_side = base, checkpoint, image_size
        self.mode: Mode = mode
        self.lora = lora
        self.decoder: DecoderMode = decoder
        self.with_prompt_encoder = with_prompt_encoder
        if recipe not in RECIPES:
            raise UserError(f"unknown recipe '{recipe}': choose from {', '.join(RECIPES)}")
        self.recipe = RECIPES[recipe]
        if num_corrections >= 0:
            self.recipe = replace(self.recipe, num_corrections=num_corrections)
        if with_encoder_warmup and mode != "full":
            raise UserError("model.with_encoder_warmup trains the encoder: set model.mode full")
        if quantize != "none" and mode != "lora":
            raise UserError(
                f"model.quantize {quantize} is for a frozen encoder: set model.mode lora"
            )
        self.quantize: Quantization = quantize
        self.with_encoder_warmup = with_encoder_warmup
        self.extent_head: ExtentHead | None = None
        self.stretch: Stretch = stretch
        self.bands = bands
        self.value_range = (value_range[0], value_range[1]) if value_range else None
        self.view = view
        self.loss_weights = LossWeights.from_settings(loss, self.recipe)
        self.optim_settings = optim
        self.with_checkpointing = with_checkpointing
        self.objects_per_chunk = objects_per_chunk
        self.sam: Sam | None = None
        self.store: FeatureStore | None = None  # the data module opens it
        self._has_saved_memory = False
        self.scores = ValidationScores()
        self.base_scores: dict[str, float] = {}
        # Checkpoints hold trained parameters only; `load_state_dict` checks them itself.
        self.strict_loading = False

    def configure_model(self) -> None:
        """Load the weights: after parsing, and once."""
        if self.sam is not None:
            return
        self.sam = load_start(self.base, self.checkpoint, self.input_side or None)
        self.sam.stretch, self.sam.bands = self.stretch, self.bands
        self.sam.value_range, self.sam.view = self.value_range, self.view
        self.sam.with_multimask = self.recipe.with_multimask
        quantize_encoder(self.sam, self.quantize)
        prepare_for_training(self.sam, self.mode, self.lora, self.decoder, self.with_prompt_encoder)
        self.sam.train()
        if self.with_encoder_warmup:
            self.extent_head = ExtentHead(self.sam.num_channels)
        self.sam.with_checkpointing = self.with_checkpointing

    @property
    def network(self) -> Sam:
        assert self.sam is not None, "configure_model has not run"
        return self.sam

    @property
    def frozen_part(self) -> FrozenPart | None:
        """What the data module may keep of the encoder's answers."""
        return frozen_part(self.network, str(self.trainer.precision))

    @property
    def frame(self) -> InputFrame:
        return self.network.frame

    @property
    def mask_side(self) -> int:
        return self.network.mask_side

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        share = share_of(len(batch.keys), self.trainer.world_size, self.device)  # all take part
        try:
            return self._take_step(batch, batch_idx, share)
        except (RuntimeError, MemoryError) as error:
            # Lightning logs within the step, which is an exchange between processes
            if not is_out_of_memory(error) or self.trainer.world_size > 1:
                raise
            self._save_memory(batch)
        return self._take_step(batch, batch_idx, share)

    def optimizer_step(
        self, epoch: int, batch_idx: int, optimizer: Any, closure: Any = None
    ) -> None:
        try:
            super().optimizer_step(epoch, batch_idx, optimizer, closure)
            return
        except (RuntimeError, MemoryError) as error:
            # several processes are in the middle of exchanging gradients, and what was accumulated
            # before would be lost
            is_plain = self.trainer.world_size == self.trainer.accumulate_grad_batches == 1
            if not is_out_of_memory(error) or not is_plain:
                raise
        self._save_memory(None)
        optimizer.zero_grad()
        super().optimizer_step(epoch, batch_idx, optimizer, closure)

    def _save_memory(self, batch: Batch | None) -> None:
        """After running out of memory: half the objects at once, and checkpointing; once in a run.

        Raises:
            UserError: it was done before.
        """
        if self._has_saved_memory:
            raise UserError(
                "out of memory again, with checkpointing and fewer objects at once: lower "
                "data.batch_size (trainer.accumulate_grad_batches makes up for it), "
                "data.max_objects or model.image_size, or let --auto choose"
            )
        self._has_saved_memory = True
        most = self.objects_per_chunk or (len(batch.keys) if batch else 0) or 16
        self.objects_per_chunk = max(1, most // 2)
        self.with_checkpointing = self.network.with_checkpointing = True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        sys.stdout.write(
            f"out of memory at step {self.global_step}: it goes on with checkpointing and "
            f"{self.objects_per_chunk} objects at once (the results are the same)\n"
        )

    def _take_step(self, batch: Batch, batch_idx: int, share: float) -> Tensor:
        # Dropout depends on the step alone, so that a resumed run repeats an undisturbed one.
        seed = object_rng(*batch.seed, "dropout", batch_idx, self.global_rank)
        torch.manual_seed(int(seed.integers(2**63)))
        # another process may have the last image of the epoch
        features = encode_batch(self.network, batch, self.store) if len(batch.valid) else None
        if features is None or not batch.keys:  # nothing to learn, but the step must count
            self._log_step({}, 0.0, 1)
            return touch_all(self.network)
        if self.extent_head is not None:
            return self._joined(self._warm_up(self.extent_head(features.main), batch))
        rounds = run_rounds(
            self.network, features, batch, self.recipe, self.loss_weights, self.objects_per_chunk
        )
        values = mean_of(rounds)
        require_finite(values["loss"], self.global_step, batch.keys)
        self._log_step({k: v.detach() for k, v in values.items()}, share, len(batch.keys))
        return self._joined(values["loss"] * share)

    def _log_step(self, values: dict[str, Tensor], share: float, size: int) -> None:
        """Log a step; among several processes one without objects adds nothing, but takes part."""
        world = self.trainer.world_size
        if not values and world == 1:
            return
        names = ["loss", "miou", "pixel_loss", "dice_loss", "iou_loss"]
        if self.recipe.num_corrections + self.recipe.num_refinements:
            names.append("miou_corrected")
        for name in names:
            value = values.get(name, torch.zeros((), device=self.device))
            self.log(
                f"train/{name}", value * share, prog_bar=name in ("loss", "miou"),
                batch_size=size, sync_dist=world > 1,
            )  # fmt: skip

    def _joined(self, loss: Tensor) -> Tensor:
        """Among several processes no trained weight may be left out."""
        return loss + touch_all(self.network) if self.trainer.world_size > 1 else loss

    def _warm_up(self, maps: Tensor, batch: Batch) -> Tensor:
        targets = extent_targets(batch.targets, batch.image_index, len(batch.pixel_values))
        loss = extent_loss(maps, targets, batch.valid)
        require_finite(loss, self.global_step, batch.keys)
        self.log("train/loss", loss.detach(), prog_bar=True, batch_size=len(batch.pixel_values))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        if batch.keys:
            self.scores.add(score_batch(self.network, batch, self.objects_per_chunk, self.store))

    def on_validation_epoch_end(self) -> None:
        values = self.scores.compute()
        self.scores.clear()
        if not values:
            return
        if not self.base_scores:  # the first validation runs before the first step
            self.base_scores = values
        if self.trainer.sanity_checking:
            return
        values = values | {f"base_{name}": score for name, score in self.base_scores.items()}
        for name, value in values.items():
            self.log(
                f"val/{name}", value, prog_bar=name in ("miou", "base_miou"),
                sync_dist=self.trainer.world_size > 1,
            )  # fmt: skip

    def configure_optimizers(self) -> Any:
        optimizer = build_optimizer(self, self.optim_settings, partial(blocks_after, self.network))
        num_steps = int(self.trainer.estimated_stepping_batches)
        schedule = build_schedule(optimizer, self.optim_settings, num_steps)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {
            k: v for k, v in state.items() if k in trained and k.startswith("sam.")
        }
        if self.extent_head is not None:
            checkpoint["extent_head"] = self.extent_head.state_dict()
        checkpoint["samtune"] = describe(self.network) | {
            "mode": self.mode,
            "lora": asdict(self.lora),
            "decoder": self.decoder,
            "with_prompt_encoder": self.with_prompt_encoder,
        }
        checkpoint["base_scores"] = self.base_scores

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        found = checkpoint.get("samtune", {}).get("base", {}).get("sha256")
        if found != self.network.base.sha256:
            raise UserError(
                f"the checkpoint was trained on another base than '{self.base}': its weights have "
                f"sha256 {found}, these {self.network.base.sha256}"
            )
        self.base_scores = checkpoint["base_scores"]
        if self.extent_head is not None:
            self.extent_head.load_state_dict(checkpoint["extent_head"])

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        load_trained(self.network, state_dict, "the checkpoint")
