"""The model card: a README.md with the metadata that the Hugging Face Hub reads.

Its form: https://huggingface.co/docs/hub/model-cards. Folders of this machine are named by their last
part alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from samtune.escaping import markdown_block
from samtune.exports.exported import Exported, file_sha256, is_published, public_base
from samtune.exports.extras import tell_extras
from samtune.files import write_text
from samtune.models.backend import Sam
from samtune.models.identity import BaseIdentity
from samtune.models.registry import REGISTRY
from samtune.prompts.protocols import RECIPES
from samtune.reading import Reading

# Settings of a run that say what was trained
_TRAINED = ("mode", "decoder", "with_prompt_encoder")
_LORA = ("rank", "alpha", "encoder", "targets")


@dataclass(frozen=True)
class Facts:
    """What the card tells besides the export itself.

    Attributes:
        name: of the model.
        target: of the export.
        base: that the model was tuned from.
        hub_id: of the base; empty if it is on no hub.
        settings: of the run (`config.yaml`); empty if it is not known.
        results: of its evaluation, as Markdown; empty without one.
        license: of the weights; empty takes the base's.
        datasets: ids on the Hub.
        terms: of the data, as their folder states them.
        scale: that the adapter was set to; `None` as it was trained.
        is_tuned: it is no base, also where nothing is known of its training.
    """

    name: str
    target: str
    base: BaseIdentity
    hub_id: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    results: str = ""
    license: str = ""
    datasets: Sequence[str] = ()
    terms: str = ""
    scale: float | None = None
    is_tuned: bool = False


def write_card(folder: Path, sam: Sam, exported: Exported, facts: Facts) -> None:
    """Write `README.md` of an export."""
    files = {path.name: f"the weights of `{path.stem}`" for path in folder.glob("*.onnx.data")}
    files = exported.files | files
    parts = [
        f"---\n{yaml.safe_dump(metadata(sam, exported, facts), sort_keys=False)}---",
        f"# {facts.name}\n\n{_opening(sam, facts)}",
        f"## Use\n\n{exported.usage}",
        "## Files\n\n" + _listed(f"`{name}`: {text}" for name, text in files.items()),
        f"## Base\n\n{_base(sam, facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Images\n\n{_images(sam)}",
        f"## Results\n\n{facts.results or 'It was not evaluated: `samtune evaluate` tells.'}",
        *tell_extras(sam, facts.scale),
        "## Checks\n\nMade when it was exported:\n\n" + _listed(exported.checks),
    ]
    if exported.notes:
        parts.append("## Good to know\n\n" + _listed(exported.notes))
    write_text(folder / "README.md", "\n\n".join(parts) + "\n")


def metadata(sam: Sam, exported: Exported, facts: Facts) -> dict[str, Any]:
    """The card's YAML."""
    tags = ["samtune", "segment-anything", "image-segmentation", sam.family.name.replace("_", "-")]
    found: dict[str, Any] = {"license": facts.license or _base_license(facts.base) or "unknown"}
    if facts.hub_id:
        found["base_model"] = facts.hub_id
    found["library_name"] = exported.library
    found["pipeline_tag"] = "mask-generation"
    found["tags"] = [*tags, "lora"] if facts.target == "adapter" else tags
    if facts.datasets:
        found["datasets"] = list(facts.datasets)
    return found


def _base_license(base: BaseIdentity) -> str:
    """As the Hub writes it; its own licences have no id there, and of other weights none is known."""
    spec = REGISTRY.get(base.name)
    if spec is None or not is_published(base):
        return ""
    return spec.weights_license.lower() if " " not in spec.weights_license else "other"


def _listed(lines: Any) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _opening(sam: Sam, facts: Facts) -> str:
    what = {
        "adapter": "a PEFT adapter", "hf": "a transformers model", "official": "its authors' format",
        "onnx": "ONNX", "annotation": "ONNX for annotation tools",
    }[facts.target]  # fmt: skip
    tuned = "tuned with" if facts.settings or facts.is_tuned else "written by"
    opening = (
        f"A Segment Anything model ({sam.family.name}) {tuned} samtune, as {what}. It makes masks of "
        "points, boxes and masks."
    )
    if facts.scale is not None:
        opening += f" The tuning is applied at scale {facts.scale:g} (0 is the base, 1 all of it)."
    return opening


def _base(sam: Sam, facts: Facts) -> str:
    base, spec = public_base(facts.base), REGISTRY.get(facts.base.name)
    where = f" ([{facts.hub_id}](https://huggingface.co/{facts.hub_id}))" if facts.hub_id else ""
    lines = [f"`{base.name}`{where}, input {sam.image_size} pixels."]
    if base.checkpoint:
        digest = file_sha256(facts.base.checkpoint)
        lines.append(
            f"Its weights are those of the file `{base.checkpoint}`"
            + (f" (sha256 `{digest}`)." if digest else ".")
        )
    if spec and is_published(facts.base):
        licenses = (
            f"its code is under {spec.code_license}, its weights under {spec.weights_license}"
        )
        lines.append(f"Of the base, {licenses}.")
    elif spec:
        lines.append(
            f"Its code is under {spec.code_license}; the licence of the file is not known to samtune, "
            "for its sha256 is not the published one, or none is published."
        )
    else:
        lines.append("Its licence is not known to samtune.")
    if base.is_random:
        lines.append("It was a random start, without any training of its own.")
    if base.sha256:
        lines.append(f"sha256 over names and bytes of its weights: `{base.sha256}`.")
    return " ".join(lines)


def _training(facts: Facts) -> str:
    if not facts.settings:
        what = "It was tuned; more is not known" if facts.is_tuned else "Nothing is known of it"
        return f"{what}: the model was not exported from a run of samtune."
    model, data = (dict(facts.settings.get(key) or {}) for key in ("model", "data"))
    trainer = dict(facts.settings.get("trainer") or {})
    trained = [f"{key} {model[key]}" for key in _TRAINED if key in model]
    if model.get("mode", "lora") == "lora":
        lora = dict(model.get("lora") or {})
        trained += [f"lora.{key} {lora[key]}" for key in _LORA if key in lora]
    lines = [
        f"What was trained: {', '.join(trained) or 'as samtune does by default'}.",
        _prompts(str(data.get("recipe", "mixed")), model.get("num_corrections", -1)),
        _data(data),
        f"Epochs: {trainer.get('max_epochs', '?')}, seed {facts.settings.get('seed', '?')}.",
    ]
    if facts.terms:
        lines.append(f"The data's own README says:\n\n{markdown_block(facts.terms)}")
    return "\n\n".join(lines)


def _prompts(name: str, corrections: Any) -> str:
    recipe = RECIPES.get(name)
    if recipe is None:
        return f"Prompts: recipe `{name}`."
    shares = ", ".join(f"{kind} {share:.0%}" for kind, share in recipe.first.items())
    count = (
        corrections if isinstance(corrections, int) and corrections >= 0 else recipe.num_corrections
    )
    return (
        f"Prompts it was trained on: recipe `{name}`: first {shares}; then {count} correction clicks. "
        "Of other kinds of prompts nothing is promised."
    )


def _data(data: Mapping[str, Any]) -> str:
    if data.get("format") == "drawn":
        return "Data: pictures that samtune draws."
    facts = [f"folder `{Path(str(data.get('path', ''))).name}`"]
    facts += [f"{key} {data[key]}" for key in ("format", "tile", "augment") if data.get(key)]
    return f"Data: {', '.join(facts)}."


def _parts(reading: Reading) -> list[str]:
    """What part of a file was one image."""
    lines = []
    if reading.window:
        lines.append(f"Volumes are seen through the window {reading.window}.")
    if reading.axis != "auto":
        lines.append(f"Their slices are cut across the axis {reading.axis}.")
    if reading.with_neighbours:
        lines.append("Of a slice's channels the outer ones are its neighbours.")
    if reading.tile:
        lines.append(f"Large images are seen in tiles of {reading.tile} pixels.")
    return lines


def _images(sam: Sam) -> str:
    reading = sam.reading
    bands = "the first three channels (grey thrice)"
    if reading.bands:
        bands = f"channels {list(reading.bands)}"
    stretch = {
        "none": "values as they are (8 bit)",
        "percentile": "each image stretched between its percentiles",
        "auto": "stretched between their percentiles where they are dark or of more than 8 bit",
    }[reading.stretch]
    lines = [f"Read as {bands}, {stretch}."]
    if reading.intensity_range:
        low, high = reading.intensity_range
        lines.append(f"Values from {low:g} to {high:g} become 0 to 255.")
    lines += _parts(reading)
    frame = sam.frame
    lines.append(
        f"Then the longest side becomes {frame.side} pixels, padded right and below."
        if frame.keeps_aspect
        else f"Then both sides become {frame.side} pixels."
    )
    lines.append(f"Means {list(frame.mean)} and deviations {list(frame.std)} of values 0 to 255.")
    if not sam.with_multimask:
        lines.append("A prompt is answered by one mask: take the first.")
    return f"{' '.join(lines)} (samtune {version('samtune')})"
