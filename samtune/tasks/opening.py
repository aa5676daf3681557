"""What most tasks begin with: the data, the network, and where results go."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.data.settings import DataSettings
from samtune.errors import UserError, first_line
from samtune.tasks.settings import DataLike, build, data_layer, on_files, read_settings

if TYPE_CHECKING:
    import torch

    from samtune.data.datamodule import SamDataModule
    from samtune.models.backend import Sam


log = logging.getLogger(__name__)
# Parameters of a network whose threads would wait for each other
_SMALL = 10_000_000


def open_data(
    run: Path | None, config: str | Path | None = None, data: DataLike = None,
    base: tuple[str, int] | None = None, **defaults: Any,
) -> SamDataModule:  # fmt: skip
    """The data of a run, of a config file, or those that are given alone.

    Those of a run are divided as they were when it began, unless another division is asked for.

    Args:
        run: whose data are taken where nothing else says.
        config: a fit config whose data section is taken instead.
        data: a path, or settings that go before those of run or config.
        base: name and input side (0 is its own) of the model for which `data.tile: auto` is chosen.
        defaults: settings that all of these go before.

    Raises:
        UserError: no data are named, a setting is unknown, or a run's config.yaml says otherwise now
            how its images are read and divided.
    """
    from samtune.data.checks.tiling import with_tile
    from samtune.data.datamodule import SamDataModule

    below: dict[str, Any] = {}
    if config is not None:
        below = data_section(read_settings(config))
    elif run is not None:
        below = data_section(read_settings(run / "config.yaml"))
    above = data_layer(data)
    given = above if isinstance(above, dict) else {}
    if not below and (above is None or not ({"path", "format"} & given.keys() or not given)):
        if base is not None:
            from samtune.models.registry import require_there

            require_there(base[0])  # a run that is there would say where its data are
        raise UserError("no data: give --data.path FOLDER, or --config FILE")
    settings = build(DataSettings, "data", defaults, on_files(below, above), above)
    module = SamDataModule(with_tile(settings, input_side(*base)) if base else settings)
    if run is not None and config is None:
        _divide_as_in(run, module)
    return module


def _divide_as_in(run: Path, module: SamDataModule) -> None:
    """Let data that are those of a run have its splits."""
    from samtune.tasks.settings import as_plain
    from samtune.training.record import read_record

    record = read_record(run)
    if record is None or not record.splits:
        return
    own = data_section(read_settings(run / "config.yaml"))
    record.require_same({"data": as_plain(build(DataSettings, "data", own))}, run, "data")
    was = build(DataSettings, "data", record.settings.get("data"))
    is_same_place = Path(was.path).resolve() == module.path.resolve() or own["path"] == str(
        module.path
    )
    if is_same_place and _drawing(was) == _drawing(module.settings):
        module.keep_splits(record.splits)


def _drawing(data: DataSettings) -> tuple[Any, ...]:
    """What says which image is in which split; groups alone are also what tests count by."""
    its = data.of_splits
    return its.column, its.folder, its.val_fraction, its.test_fraction, its.seed


def data_section(settings: dict[str, Any]) -> dict[str, Any]:
    """The data section of a fit config, with its seed."""
    section = dict(settings.get("data") or {})
    seed = settings.get("seed", settings.get("seed_everything"))  # as it was called in 0.1
    if isinstance(seed, int):
        section.setdefault("seed", seed)
    return section


def open_model(
    model: str | os.PathLike[str], checkpoint: str | Path | None = None, image_size: int = 0,
    device: str = "auto",
) -> Sam:  # fmt: skip
    """Load a model for use.

    Raises:
        UserError: there is no such model or device.
    """
    import torch

    from samtune.models.loading import load_model

    quieten()
    torch.set_flush_denormal(True)
    chosen = choose_device(device)
    sam = load_model(str(model), checkpoint or None, image_size or None, chosen).eval()
    bound_threads(sam)
    if sam.is_better is False:
        log.warning(
            "NOTE: %s was not shown to be better than its base%s on its validation images "
            "(choice.json in its run has the numbers)",
            model, " with prompts" if sam.heads else "",
        )  # fmt: skip
    return sam


def num_processes_of(sam: Sam) -> int:
    """How many processes ask a network side by side: 0 of a large one, which keeps all cores busy."""
    from samtune.side_by_side import num_side_by_side

    is_small = sum(p.numel() for p in sam.parameters()) <= _SMALL
    return num_side_by_side() if is_small and sam.device.type == "cpu" else 0


def bound_threads(sam: Sam) -> None:
    """Let a small network compute on half of the cores, two at least.

    Its steps are too short for more; the other cores read images. Where torch was loaded before samtune
    could ask for threads that do not turn for long while they wait, two would hinder each other beside
    other work, so that one has to do.
    OMP_NUM_THREADS says otherwise where it is set.
    """
    import torch

    if "OMP_NUM_THREADS" in os.environ or sum(p.numel() for p in sam.parameters()) > _SMALL:
        return
    # what this process may use, where the system tells
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    is_passive = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive"
    least = min(2, cores or 1) if is_passive or "GOMP_SPINCOUNT" in os.environ else 1
    torch.set_num_threads(max(least, (cores or 1) // 2))


def choose_device(name: str) -> torch.device:
    """`auto` takes the GPU of this process, where there is one.

    Raises:
        UserError: the device is unknown or not there.
    """
    import torch

    from samtune.tasks.processes import own_device

    if name == "auto":
        name = own_device()
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"the device '{name}' cannot be used: {first_line(error)}") from error
    return device


def input_side(base: str, image_size: int = 0) -> int:
    """Side of the input of a model that is not loaded yet, pixels: of a name, a run or an adapter."""
    from samtune.models.metadata import base_of
    from samtune.models.registry import REGISTRY

    its = {} if base in REGISTRY else base_of(Path(base))
    spec = REGISTRY.get(its.get("name") or base)
    return int(image_size or its.get("image_size") or (spec.image_size if spec else 1024))


def quieten() -> None:
    """Silence what the libraries say of their own workings; warnings about the run stay."""
    from transformers.utils import logging as told

    told.disable_progress_bar()
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in (
        r".*in eval mode at the start of training.*",
        r".*does not have many workers.*",
        r".*Checkpoint directory .* exists and is not empty.*",
        r".*is_gradient_checkpointing.*",
        r".*The number of training batches.*",
        r".*LeafSpec.*",
        r".*GPU available but not used.*",
        r".*does not have a `.*` method.*",
    ):
        warnings.filterwarnings("ignore", message=text)
