"""The adapter as PEFT's folder, which PEFT and transformers load without samtune.

A base that transformers cannot find by name elsewhere (nano, official files, one's own folders) goes
along in `base/`, so that the folder is complete.
"""

from dataclasses import replace
from pathlib import Path

from samtune.errors import UserError
from samtune.exports.exported import Exported, ExportSettings, is_published
from samtune.exports.extras import write_extras
from samtune.exports.same_answers import require_equal, sample_answers
from samtune.models.backend import Sam
from samtune.models.identity import BaseIdentity
from samtune.models.loading import load_model, load_start
from samtune.models.metadata import BASE_FOLDER
from samtune.models.registry import REGISTRY
from samtune.models.saving import save_transformers, write_adapter, write_beside
from samtune.models.weights import weights_sha256


def export_adapter(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Write PEFT's files, samtune.json, calibration and thresholds if any, and the base if need be.

    Raises:
        UserError: everything was trained, so that there is no adapter.
    """
    if not sam.is_adapted:
        raise UserError(
            "this model has no adapter (a base, or one of which all weights were trained): choose "
            "--to hf, official, onnx or annotation"
        )
    files = {
        "adapter_model.safetensors": "the adapter's weights",
        "adapter_config.json": "PEFT's settings",
        "samtune.json": "the base, and how images are read",
    }
    expected, hub_id = sample_answers(sam), find_hub_id(sam.base)
    if hub_id:
        sam.base = replace(sam.base, checkpoint="")
    else:
        sam.base = _write_base(sam.base, folder / BASE_FOLDER)
        files[f"{BASE_FOLDER}/"] = "the base, as transformers saves it"
    write_adapter(sam, folder)
    write_beside(sam, folder)
    files |= write_extras(sam, folder)
    if sam.heads:
        files["heads/"] = f"samtune's heads beside the adapter: {', '.join(sam.heads)}"
    check = require_equal("loaded again", sample_answers(load_model(folder)), expected, 1e-5)
    return Exported("peft", files, _usage(sam, hub_id), (check,), _notes(sam, folder))


def find_hub_id(base: BaseIdentity) -> str:
    """Where transformers finds the base on the Hub; empty if it does not."""
    if spec := REGISTRY.get(base.name):
        return spec.hub_id if is_published(base) else ""
    return "" if Path(base.name).exists() else base.name


def _write_base(base: BaseIdentity, folder: Path) -> BaseIdentity:
    """Save the base at its own input size: PEFT's user may choose another one, as samtune does."""
    plain = load_start(base.name, base.checkpoint)
    save_transformers(plain, folder)
    return BaseIdentity(
        BASE_FOLDER, "", base.image_size, weights_sha256(plain.core), base.is_random
    )


def _usage(sam: Sam, hub_id: str) -> str:
    base = f'"{hub_id}"' if hub_id else f'f"{{folder}}/{BASE_FOLDER}"'
    home, name = class_of(sam)
    return f"""```python
from peft import PeftModel
from {home} import {name}

model = PeftModel.from_pretrained({name}.from_pretrained({base}), folder)
```

or, with the image reading and the scores of samtune,

```python
from samtune import load_model

sam = load_model(folder)
```"""


def class_of(sam: Sam) -> tuple[str, str]:
    """Module and name of the network's class, as one imports it."""
    module, name = type(sam.core).__module__, type(sam.core).__name__
    return ("transformers" if module.startswith("transformers.") else module), name


def _notes(sam: Sam, folder: Path) -> tuple[str, ...]:
    spec = REGISTRY.get(sam.base.name)
    own = spec.image_size if spec else None
    if (folder / BASE_FOLDER).is_dir():
        own = load_start(str(folder / BASE_FOLDER)).image_size
    if own in (None, sam.image_size):
        return ()
    return (
        f"It was trained at an input of {sam.image_size} pixels, the base's own is {own}: samtune "
        "resizes the base, transformers alone does not.",
    )
