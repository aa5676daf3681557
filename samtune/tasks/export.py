"""`export`: take a model to where it is used."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from samtune.errors import UserError, require
from samtune.escaping import markdown_text
from samtune.files import replacing_folder, require_new
from samtune.parsing import read_json
from samtune.ranges import Finite, Positive
from samtune.tasks.arguments import task
from samtune.tasks.opening import open_data, quieten
from samtune.tasks.results import Result
from samtune.tasks.runs import Run, find_run
from samtune.tasks.scale import scale_of
from samtune.tasks.settings import DataLike, read_settings

if TYPE_CHECKING:
    from samtune.data.source import Source
    from samtune.exports.card import Facts
    from samtune.models.backend import Sam

log = logging.getLogger(__name__)
ExportTarget = Literal["adapter", "hf", "official", "onnx", "annotation"]
_WITH_ONNX = ("onnx", "annotation")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"


@dataclass(frozen=True)
class Export(Result):
    """A model that was taken along.

    Attributes:
        folder: where it is, with its card in README.md.
        checks: what was compared with the model, and found equal.
        notes: what is good to know.
        address: on the Hub; empty without `push`.
        would_upload: files that an upload would take, of a dry run.
    """

    folder: Path
    checks: list[str]
    notes: list[str]
    address: str = ""
    would_upload: list[str] = field(default_factory=list)

    @property
    def headline(self) -> str:
        return f"the model is now in {self.folder}, with its model card in README.md"


@task
def export(
    model: str | Path | Run,
    *,
    to: ExportTarget,
    out: str | Path,
    name: str = "",
    scale: Finite | None = None,
    int8: bool = False,
    data: DataLike = None,
    max_images: Positive = 10,
    license: str = "",
    datasets: Sequence[str] = (),
    push: str = "",
    private: bool = False,
    dry_run: bool = False,
    overwrite: bool = False,
    checkpoint: str | Path | None = None,
) -> Export:
    """Export a model: PEFT, transformers, the authors' .pth, ONNX, annotation tools.

    What was written is loaded again and compared with the model before the folder appears. The
    folder holds a model card too.

    Args:
        model: run folder, checkpoint, adapter, or any base model.
        to: adapter: PEFT's folder, which PEFT and transformers load; hf: transformers' folder, the
            adapter merged; official: the authors' .pth, the adapter merged; onnx: encoder and decoder,
            for any runtime; annotation: for AnyLabeling and X-AnyLabeling.
        out: folder to write.
        name: name of the model (default: the run's).
        scale: how strongly to apply the tuning (1: all of it).
        int8: 8-bit encoder (onnx, annotation).
        data: on what int8 and tools are measured (default: the run's validation images).
        max_images: images to measure on at most.
        license: licence of your weights (default: the base's).
        datasets: ids on the Hub of the data sets that you used, for the card.
        push: USER/NAME on the Hugging Face Hub to upload to.
        private: a new repository there is private.
        dry_run: list what push would upload.
        overwrite: replace a folder that is there.
        checkpoint: official weights for a registry name.

    Raises:
        UserError: a name or number makes no sense, or the export does not answer as the model does.
    """
    from samtune.exports.card import write_card
    from samtune.exports.exported import ExportSettings
    from samtune.exports.extras import UNSHARPENED
    from samtune.exports.push import listing, require_target
    from samtune.exports.push import push as upload
    from samtune.models.loading import load_model

    folder = Path(out)
    require_new(folder, overwrite)
    _require_sense(to, int8, data, scale, max_images, name)
    if push:
        require_target(push, dry_run)
    elif dry_run or private:
        raise UserError("--dry_run and --private go with --push USER/NAME")
    quieten()
    run = find_run(Path(model))
    named = name or _name_of(run or Path(model))
    source, min_area = _images(to, int8, run, data)
    settings = ExportSettings(named, int8, source, max_images, min_area)
    sam = load_model(str(model), checkpoint or None)
    if scale is not None:
        scale_of(sam).settle(scale)
    facts = _facts(to, run, sam, named, license, datasets, scale)
    with replacing_folder(folder) as temporary:
        exported = _targets()[to](sam, temporary, settings)
        write_card(temporary, sam, exported, facts)
    checks, notes = list(exported.checks), list(exported.notes)
    notes += [UNSHARPENED] if sam.sharpeners else []
    if push and dry_run:
        address = f"https://huggingface.co/{push}"
        return Export(folder, checks, notes, address, listing(folder).splitlines())
    address = upload(folder, push, private, f"{to} export of samtune") if push else ""
    return Export(folder, checks, notes, address)


def _targets() -> dict[str, Any]:
    from samtune.exports.adapter import export_adapter
    from samtune.exports.annotation import export_annotation
    from samtune.exports.hf import export_hf
    from samtune.exports.official import export_official
    from samtune.exports.onnx import export_onnx

    return {
        "adapter": export_adapter, "hf": export_hf, "official": export_official,
        "onnx": export_onnx, "annotation": export_annotation,
    }  # fmt: skip


def _require_sense(
    to: str, int8: bool, data: DataLike, scale: float | None, max_images: int, name: str
) -> None:
    if int8 and to not in _WITH_ONNX:
        raise UserError(f"--int8 is for --to onnx and annotation, not for {to}")
    if data and to not in _WITH_ONNX:
        raise UserError(
            f"--data is for --to onnx and annotation, not for {to}: nothing is measured there"
        )
    if scale is not None and not 0 <= scale < float("inf"):
        raise UserError(f"scale is {scale:g}: scales are 0 or more")
    if max_images < 1:
        raise UserError(f"max_images is {max_images}: give a whole number from 1 up")
    if name and not re.fullmatch(_NAME, name):
        raise UserError(f"name is {name}: use letters, digits, '.', '_' and '-'")
    if to in _WITH_ONNX:
        for package in ("onnx", "onnxruntime"):
            require(package, "onnx")


def _name_of(path: Path) -> str:
    found = re.sub(r"[^A-Za-z0-9._-]+", "-", path.resolve().name).strip("-._")[:96]
    return found or "model"


def _images(to: str, int8: bool, run: Path | None, data: DataLike) -> tuple[Source | None, int]:
    """Where a loss is measured: the run's validation split, if its data are (still) there."""
    is_measured = int8 or to == "annotation"
    if not data and not (run and is_measured):
        return None, 10
    try:
        opened = open_data(run, data=data)
        return opened.source("val"), opened.min_area
    except UserError as error:
        if data:
            raise
        log.info(
            "NOTE: the loss is measured on drawn pictures, for the run's data cannot be had: %s",
            error,
        )
        return None, 10


def _facts(
    to: str, run: Path | None, sam: Sam, name: str, license: str, datasets: Sequence[str],
    scale: float | None,
) -> Facts:  # fmt: skip
    from samtune.exports.adapter import find_hub_id
    from samtune.exports.card import Facts

    settings = read_settings(run / "config.yaml") if run else {}
    return Facts(
        name=name,
        target=to,
        base=sam.base,
        hub_id=find_hub_id(sam.base),
        settings=settings,
        results=_results(run, sam) if run else "",
        license=license,
        datasets=list(datasets),
        terms=_terms(settings),
        scale=scale,
        is_tuned=sam.is_adapted or bool(sam.thresholds or sam.calibration),
    )


def _results(run: Path, sam: Sam) -> str:
    """What `evaluate` found of these very weights."""
    from samtune.models.loading import tuned_sha256

    path = run / "evaluation" / "results.json"
    if not path.exists():
        return ""
    results = read_json(path)
    try:
        about = results["about"]
        if about["weights_sha256"] != tuned_sha256(sam):
            return (
                "The run was evaluated with other weights than these (another scale, or before it was "
                "trained again): evaluate this export."
            )
        return _told(results)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged ({error!r}): run samtune evaluate again") from error


def _told(results: dict[str, Any]) -> str:
    from samtune.evaluation.report.tables import to_markdown

    about = results["about"]
    parts = [markdown_text(results["headline"]), to_markdown(results["protocols"])]
    if results["warnings"]:
        parts.append("\n".join(f"- WARNING: {markdown_text(each)}" for each in results["warnings"]))
    if results["general"]:
        what = f"What was lost elsewhere ({markdown_text(results['general']['name'])}):"
        parts += [what, to_markdown(results["general"]["protocols"])]
    parts.append(
        f"Measured by `samtune evaluate` in PyTorch, before the export, on the {about['split']} split "
        f"of `{Path(str(about['data'])).name}` (sha256 of its pixels and labels "
        f"`{about['data_sha256']}`), seed {about['seed']}. Differences are tuned minus base."
    )
    return "\n\n".join(parts)


def _terms(settings: dict[str, Any]) -> str:
    """What `fetch` wrote of the data's licence beside them."""
    path = (settings.get("data") or {}).get("path")
    file = Path(str(path)) / "README.txt"
    if not path or not file.is_file():
        return ""
    text = file.read_text(encoding="utf-8", errors="replace")
    return text[:4000] if "\nlicence:" in text else ""
