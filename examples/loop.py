"""Tune a SAM on your images, on samtune's parts and without Lightning: read it from top to bottom.

    python examples/loop.py my_data --steps 100

`samtune fit` does more: budgets, checkpoints, correction clicks, the choice at the end.
Letters: B images, K objects of the batch, M masks for a prompt, S side of the input, T of the targets.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import samtune
from samtune.data.dataset import PromptedDataset, PromptSettings
from samtune.data.formats import open_splits
from samtune.data.loader import BatchLoader
from samtune.data.settings import DataSettings
from samtune.models.backend import Sam
from samtune.prompts.packing import group_by_signature, pack
from samtune.prompts.protocols import RECIPES, find_protocols
from samtune.types import Batch, Features, MaskPrediction, Prompt

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("data", help="folder with images/ and labels/, or any other format")
parser.add_argument("--base", default="nano")
parser.add_argument("--steps", type=int, default=100)
parser.add_argument("--lr", type=float, default=1e-3)
parser.add_argument("--batch_size", type=int, default=4)
parser.add_argument("--out", type=Path, default=Path("runs/loop"))


# Batch: images with prompts. A source reads images and masks; the data set draws a window around
# objects, augments it, and draws a first prompt for each object from its mask.
def make_loader(sam: Sam, source, prompting, batch_size: int, windows: int) -> BatchLoader:
    settings = PromptSettings(
        frame=sam.frame, mask_side=sam.mask_side, target_side=64, max_objects=8, windows=windows,
        augment="light" if windows else "none",
    )  # fmt: skip
    dataset = PromptedDataset(source, settings, prompting, is_training=windows > 0)
    return BatchLoader(dataset, batch_size, seed=0 if windows else None, num_workers=0)


def forever(loader: BatchLoader) -> Iterator[Batch]:
    epoch = 0
    while True:
        loader.order.set_epoch(epoch)  # windows and prompts are drawn anew in each epoch
        yield from loader
        epoch += 1


# Decode: prompts of one signature (so many points, a box or none) go through the decoder together.
# They are never padded: a padding point would change SAM's answer. `image_index` (K,) says which of
# the B images a prompt belongs to.
def decode(
    sam: Sam, features: Features, batch: Batch, prompts: list[Prompt]
) -> Iterator[tuple[Tensor, MaskPrediction]]:
    for group in group_by_signature(prompts):
        members, rows = [prompts[index] for index in group], torch.tensor(group)
        # one point or one box is ambiguous: SAM answers with M = 3 masks, else with M = 1
        is_ambiguous = members[0].is_single
        yield rows, sam.decode(features, batch.image_index[rows], pack(members), is_ambiguous)


# Loss: cross-entropy and Dice of the best of the M masks, and the error of the predicted IoU.
def losses(found: MaskPrediction, truth: Tensor, valid: Tensor) -> Tensor:
    logits = F.interpolate(found.low_res_logits, truth.shape[-2:], mode="bilinear")  # (K, M, T, T)
    truth, valid = truth[:, None].expand_as(logits), valid[:, None]  # no cell of padding counts
    pixels = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    pixel = (pixels * valid).sum((-2, -1)) / valid.sum((-2, -1))
    share = logits.sigmoid() * valid
    dice = 1 - (2 * (share * truth).sum((-2, -1)) + 1) / ((share + truth).sum((-2, -1)) + 1)
    mask_loss = 2 * pixel + dice  # (K, M)
    # the best mask learns the object; the one that the model itself would choose, half as well
    best = mask_loss.min(dim=1).values
    chosen = mask_loss.gather(1, found.iou_scores.argmax(dim=1, keepdim=True))[:, 0]
    iou_error = (found.iou_scores - overlap(logits, truth, valid)).square().mean(dim=1)
    return (best + chosen) / 2 + iou_error


@torch.no_grad()
def overlap(logits: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """IoU (K, M) of thresholded logits."""
    mask, truth = (logits > 0) & (valid > 0), truth > 0.5
    common, either = (mask & truth).sum((-2, -1)), (mask | truth).sum((-2, -1))
    return torch.where(either > 0, common / either.clamp(min=1), 1.0)


# Evaluation: of M masks the one counts that the model itself thinks best, as a user would get it.
@torch.no_grad()
def evaluate(sam: Sam, loader: BatchLoader) -> dict[str, float]:
    sam.eval()
    ious: dict[str, list[float]] = {}
    for batch in loader:
        features = sam.encode(batch.pixel_values)
        truths, valid = batch.targets / 255, batch.valid.float()[batch.image_index]
        for protocol, prompts in batch.prompts.items():
            for rows, found in decode(sam, features, batch, prompts):
                best = found.iou_scores.argmax(dim=1)
                logits = found.low_res_logits[torch.arange(len(rows)), best][:, None]
                logits = F.interpolate(logits, truths.shape[-2:], mode="bilinear")[:, 0]
                ious.setdefault(protocol, []).extend(
                    overlap(logits, truths[rows], valid[rows]).tolist()
                )
    return {name: sum(values) / len(values) for name, values in ious.items()}


def main(arguments: list[str] | None = None) -> dict[str, dict[str, float]]:
    options = parser.parse_args(arguments)
    torch.manual_seed(0)

    # A base with LoRA in encoder and decoder; everything else is frozen
    sam = samtune.load_model(options.base)
    samtune.prepare_for_training(sam, "lora", samtune.LoraSettings(rank=8), decoder="lora")
    trained = [parameter for parameter in sam.parameters() if parameter.requires_grad]

    settings = DataSettings(path=options.data)
    splits = open_splits(Path(options.data), "auto", settings.of_source, settings.of_splits)
    train = make_loader(sam, splits["train"], RECIPES["mixed"], options.batch_size, windows=8)
    test = make_loader(sam, splits["test"], find_protocols(["box", "point"]), 1, windows=0)

    # Steps: encode each image once, decode all its prompts, one loss for each object
    optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, options.lr, options.steps + 1)
    sam.train()
    for step, batch in zip(range(options.steps), forever(train), strict=False):
        features = sam.encode(batch.pixel_values)  # (B, 3, S, S) -> embeddings (B, C, S/16, S/16)
        truths, valid = batch.targets / 255, batch.valid.float()[batch.image_index]
        parts = [
            losses(found, truths[rows], valid[rows])
            for rows, found in decode(sam, features, batch, batch.prompts["first"])
        ]
        loss = torch.cat(parts).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        if step % 10 == 0:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)

    # The same network is the base when its adapter is off: same images, same prompts
    tuned = evaluate(sam, test)
    with sam.base_weights():
        base = evaluate(sam, test)
    for protocol, miou in tuned.items():
        print(f"{protocol}: base {base[protocol]:.3f}, tuned {miou:.3f} mIoU on the test images")
    print(f"the adapter is in {samtune.save_tuned(sam, options.out)}")
    return {"base": base, "tuned": tuned}


if __name__ == "__main__":
    main(sys.argv[1:])
