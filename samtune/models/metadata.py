"""`samtune.json`: what a folder with tuned weights says of them, above all the base they belong to."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.models.identity import BaseIdentity
from samtune.parsing import read_json
from samtune.reading import Reading

METADATA_FILE = "samtune.json"
METADATA_FORMAT = 2
# Within an adapter folder: the base, for adapters whose base is in no public place
BASE_FOLDER = "base"


def find_tuned(path: Path) -> Path | None:
    """The folder with tuned weights in a run or adapter folder; `None` if there are none."""
    for folder in (path / "adapter", path / "model", path):
        is_adapter = (folder / "adapter_config.json").exists()
        if is_adapter or (folder / METADATA_FILE).exists():
            return folder
    return None


def base_of(path: Path) -> dict[str, Any]:
    """Name, checkpoint and image size of the base of a run or adapter folder; empty if it is none.

    Raises:
        UserError: what says so is damaged.
    """
    folder = find_tuned(path)
    return {} if folder is None else dict(read_metadata(folder)["base"])


def read_metadata(folder: Path) -> dict[str, Any]:
    """What a folder with tuned weights says of them; of PEFT's own adapters the name of their base.

    Raises:
        UserError: it is damaged, or was written by a newer samtune.
    """
    if (folder / METADATA_FILE).exists():
        metadata = read_json(folder / METADATA_FILE)
        try:
            is_newer = metadata["format"] > METADATA_FORMAT
            if not is_newer:
                BaseIdentity(**metadata["base"])
                _reading_of(metadata)
        except (TypeError, KeyError, UserError) as error:
            raise UserError(f"{folder / METADATA_FILE} is damaged: {error}") from error
        if is_newer:
            raise UserError(f"{folder} was written by a newer samtune: upgrade this one")
        return dict(metadata)
    config = read_json(folder / "adapter_config.json")
    base = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not base:
        raise UserError(
            f"{folder}/adapter_config.json names no base model: set base_model_name_or_path"
        )
    return {"base": {"name": base, "checkpoint": "", "image_size": None, "sha256": ""}}


def with_settings(sam: Sam, metadata: dict[str, Any]) -> Sam:
    """A loaded network that reads images, and answers, as it was tuned to."""
    sam.reading = _reading_of(metadata)
    sam.with_multimask = metadata.get("with_multimask", sam.with_multimask)
    sam.is_better = metadata.get("is_better")
    return sam


def _reading_of(metadata: dict[str, Any]) -> Reading:
    """How the images of a tuned model were read; format 1 spread it over several keys."""
    if "reading" in metadata:
        return Reading.from_dict(metadata["reading"])
    parts = {name: metadata.get(name) for name in ("stretch", "bands", "value_range")}
    given = {name: value for name, value in parts.items() if value is not None}
    return Reading.from_dict(given | metadata.get("view", {}))


def describe(sam: Sam) -> dict[str, Any]:
    """What a tuned model's folder says of it in `samtune.json`."""
    return {
        "format": METADATA_FORMAT,
        "base": asdict(sam.base),
        "reading": sam.reading.as_dict(),
        "with_multimask": sam.with_multimask,
        "is_better": sam.is_better,
    }
