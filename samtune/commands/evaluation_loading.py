"""What commands that evaluate begin with: network, data, how it is asked, and what is done already."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from samtune.commands.evaluation_options import build_data, evaluation_settings, find_run
from samtune.commands.options import choose_device
from samtune.commands.processes import own_device
from samtune.data.datamodule import SamDataModule
from samtune.data.source import Source
from samtune.evaluation.row_store import RowStore
from samtune.evaluation.settings import EvaluationSettings
from samtune.files import partial_folder
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.result_store import ResultStore


@dataclass(frozen=True)
class Evaluation:
    """All that `compare` needs, and where it comes from.

    Attributes:
        run: that the model belongs to, if it does to one.
        data: of the run, a config or the arguments.
        source: the split that was asked for.
        sam: the network.
        settings: of the comparison.
    """

    run: Path | None
    data: SamDataModule
    source: Source
    sam: Sam
    settings: EvaluationSettings


def load_evaluation(
    options: argparse.Namespace, data_arguments: list[str], rank: int = 0, world: int = 1
) -> Evaluation:
    """Open the data, then load the network: a wrong path is said before the long work.

    Raises:
        UserError: there are no such data or model, or an option makes no sense.
    """
    run = find_run(Path(options.model))
    data = build_data(run, options.config, data_arguments)
    source = data.source(options.split)
    sam = load_network(options)
    return Evaluation(run, data, source, sam, evaluation_settings(options, data, sam, rank, world))


def load_network(options: argparse.Namespace) -> Sam:
    """The network of `add_model_options`, on its device.

    Raises:
        UserError: there is no such model or device.
    """
    torch.set_flush_denormal(True)
    device = choose_device(own_device() if options.device == "auto" else options.device)
    return load_model(options.model, options.checkpoint, options.image_size or None, device)


@contextmanager
def kept_rows(results: Path, rank: int = 0) -> Iterator[Callable[..., RowStore]]:
    """Make stores, of contestants, that keep what is done beside the results until the block ends.

    Where the block is left early, what is done stays for the same command to go on with.

    Args:
        results: file or folder that the block writes.
        rank: of this process; the first one tidies up.
    """
    folder = partial_folder(results)
    try:
        yield partial(RowStore, folder)
    except KeyboardInterrupt:
        if rank == 0 and folder.exists():
            print("samtune: the same command goes on where this one stops", file=sys.stderr)
        raise
    if rank == 0:
        ResultStore(folder).remove()
