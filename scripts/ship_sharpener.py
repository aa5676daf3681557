"""Make the sharpener that comes with samtune: from `nano`'s answers on drawn pictures, and the truth.

    python scripts/ship_sharpener.py --pictures 1400 --steps 3000

Four objects of each picture are asked for, each by an exact box and by one other prompt, some with a
click after that. It takes about an hour on one core. What it has learned is written to samtune/assets.
"""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

import torch

from samtune.data.drawn.source import DrawnPictures
from samtune.data.source import FewObjects
from samtune.files import make_folder
from samtune.models.loading import load_model
from samtune.models.sharpening.network import Sharpener
from samtune.models.weights import ASSETS
from samtune.module_files import write_module
from samtune.tasks.sharpening_answers import drawn_answers
from samtune.training.sharpening import over_steps, train_sharpener

OBJECTS, SEED = 4, 0
# IoU with SAM's own mask from which an answer counts a little, see SharpenerSettings
AGREEMENT = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=1400)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--out", type=Path, default=ASSETS)
    args = parser.parse_args()
    sam = load_model("nano")
    sam.base_sharpeners = torch.nn.ModuleList()  # what is there was trained before
    torch.manual_seed(SEED)
    sharpener = Sharpener()
    source = FewObjects(DrawnPictures("train", num_pictures=args.pictures), OBJECTS, SEED)
    answers = list(drawn_answers(sam, sharpener, source, SEED, float("inf")))
    print(f"{len(answers)} answers on {args.pictures} pictures")
    train_sharpener(sharpener, answers, [], SEED, over_steps(args.steps))
    sharpener.settings = replace(sharpener.settings, agreement=AGREEMENT)
    make_folder(args.out)
    write_module(sharpener.half(), args.out, "sharpener", asdict(sharpener.settings))


if __name__ == "__main__":
    main()
