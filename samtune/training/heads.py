"""`HeadTuner`: a head in training, beside a SAM that stays as it is or together with its encoder.

The head's loss is all that trains either. What is kept is a running mean of what is trained, which is
what validation looks at, too.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from samtune.data.features import FeatureStore, join_features
from samtune.data.views import View, ViewSettings
from samtune.errors import UserError
from samtune.heads.table import HEADS
from samtune.models.backend import Sam
from samtune.models.encoder_steps import blocks_after
from samtune.models.loading import (
    load_model,
    load_start,
    load_trained,
    names_of_heads,
    tuned_sha256,
)
from samtune.models.lora import base_beside, parameters_table, prepare_for_training
from samtune.models.metadata import describe
from samtune.models.quantize import quantize
from samtune.models.saving import save_tuned
from samtune.prompts.protocols import RECIPES
from samtune.prompts.seeding import object_rng
from samtune.reading import Reading
from samtune.training.averaging import find_averaged
from samtune.training.general import GeneralPictures
from samtune.training.losses import LossWeights
from samtune.training.optim import configured, make_optimizer, parameter_groups
from samtune.training.settings import ModelSettings
from samtune.types import Features, InputFrame

log = logging.getLogger(__name__)
# Rate of Muon over that of AdamW
_MUON = 6.0
# Of what the encoder made of views that come again
_KEPT_BYTES = 2**29


class HeadTuner(pl.LightningModule):
    """A dense head in training.

    Args:
        base: whose encoder is shared: whatever `load_model` takes. Where the encoder stays as it is, a
            run keeps its adapter; where it learns, a run is a base of its own.
        settings: which head, and how it learns.
        look: side of the input -> settings of the head that the data tell: its tile, its classes.
        reading: of the images; a tuned SAM's own must be the same, but for its tile.
        recipe: of prompts, whose weight of general pictures holds an encoder that learns.
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; 0 keeps the model's own.
    """

    # validation has this to choose by
    monitor = "val/score"
    # of the data: views instead of prompted objects
    reads_views = True

    def __init__(
        self, base: str, settings: ModelSettings, look: Callable[[int], dict[str, Any]],
        reading: Reading, recipe: str = "mixed", checkpoint: str = "", image_size: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.base, self.checkpoint, self.input_side = base, checkpoint, image_size
        self.settings, self.look, self.reading = settings, look, reading
        self.general_weight = LossWeights.from_settings(settings.loss, RECIPES[recipe]).general
        self.about: dict[str, Any] = {}
        self.sam: Sam | None = None
        self.store: FeatureStore | None = None
        self.general: GeneralPictures | None = None
        self._started_from = ""
        self._scores: list[float] = []
        self._encoded: dict[tuple[int, int], Features] = {}
        self._own: dict[str, Tensor] = {}
        self.strict_loading = False

    def configure_model(self) -> None:
        """Load the weights: after parsing, and once."""
        if self.sam is not None:
            return
        place = (self.base, self.checkpoint, self.input_side or None)
        self.sam = self._with_adapter(*place) if self.trains_encoder else self._as_it_is(*place)
        self.about = self.look(self.sam.image_size)
        kind = HEADS[self.settings.head]
        self.sam.heads[kind.name] = kind(self.sam.encoded, self.about).train()

    def _as_it_is(self, base: str, checkpoint: str, side: int | None) -> Sam:
        sam = load_model(base, checkpoint or None, side)
        self._started_from = tuned_sha256(sam)
        sam.requires_grad_(False)
        if sam.is_base:
            sam.reading = self.reading
        _require_same(sam.reading, self.reading, base)
        return sam

    def _with_adapter(self, base: str, checkpoint: str, side: int | None) -> Sam:
        """Its encoder has LoRA; the decoder, which the head's loss does not reach, none."""
        if found := names_of_heads(base):
            log.warning(
                "the heads of %s (%s) read its encoder as it is, which changes now: they are not taken "
                "along, train them again afterwards", base, ", ".join(found),
            )  # fmt: skip
        sam = load_start(base, checkpoint, side)
        self._started_from, sam.reading = sam.base.sha256, self.reading
        quantize(sam, self.settings.quantize)
        prepare_for_training(sam, "lora", self.settings.lora, "frozen")
        sam.with_checkpointing = self.settings.with_checkpointing
        return sam.train()

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder learns too."""
        return self.settings.head_encoder == "lora"

    @property
    def head(self) -> Any:
        """What is trained, with its weights of the moment."""
        return self.network.heads[self.settings.head]

    @property
    def mask_side(self) -> int:
        return self.network.mask_side

    @property
    def network(self) -> Sam:
        """The SAM, with the head among its heads."""
        assert self.sam is not None, "configure_model has not run"
        return self.sam

    @property
    def frame(self) -> InputFrame:
        return self.network.frame

    def view(
        self, seed: int, augmentation: str, per_image: int, repeats: int, on_error: Any
    ) -> ViewSettings:
        """What the data module is to draw for this head."""
        head = self.head
        return ViewSettings(
            self.frame.grid(head.grid_side), partial(type(head).targets, settings=head.settings),
            head.tile, float(head.settings.get("object_side", 0.0)), augmentation, seed, per_image,
            repeats, on_error,
        )  # fmt: skip

    def on_train_start(self) -> None:
        """Open the general pictures that hold an encoder which learns near its base."""
        data: Any = getattr(self.trainer, "datamodule", None)
        if self.trains_encoder and self.general_weight > 0 and data is not None:
            dataset = data.general_dataset(self)
            base = base_beside(self.network)
            self.general = GeneralPictures(
                dataset, base, data.batch_size, data.seed, self.global_rank
            )

    def training_step(self, batch: View, batch_idx: int) -> Tensor:
        # dropout depends on the step alone, so that a resumed run repeats an undisturbed one
        seed = object_rng(self.current_epoch, "dropout", batch_idx, self.global_rank)
        torch.manual_seed(int(seed.integers(2**63)))
        learns = self.trains_encoder
        features = (
            self.network.encode_for_heads(batch.pixel_values) if learns else self._features(batch)
        )
        with quick(self.device):
            maps = self.head(batch.pixel_values, features)
        values = self.head.loss(maps.float(), batch.targets, batch.valid)
        if not torch.isfinite(values["loss"]):
            raise UserError(
                f"the loss became {float(values['loss'])} at step {self.global_step}: lower "
                f"model.head_lr{' or model.optim.lr' if learns else ''}"
            )
        for name, value in values.items():
            told = "train/loss" if name == "loss" else f"train/{name}_loss"
            self.log(told, value.detach(), prog_bar=name == "loss", batch_size=len(batch))
        loss: Tensor = values["loss"] + self._general_loss(batch_idx)
        return loss

    def _general_loss(self, batch_idx: int) -> Tensor | float:
        """What the answers to prompts on general pictures add."""
        if self.general is None:
            return 0.0
        loss = self.general.loss(self.network, (self.current_epoch, batch_idx))
        return 0.0 if loss is None else self.general_weight * loss

    @torch.no_grad()
    def _features(self, batch: View) -> Features:
        """What the encoder makes of a batch, or has made of its views before in this epoch."""
        epoch = batch.key[0][1]
        self._encoded = {key: each for key, each in self._encoded.items() if key[1] == epoch}
        parts = dict(self._encoded)
        rows = {key: row for row, key in enumerate(batch.key) if key not in parts}
        if rows:
            made = self.network.encode_for_heads(batch.pixel_values[list(rows.values())])
            for number, key in enumerate(rows):
                own = slice(number, number + 1)
                part = Features(made.main[own], tuple(each[own] for each in made.details))
                parts[key] = part
                size = sum(
                    each.numel() * each.element_size() for each in (part.main, *part.details)
                )
                if (len(self._encoded) + 1) * size <= _KEPT_BYTES:
                    self._encoded[key] = part
        return join_features([parts[key] for key in batch.key], self.device, self.network.dtype)

    @torch.no_grad()
    def _take(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """Put weights in the place of those that are trained; returns what was there."""
        trained = dict(self.named_parameters())
        before = {name: trained[name].detach().clone() for name in weights}
        for name, value in weights.items():
            trained[name].copy_(value)
        return before

    def on_validation_epoch_start(self) -> None:
        """The running mean is judged, as it is what is kept."""
        self._own = self._take(find_averaged(self.trainer))

    def validation_step(self, batch: View, batch_idx: int) -> None:
        if not len(batch):
            return
        head = self.head
        features = self.network.encode_for_heads(batch.pixel_values)
        maps = head.activate(head(batch.pixel_values, features)).float().cpu().numpy()
        valid = batch.valid.cpu().numpy()
        targets = {name: part.cpu().numpy() for name, part in batch.targets.items()}
        for number in range(len(batch)):
            own = {name: part[number] for name, part in targets.items()}
            self._scores.append(head.score(maps[number], own, valid[number]))

    def on_validation_epoch_end(self) -> None:
        self._take(self._own)
        self._own = {}
        scores, self._scores = self._scores, []
        if scores and not self.trainer.sanity_checking:
            self.log("val/score", float(np.nanmean(scores)), prog_bar=True)

    def configure_optimizers(self) -> Any:
        """AdamW and Muon for the head, AdamW for LoRA, each at its own rate; one schedule."""
        own, lr = self.settings.optim, self.settings.head_lr
        if not lr > 0:
            raise UserError(f"model.head_lr is {lr}: give a number above 0, such as 4e-3")
        optim = replace(own, lr=lr, muon_lr=_MUON * lr)
        groups = parameter_groups(self.head.named_parameters(), optim, lambda name: 0)
        groups += parameter_groups(
            self.network.network.named_parameters(), replace(own, muon_lr=0.0),
            partial(blocks_after, self.network),
        )  # fmt: skip
        return configured(make_optimizer(groups, optim), optim, self.trainer)

    def save(self, run: Path) -> Path:
        """Write the SAM with its heads, as the mean of its steps, into a run's folder."""
        own = self._take(find_averaged(self.trainer))
        try:
            return save_tuned(self.network, run)
        finally:
            self._take(own)

    def tell(self) -> str:
        """What is trained."""
        count = sum(parameter.numel() for parameter in self.head.parameters())
        tile = f"views of {self.head.tile} pixels" if self.head.tile else "whole images"
        rest = "the rest stays as it is"
        if self.trains_encoder:
            rest = f"and beside it\n{parameters_table(self.network)}"
        return f"head '{self.settings.head}': {count:,} weights, {tile}; {rest}"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["state_dict"] = {
            name: value for name, value in self.named_parameters() if value.requires_grad
        }
        checkpoint["samtune"], checkpoint["base_scores"] = describe(self.network), {}
        checkpoint["head"] = {"weights": self._started_from, "name": self.settings.head}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        found, own = checkpoint.get("head", {}).get("weights"), self._started_from
        if found != own:
            raise UserError(
                f"the head of the checkpoint was trained on other weights than those of '{self.base}'"
                f" (sha256 {str(found)[:12]}..., found {own[:12]}...): give it the same base"
            )

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        load_trained(self.network, state_dict, "the checkpoint")


def quick(device: torch.device) -> AbstractContextManager[Any]:
    """Where a CPU multiplies in bfloat16 by itself, a head learns in it, nearly twice as fast.

    Its weights, losses and answers in use stay in single precision.
    """
    # AMX and AVX-512 BF16; an older torch does not say
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    is_able = device.type == "cpu" and any(getattr(torch.cpu, n, lambda: False)() for n in names)
    return torch.autocast("cpu", torch.bfloat16) if is_able else nullcontext()


def _require_same(known: Reading, found: Reading, base: str) -> None:
    """A shared encoder sees the same pixels, whoever asks; the tile is each one's own.

    Raises:
        UserError: the head's images are read otherwise.
    """
    for field in fields(Reading):
        own, other = getattr(known, field.name), getattr(found, field.name)
        if field.name != "tile" and own != other:
            raise UserError(
                f"data.{field.name} is {other}, and {base} was trained with {own}: the head shares its "
                f"encoder, so set data.{field.name} to the same"
            )
