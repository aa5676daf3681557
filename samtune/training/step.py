"""What a step's images, or some of them, add to the loss and to what is logged of the step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from samtune.data.features import FeatureStore
from samtune.models.backend import Sam
from samtune.models.joined import joined
from samtune.models.pretraining.extents import ExtentHead, extent_loss, extent_targets
from samtune.prompts.protocols import Recipe
from samtune.prompts.seeding import object_rng
from samtune.training.encoding import encode_batch
from samtune.training.general import GeneralPictures
from samtune.training.losses import LossWeights, require_finite
from samtune.training.pieces import Piece
from samtune.training.rounds import mean_of, run_rounds
from samtune.training.sharing import touch_all
from samtune.types import Batch

Values = dict[str, Tensor]


@dataclass(frozen=True)
class StepWork:
    """A network in training, and what is asked of it.

    Attributes:
        sam: the network.
        recipe: of prompts and rounds.
        weights: of the losses.
        rank: of this process among several that train together.
        objects_per_chunk: objects that are decoded at once; 0 chooses.
        general: pictures that hold the network near its base.
        extent_head: trained in place of all else, where the encoder is warmed up.
        store: keeps features.
    """

    sam: Sam
    recipe: Recipe
    weights: LossWeights
    rank: int = 0
    objects_per_chunk: int = 0
    general: GeneralPictures | None = None
    extent_head: ExtentHead | None = None
    store: FeatureStore | None = None

    def loss_of(self, piece: Piece) -> tuple[Tensor, Values]:
        """The loss of a piece, with gradient, and what is logged, each weighed by the piece's share.

        Raises:
            UserError: the loss is no number.
        """
        batch = piece.batch
        # Dropout depends on the step alone, so that a resumed run repeats an undisturbed one.
        parts = [piece.number] if piece.number else []
        seed = object_rng(*batch.seed, "dropout", piece.place[1], self.rank, *parts)
        torch.manual_seed(int(seed.integers(2**63)))
        # another process may have the last image of the epoch
        if not batch.keys:  # nothing to learn, but the step must count
            return touch_all(self.sam) + self._general_loss(piece), {}
        with joined(self.sam):
            features = encode_batch(self.sam, batch, self.store)
            if self.extent_head is not None:
                return _warm_up(self.extent_head(features.main), batch, piece.step)
            rounds = run_rounds(
                self.sam, features, batch, self.recipe, self.weights, self.objects_per_chunk
            )
            values = {name: value * piece.share for name, value in mean_of(rounds).items()}
            require_finite(values["loss"], piece.step, batch.keys)
            told = {name: value.detach() for name, value in values.items()}
            return values["loss"] + self._general_loss(piece), told

    def _general_loss(self, piece: Piece) -> Tensor | float:
        if self.general is None or not piece.with_general:
            return 0.0
        loss = self.general.loss(self.sam, piece.place)
        return 0.0 if loss is None else self.weights.general * loss


def _warm_up(maps: Tensor, batch: Batch, number: int) -> tuple[Tensor, Values]:
    targets = extent_targets(batch.targets, batch.image_index, len(batch.pixel_values))
    loss = extent_loss(maps, targets, batch.valid)
    require_finite(loss, number, batch.keys)
    return loss, {"loss": loss.detach()}


def added(one: Values, other: Values) -> Values:
    """What is logged of two pieces together; of one without objects nothing is."""
    return {name: one.get(name, 0) + value for name, value in other.items()} or one
