"""A transformers folder with the adapter merged into the weights."""

from pathlib import Path

import numpy as np
from torch import Tensor

from samtune.exports.adapter import class_of
from samtune.exports.exported import Exported, ExportSettings, public_base
from samtune.exports.extras import write_extras
from samtune.exports.reading_code import reading_code, reading_imports, reading_note
from samtune.exports.same_answers import merge_checked, require_equal, sample_answers
from samtune.images.preprocess import to_pixel_values
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.models.processor import (
    PROCESSOR_FILE,
    is_loadable,
    load_processor,
    write_processor,
)
from samtune.models.saving import save_transformers

# Three grey values of 255: torchvision resizes bytes a little otherwise than Pillow.
PROCESSOR_BOUND = 0.06


def export_hf(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, `save_pretrained`, the processor, samtune.json, calibration and thresholds if any."""
    merged, check = merge_checked(sam)
    checks = [check]
    sam.base = public_base(sam.base)
    save_transformers(sam, folder, with_metadata=True)
    write_processor(sam, folder)
    files = {
        "model.safetensors": "all weights, the adapter merged (in several files where they are large)",
        "config.json": "transformers' configuration",
        PROCESSOR_FILE: "how transformers' processors and pipelines resize and normalise images",
        "samtune.json": "the base's name, and how images are read",
    }
    files |= write_extras(sam, folder)
    if sam.heads:
        files["heads/"] = f"samtune's heads beside the weights: {', '.join(sam.heads)}"
    checks.append(require_equal("loaded again", sample_answers(load_model(folder)), merged, 1e-5))
    if is_loadable(sam):
        checks.append(check_processor(sam, folder))
    return Exported("transformers", files, _usage(sam), tuple(checks), _notes(sam))


def check_processor(sam: Sam, folder: Path) -> str:
    """Compare what transformers' processor makes of images of three sizes with samtune's.

    Raises:
        UserError: pixel values differ by more than 0.06, three of 255 grey values.
    """
    processor = load_processor(sam, folder)
    found: list[Tensor] = []
    expected: list[Tensor] = []
    for hw in ((96, 128), (301, 97), (2 * sam.image_size, sam.image_size)):
        image = np.random.default_rng(1).integers(0, 256, (*hw, 3), dtype=np.uint8)
        found.append(processor(images=image, return_tensors="pt")["pixel_values"][0])
        expected.append(to_pixel_values(image, sam.frame))
    what = "transformers' processor against samtune's"
    return require_equal(what, found, expected, PROCESSOR_BOUND)


def _usage(sam: Sam) -> str:
    (home, name), processor = _plain_class(sam), sam.family.processor[0]
    own = f"from {home} import {name}\nfrom transformers import {processor}"
    if home == "transformers":
        own = f"from {home} import {name}, {processor}"
    imports = "\n".join((*reading_imports(sam), own))
    sizes = 'inputs["original_sizes"]'
    if sam.frame.keeps_aspect:
        sizes += ', inputs["reshaped_input_sizes"]'
    return f"""```python
{imports}

model = {name}.from_pretrained(folder)
processor = {processor}.from_pretrained(folder)

{reading_code(sam)}

boxes = [[[10, 20, 200, 180]]]  # of each image, x and y of the corners
inputs = processor(image, input_boxes=boxes, return_tensors="pt")
answer = model(**inputs, multimask_output=False)
masks = processor.post_process_masks(answer.pred_masks, {sizes})[0]
```"""


def _notes(sam: Sam) -> tuple[str, ...]:
    notes = list(reading_note(sam))
    if _plain_class(sam)[0] != "transformers":
        notes.append("transformers alone has no such network.")
    else:
        notes.append(
            "transformers' mask-generation pipeline needs torchvision: it thins out masks with it."
        )
    if sam.family.transformers_note:
        notes.append(sam.family.transformers_note)
    if not sam.frame.keeps_aspect:
        needs = f"transformers' {sam.family.processor[0]} needs torchvision"
        untried = "" if is_loadable(sam) else ", and could not be tried when this was exported"
        notes.append(f"{needs} (pip install torchvision){untried}.")
    return tuple(notes)


def _plain_class(sam: Sam) -> tuple[str, str]:
    """transformers' own class where samtune's is one of its kind, else samtune's."""
    kind = sam.core.config.model_type
    for parent in type(sam.core).__mro__:
        config = getattr(parent, "config_class", None)
        is_theirs = parent.__module__.startswith("transformers.")
        if is_theirs and getattr(config, "model_type", None) == kind:
            return "transformers", parent.__name__
    return class_of(sam)
