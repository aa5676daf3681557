"""`HeadTuner`: a head in training beside a SAM that stays as it is.

The encoder answers, the head learns. What is kept is a running mean of the head's weights, which is
what validation looks at, too.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from samtune.data.features import FeatureStore, join_features
from samtune.data.views import REPEATS, View, ViewSettings
from samtune.errors import UserError
from samtune.heads.head import DenseHead
from samtune.heads.table import HEADS
from samtune.models.backend import Sam
from samtune.models.loading import describe, load_model, tuned_sha256
from samtune.models.saving import save_tuned
from samtune.reading import Reading
from samtune.training.optim import build_optimizer, configured
from samtune.training.settings import ModelSettings
from samtune.types import Features, InputFrame

# Share of the mean that stays at each step, once there were many
_KEPT = 0.99
# Rate of Muon over that of AdamW
_MUON = 6.0
# Of what the encoder made of views that come again
_KEPT_BYTES = 2**29


class HeadTuner(pl.LightningModule):
    """A dense head in training.

    Args:
        base: whose encoder is shared: whatever `load_model` takes; a run keeps its adapter.
        settings: which head, and how it learns.
        look: side of the input -> settings of the head that the data tell: its tile, its classes.
        reading: of the images; a tuned SAM's own must be the same, but for its tile.
        checkpoint: official weights for a registry name, instead of a download.
        image_size: side of the square input; 0 keeps the model's own.
    """

    # validation has this to choose by
    monitor = "val/score"
    # of the data: views instead of prompted objects
    reads_views = True

    def __init__(
        self, base: str, settings: ModelSettings, look: Callable[[int], dict[str, Any]],
        reading: Reading, checkpoint: str = "", image_size: int = 0,
    ) -> None:  # fmt: skip
        super().__init__()
        self.base, self.checkpoint, self.input_side = base, checkpoint, image_size
        self.settings, self.look, self.reading = settings, look, reading
        self.about: dict[str, Any] = {}
        self.sam: Sam | None = None
        self.head: DenseHead | None = None
        self.store: FeatureStore | None = None
        self._scores: list[float] = []
        self._encoded: dict[tuple[int, int], Features] = {}
        self.strict_loading = False

    def configure_model(self) -> None:
        """Load the weights: after parsing, and once."""
        if self.sam is not None:
            return
        self.sam = load_model(self.base, self.checkpoint or None, self.input_side or None)
        self.sam.requires_grad_(False)
        if self.sam.is_base:
            self.sam.reading = self.reading
        _require_same(self.sam.reading, self.reading, self.base)
        self.about = self.look(self.sam.image_size)
        kind = HEADS[self.settings.head]
        self.head = kind(self.sam.encoded, self.about).train()
        mean = kind(self.sam.encoded, self.about)
        mean.load_state_dict(self.head.state_dict())
        self.sam.heads[kind.name] = mean.eval().requires_grad_(False)

    @property
    def network(self) -> Sam:
        """The SAM, with the mean of the head among its heads."""
        assert self.sam is not None, "configure_model has not run"
        return self.sam

    @property
    def mean_head(self) -> Any:
        """What is kept."""
        return self.network.heads[self.settings.head]

    @property
    def frame(self) -> InputFrame:
        return self.network.frame

    def view(self, seed: int, augmentation: str, per_image: int, on_error: Any) -> ViewSettings:
        """What the data module is to draw for this head."""
        head = self.mean_head
        return ViewSettings(
            self.frame.grid(head.grid_side), partial(type(head).targets, settings=head.settings),
            head.tile, float(head.settings.get("object_side", 0.0)), augmentation, seed, per_image,
            REPEATS, on_error,
        )  # fmt: skip

    def training_step(self, batch: View, batch_idx: int) -> Tensor:
        head = self.head
        assert head is not None
        features = self._features(batch)
        with quick(self.device):
            maps = head(batch.pixel_values, features)
        values = head.loss(maps.float(), batch.targets, batch.valid)
        if not torch.isfinite(values["loss"]):
            raise UserError(
                f"the loss became {float(values['loss'])} at step {self.global_step}: lower "
                "model.head_lr"
            )
        for name, value in values.items():
            told = "train/loss" if name == "loss" else f"train/{name}_loss"
            self.log(told, value.detach(), prog_bar=name == "loss", batch_size=len(batch))
        return values["loss"]

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
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the mean towards the weights: far at first (Adam's correction)."""
        assert self.head is not None
        kept = min(_KEPT, self.global_step / (self.global_step + 10))
        own = self.head.state_dict()
        for name, mean in self.mean_head.state_dict().items():
            if mean.is_floating_point():
                mean.lerp_(own[name], 1 - kept)
            else:
                mean.copy_(own[name])

    def validation_step(self, batch: View, batch_idx: int) -> None:
        if not len(batch):
            return
        head = self.mean_head
        features = self.network.encode_for_heads(batch.pixel_values)
        maps = head.activate(head(batch.pixel_values, features)).float().cpu().numpy()
        valid = batch.valid.cpu().numpy()
        targets = {name: part.cpu().numpy() for name, part in batch.targets.items()}
        for number in range(len(batch)):
            own = {name: part[number] for name, part in targets.items()}
            self._scores.append(head.score(maps[number], own, valid[number]))

    def on_validation_epoch_end(self) -> None:
        scores, self._scores = self._scores, []
        if scores and not self.trainer.sanity_checking:
            self.log("val/score", float(np.nanmean(scores)), prog_bar=True)

    def configure_optimizers(self) -> Any:
        assert self.head is not None
        lr = self.settings.head_lr
        optim = replace(self.settings.optim, lr=lr, muon_lr=_MUON * lr)
        optimizer = build_optimizer(self.head, optim, lambda name: 0)
        return configured(optimizer, optim, self.trainer)

    def save(self, run: Path) -> Path:
        """Write the SAM with its heads into a run's folder."""
        return save_tuned(self.network, run)

    def tell(self) -> str:
        """What is trained."""
        assert self.head is not None
        count = sum(parameter.numel() for parameter in self.head.parameters())
        tile = f"views of {self.head.tile} pixels" if self.head.tile else "whole images"
        return f"head '{self.settings.head}': {count:,} weights, {tile}; the rest stays as it is"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.head is not None
        checkpoint["state_dict"] = {
            **{f"head.{name}": value for name, value in self.head.state_dict().items()},
            **{f"mean.{name}": value for name, value in self.mean_head.state_dict().items()},
        }
        checkpoint["samtune"], checkpoint["base_scores"] = describe(self.network), {}
        checkpoint["head"] = {
            "base": asdict(self.network.base), "weights": tuned_sha256(self.network),
            "name": self.settings.head, "about": self.about,
        }  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        found = checkpoint.get("head", {}).get("weights")
        if found != (own := tuned_sha256(self.network)):
            raise UserError(
                f"the head of the checkpoint was trained on other weights than those of '{self.base}'"
                f" (sha256 {str(found)[:12]}..., found {own[:12]}...): give it the same base"
            )

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        assert self.head is not None
        for name, part in (("head", self.head), ("mean", self.mean_head)):
            own = {
                k.removeprefix(f"{name}."): v for k, v in state_dict.items() if k.startswith(name)
            }
            part.load_state_dict(own)


def quick(device: torch.device) -> AbstractContextManager[Any]:
    """Where a CPU multiplies matrices in bfloat16 by itself (AMX), a head learns in it, twice as fast.

    Its weights, losses and answers in use stay in single precision.
    """
    # an older torch does not say
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    is_able = device.type == "cpu" and has_tiles()
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
