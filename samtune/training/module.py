"""`SamTuner`: the Lightning glue between a batch, the rounds and the optimizer. No logic of its own.

Checkpoints hold the trained parameters only, and all that is needed to rebuild the network.
"""

import logging
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from samtune.data.features import FeatureStore, FrozenPart
from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.encoder_steps import blocks_after
from samtune.models.loading import load_model, load_start, load_trained
from samtune.models.lora import base_beside, go_on_from, parameters_table, prepare_for_training
from samtune.models.metadata import describe
from samtune.models.pretraining.extents import ExtentHead, extent_loss, extent_targets
from samtune.models.quantize import quantize as quantize_encoder
from samtune.models.saving import save_run
from samtune.prompts.protocols import RECIPES
from samtune.prompts.seeding import object_rng
from samtune.reading import Reading
from samtune.training.encoding import encode_batch, frozen_part
from samtune.training.general import GeneralPictures
from samtune.training.losses import LossWeights, require_finite
from samtune.training.memory import is_out_of_memory
from samtune.training.optim import build_optimizer, configured
from samtune.training.rounds import mean_of, run_rounds
from samtune.training.settings import ModelSettings
from samtune.training.sharing import share_of, touch_all
from samtune.training.validation import ValidationScores, score_batch
from samtune.types import Batch, InputFrame

log = logging.getLogger(__name__)


class SamTuner(pl.LightningModule):
    """A SAM in training.

    Args:
        base: what to start from: registry name, hub id, transformers folder, official `.pth`, or a
            run, to tune on from its result.
        settings: what is trained, and how.
        recipe: of the simulated prompts.
        reading: of the images; it is saved with the model.
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; 0 keeps the model's own (1024, `nano` 256).
        start: a tuned model on that base, from whose weights training goes on; empty begins anew.
    """

    # validation has this to choose by
    monitor = "val/miou"
    # of the data: prompted objects, each image or window with its own
    reads_views = False

    def __init__(
        self, base: str, settings: ModelSettings, recipe: str = "mixed",
        reading: Reading | None = None, checkpoint: str = "", image_size: int = 0, start: str = "",
    ) -> None:  # fmt: skip
        super().__init__()
        self.base, self.checkpoint, self.input_side = base, checkpoint, image_size
        self.start = start
        self.settings = settings
        if recipe not in RECIPES:
            raise UserError(f"unknown recipe '{recipe}': choose from {', '.join(RECIPES)}")
        self.recipe = RECIPES[recipe]
        if settings.num_corrections >= 0:
            self.recipe = replace(self.recipe, num_corrections=settings.num_corrections)
        self.reading = reading or Reading()
        self.loss_weights = LossWeights.from_settings(settings.loss, self.recipe)
        # both change where memory runs out
        self.with_checkpointing = settings.with_checkpointing
        self.objects_per_chunk = settings.objects_per_chunk
        self.extent_head: ExtentHead | None = None
        self.sam: Sam | None = None
        self.store: FeatureStore | None = None  # the data module opens it
        self.general: GeneralPictures | None = None
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
        self.sam.reading = self.reading
        self.sam.with_multimask = self.recipe.with_multimask
        settings = self.settings
        quantize_encoder(self.sam, settings.quantize)
        prepare_for_training(
            self.sam, settings.mode, settings.lora, settings.decoder, settings.with_prompt_encoder
        )
        if self.start:
            go_on_from(self.sam, load_model(self.start))
        self.sam.train()
        if settings.with_encoder_warmup:
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

    def on_train_start(self) -> None:
        """Open the general pictures, unless drawn ones are what is learned."""
        data: Any = getattr(self.trainer, "datamodule", None)
        wants = self.loss_weights.general > 0 and self.network.is_adapted
        if wants and data is not None and data.format != "drawn":
            dataset = data.general_dataset(self)
            self.general = GeneralPictures(
                dataset, base_beside(self.network), data.batch_size, data.seed, self.global_rank,
                self.store,
            )  # fmt: skip

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
                "data.max_objects or image_size, or let --auto choose"
            )
        self._has_saved_memory = True
        most = self.objects_per_chunk or (len(batch.keys) if batch else 0) or 16
        self.objects_per_chunk = max(1, most // 2)
        self.with_checkpointing = self.network.with_checkpointing = True
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        log.info(
            "out of memory at step %d: it goes on with checkpointing and %d objects at once (the "
            "results are the same)", self.global_step, self.objects_per_chunk,
        )  # fmt: skip

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
        return self._joined(values["loss"] * share + self._general_loss(batch_idx))

    def _general_loss(self, batch_idx: int) -> Tensor | float:
        """What the answers to general pictures add."""
        weight = self.loss_weights.general
        if self.general is None or not weight:
            return 0.0
        loss = self.general.loss(self.network, (self.current_epoch, batch_idx))
        return 0.0 if loss is None else weight * loss

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
        optimizer = build_optimizer(self, self.settings.optim, partial(blocks_after, self.network))
        return configured(optimizer, self.settings.optim, self.trainer)

    def save(self, run: Path) -> Path:
        """Write what is trained into a run's folder."""
        return save_run(self.network, run)

    def tell(self) -> str:
        """What is trained."""
        return parameters_table(self.network)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {name for name, p in self.named_parameters() if p.requires_grad}
        state = checkpoint["state_dict"]
        checkpoint["state_dict"] = {
            k: v for k, v in state.items() if k in trained and k.startswith("sam.")
        }
        if self.extent_head is not None:
            checkpoint["extent_head"] = self.extent_head.state_dict()
        checkpoint["samtune"] = describe(self.network) | {
            "mode": self.settings.mode,
            "lora": asdict(self.settings.lora),
            "decoder": self.settings.decoder,
            "with_prompt_encoder": self.settings.with_prompt_encoder,
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
