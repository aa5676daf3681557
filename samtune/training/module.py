"""`SamTuner`: the Lightning glue between a batch, the rounds and the optimizer. No logic of its own.

Checkpoints hold the trained parameters only, and all that is needed to rebuild the network.
"""

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from samtune.data.features import FeatureStore, FrozenPart
from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.encoder_steps import blocks_after
from samtune.models.loading import load_model, load_start, load_trained
from samtune.models.lora import base_beside, go_on_from, parameters_table, prepare_for_training
from samtune.models.metadata import describe
from samtune.models.pretraining.extents import ExtentHead
from samtune.models.quantize import quantize as quantize_encoder
from samtune.models.saving import save_run
from samtune.prompts.protocols import RECIPES
from samtune.reading import Reading
from samtune.training.copies import Copies, num_copies
from samtune.training.encoding import frozen_part
from samtune.training.general import GeneralPictures
from samtune.training.less_memory import LessMemory
from samtune.training.losses import LossWeights
from samtune.training.memory import is_out_of_memory
from samtune.training.optim import build_optimizer, configured
from samtune.training.pieces import Piece, divided
from samtune.training.settings import ModelSettings
from samtune.training.sharing import share_of, touch_all
from samtune.training.step import StepWork, Values, added
from samtune.training.validation import ValidationScores, score_batch
from samtune.types import Batch, InputFrame


class SamTuner(LessMemory):
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
    # side by side on this machine, each of which works out a part of a step; 0 is one alone
    num_processes = 0

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
        self.with_checkpointing = settings.with_checkpointing
        self.objects_per_chunk = settings.objects_per_chunk
        self.extent_head: ExtentHead | None = None
        self.sam: Sam | None = None
        self.store: FeatureStore | None = None  # the data module opens it
        self.general: GeneralPictures | None = None
        self.copies: Copies | None = None
        self._found: tuple[Values, int] = ({}, 0)  # of the step: values, objects
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
        """Open the general pictures, unless drawn ones are what is learned; then start the copies."""
        data: Any = getattr(self.trainer, "datamodule", None)
        wants = self.loss_weights.general > 0 and self.network.is_adapted
        if wants and data is not None and data.format != "drawn":
            dataset = data.general_dataset(self)
            self.general = GeneralPictures(
                dataset, base_beside(self.network), data.batch_size, data.seed, self.global_rank,
                self.store,
            )  # fmt: skip
        most = min(self.num_processes, data.batch_size if data is not None else 0)
        num = num_copies(most, self.device)
        if num and self._can_be_divided:
            self.copies = Copies(self.network, self._work_out, num)

    @property
    def _can_be_divided(self) -> bool:
        """Whether a step is the sum of its images' parts, each with its own backward pass."""
        trainer = self.trainer
        is_plain = trainer.world_size == trainer.accumulate_grad_batches == 1
        is_whole = str(trainer.precision).startswith("32") and self.extent_head is None
        return is_plain and is_whole and self.store is None

    def on_train_end(self) -> None:
        """End the copies, also after an interruption."""
        if self.copies is not None:
            self.copies.close()
            self.copies = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        share = share_of(len(batch.keys), self.trainer.world_size, self.device)  # all take part
        is_due = self.general is not None and self.general.is_due(batch_idx)
        place = (self.current_epoch, batch_idx)
        step = Piece(batch, share, place, self.global_step, with_general=is_due)
        try:
            return self._take_step(step)
        except (RuntimeError, MemoryError) as error:
            # Lightning logs within the step, which is an exchange between processes
            if not is_out_of_memory(error) or self.trainer.world_size > 1:
                raise
            self.save_memory(len(batch.keys))
        return self._take_step(step)

    def _take_step(self, step: Piece) -> Tensor:
        if self.copies is not None:
            step, *others = divided(step, 1 + len(self.copies))
            self.copies.ask(others)
        loss, values = self._work.loss_of(step)
        self._found = values, len(step.batch.keys)
        return self._joined(loss)

    def on_after_backward(self) -> None:
        """Log the step, with what the copies have worked out of it."""
        values, size = self._found
        for own, its_size in self.copies.gather() if self.copies is not None else ():
            values = added(values, own)
            size += its_size
        self._log_step(values, size)

    @property
    def _work(self) -> StepWork:
        return StepWork(
            self.network, self.recipe, self.loss_weights, self.global_rank,
            self.objects_per_chunk, self.general, self.extent_head, self.store,
        )  # fmt: skip

    def _work_out(self, piece: Piece) -> tuple[Values, int]:
        """A piece in a copy of this process: its gradients, and what is logged of it."""
        loss, values = self._work.loss_of(piece)
        loss.backward()  # type: ignore[no-untyped-call]
        return values, len(piece.batch.keys)

    def _log_step(self, values: Values, size: int) -> None:
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
                f"train/{name}", value, prog_bar=name in ("loss", "miou"),
                batch_size=max(1, size), sync_dist=world > 1,
            )  # fmt: skip

    def _joined(self, loss: Tensor) -> Tensor:
        """Among several processes no trained weight may be left out."""
        return loss + touch_all(self.network) if self.trainer.world_size > 1 else loss

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
