"""Runs: the folders that `fit` writes and every later task takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samtune.errors import UserError
from samtune.parsing import read_csv, read_yaml
from samtune.tasks.results import Result, Rows
from samtune.tasks.settings import read_settings

if TYPE_CHECKING:
    from samtune.data.datamodule import SamDataModule
    from samtune.data.source import Record
    from samtune.prompts.protocols import Recipe

# What stands for a model: a run, an adapter, a checkpoint, a folder, a file, a name.
ModelLike = "str | Path | Run"
# Where a run keeps what was trained.
_TUNED = ("adapter", "model")


@dataclass(frozen=True)
class Run(Result):
    """A run's folder; wherever a model is asked for, it is one.

    Attributes:
        path: the folder: config.yaml, adapter/ (or model/), checkpoints/, metrics.csv, evaluation/.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @property
    def headline(self) -> str:
        score = max((row["val/miou"] for row in self.metrics if row.get("val/miou")), default=None)
        return f"{self.path}" + ("" if score is None else f": best validation mIoU {score:.3f}")

    @property
    def config(self) -> dict[str, Any]:
        """All settings."""
        return read_settings(self.path / "config.yaml")

    @property
    def metrics(self) -> Rows:
        """metrics.csv: a row for each step that was logged."""
        file = self.path / "metrics.csv"
        rows = read_csv(file) if file.exists() else []
        try:
            return [{name: float(value) for name, value in row.items() if value} for row in rows]
        except ValueError as error:
            raise UserError(f"{file} is damaged: {error}") from error

    @property
    def tables(self) -> Mapping[str, Rows]:
        return {"metrics": self.metrics}

    def load(self) -> Any:
        """The tuned model, for `SamPredictor` and `AutomaticMaskGenerator`."""
        from samtune.models.loading import load_model

        return load_model(self.path)


def find_run(path: Path) -> Path | None:
    """The run folder that a model is, or whose adapter, weights or checkpoint it is."""
    from samtune.models.registry import REGISTRY

    if str(path) in REGISTRY or not path.exists():
        return None
    place = path.parent if path.suffix == ".ckpt" else path
    folders = (place, place.parent) if place.name in (*_TUNED, "checkpoints") else (place,)
    return next(filter(_is_run, folders), None)


def lasting_name(model: str | Path | Run) -> str:
    """What a model is called by whoever loads it from elsewhere: runs and files by their whole path."""
    from samtune.models.registry import REGISTRY

    place = find_run(Path(model)) or Path(model)
    is_name = str(model) in REGISTRY or not place.exists()
    return str(model) if is_name else str(place.resolve())


def _is_run(folder: Path) -> bool:
    """Whether `fit` wrote it: short runs have no metrics, other programs a config.yaml."""
    from samtune.models.metadata import METADATA_FILE

    files = ("metrics.csv", *(f"{name}/{METADATA_FILE}" for name in _TUNED))
    config = folder / "config.yaml"
    if not config.is_file() or not any((folder / name).is_file() for name in files):
        return False
    settings = read_yaml(config)
    if not isinstance(settings, dict):
        return False
    model = settings.get("model")
    base = settings.get("base") or (isinstance(model, dict) and model.get("base"))  # there, in 0.1
    return isinstance(base, str) and isinstance(settings.get("data"), dict)


def require_tuned(model: str) -> Path:
    """The folder with the tuned weights of a run or adapter.

    Raises:
        UserError: the model was not tuned, or is a single checkpoint.
    """
    from samtune.models.metadata import find_tuned
    from samtune.models.registry import REGISTRY

    is_there = model not in REGISTRY and Path(model).exists()
    folder = find_tuned(Path(model)) if is_there else None
    if folder is None:
        raise UserError(f"{model} holds no tuned model: give a run folder or an adapter folder")
    return folder


def is_tuned(model: str) -> bool:
    from samtune.models.metadata import find_tuned
    from samtune.models.registry import REGISTRY

    path = Path(model)
    # a name of the registry is that model, whatever lies in the folder
    return (
        model not in REGISTRY
        and path.exists()
        and (path.suffix == ".ckpt" or find_tuned(path) is not None)
    )


def recipe_of(run: Path | None) -> Recipe | None:
    """The recipe that a run was trained with."""
    from samtune.prompts.protocols import RECIPES

    if run is None:
        return None
    settings = read_settings(run / "config.yaml")
    recipe = RECIPES.get(str((settings.get("data") or {}).get("recipe", "mixed")))
    corrections = (settings.get("model") or {}).get("num_corrections", -1)
    if recipe is not None and isinstance(corrections, int) and corrections >= 0:
        return replace(recipe, num_corrections=corrections)
    return recipe


def seen_in_training(run: Path | None, data: SamDataModule) -> set[str]:
    """Images of these data that a run was trained or validated on."""
    from samtune.tasks.opening import open_data

    if run is None:
        return set()
    own = open_data(run)
    if own.path.resolve() != data.path.resolve():
        return set()
    return {record.image_id for record in _trained_on(own)}


def training_files(run: Path | None) -> set[Path]:
    """Files of the images that a run was trained or validated on; none where its data are gone.

    Files with several images (volumes, scenes, archives) are left out: some may have been held out.
    """
    from samtune.tasks.opening import open_data

    if run is None:
        return set()
    try:
        own = open_data(run)
        trained = [record.path.resolve() for record in _trained_on(own)]
        others = own.whole_source("test").records if own.split_sizes().get("test") else ()
    except UserError:
        return set()
    num_images = Counter([*trained, *(record.path.resolve() for record in others)])
    return {file for file in trained if num_images[file] == 1}


def _trained_on(own: SamDataModule) -> Iterator[Record]:
    """The images of a run's data that it was trained or validated on."""
    if own.format == "drawn":
        return
    sizes = own.split_sizes()
    for split in ("train", "val"):
        if sizes.get(split):
            yield from own.whole_source(split).records
