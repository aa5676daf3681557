"""Image embeddings of a batch, with what the frozen part of the encoder makes taken from the cache."""

import torch

from samtune.data.features import FeatureStore, FrozenPart, join_features
from samtune.models.backend import Sam
from samtune.models.encoder_steps import frozen_depth
from samtune.types import Batch, Features


def frozen_part(sam: Sam, precision: str) -> FrozenPart | None:
    """What can be kept of a network that is prepared for training; `None` if nothing can.

    Args:
        sam: whose trainable parameters are known.
        precision: of the trainer: half precision answers otherwise.
    """
    depth = kept_depth(sam)
    if depth < 0:
        return None
    description = {
        "weights": sam.base.sha256,
        "family": sam.family.name,
        "frame": repr(sam.frame),
        "depth": str(depth),
        "precision": precision,
        "quantization": sam.quantization,
        "encoder": repr(sorted(sam.core.config.vision_config.to_dict().items(), key=str)),
    }
    return FrozenPart(description, 4 * sam.features_size(depth))


def kept_depth(sam: Sam) -> int:
    """After how many steps of the encoder its answer is kept; -1 if it is trained from the start."""
    depth = frozen_depth(sam)
    if depth == sam.depth and not sam.family.with_kept_embeddings:
        return depth - 1  # of EdgeTAM that is 0: its whole backbone stands before the first block
    # before the first block there is next to nothing to save
    return depth if depth > 0 else -1


def encode_batch(sam: Sam, batch: Batch, store: FeatureStore | None) -> Features:
    """Image embeddings (B) of a batch; what was not kept yet is computed and kept."""
    if store is None:
        return sam.encode(batch.pixel_values)
    depth, dtype = kept_depth(sam), sam.pixel_mean.dtype
    missing = [number for number, kept in enumerate(batch.kept) if kept is None]
    parts = list(batch.kept)
    if missing:
        rows = missing if len(batch.pixel_values) == len(parts) else range(len(missing))
        with torch.no_grad():
            made = sam.encode_until(batch.pixel_values[list(rows)], depth)
        for row, number in enumerate(missing):
            # rounded as it will be read, so that the first epoch is like the others
            parts[number] = made[row : row + 1].to(store.dtype)
            store.write(batch.entries[number], made[row : row + 1])
    features = join_features([part for part in parts if part is not None], sam.device, dtype)
    return sam.encode_from(features, depth)
