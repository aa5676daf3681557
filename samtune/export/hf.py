"""A transformers folder with the adapter merged into the weights."""

from pathlib import Path

from samtune.export.adapter import class_of
from samtune.export.checking import merge_checked, require_equal, sample_answers
from samtune.export.exported import Exported, ExportSettings, public_base
from samtune.export.extras import write_extras
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.models.saving import save_transformers


def export_hf(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, `save_pretrained`, samtune.json and calibration and thresholds if there are any."""
    merged, check = merge_checked(sam)
    checks = [check]
    sam.base = public_base(sam.base)
    save_transformers(sam, folder, with_metadata=True)
    files = {
        "model.safetensors": "all weights, the adapter merged (in several files where they are large)",
        "config.json": "transformers' configuration",
        "samtune.json": "the base's name, and how images are read",
    }
    files |= write_extras(sam, folder)
    checks.append(require_equal("loaded again", sample_answers(load_model(folder)), merged, 1e-5))
    home, name = _plain_class(sam)
    usage = f"""```python
from {home} import {name}

model = {name}.from_pretrained(folder)
```"""
    notes = () if home == "transformers" else ("transformers alone has no such network.",)
    return Exported("transformers", files, usage, tuple(checks), notes)


def _plain_class(sam: Sam) -> tuple[str, str]:
    """transformers' own class where samtune's is one of its kind, else samtune's."""
    kind = sam.core.config.model_type
    for parent in type(sam.core).__mro__:
        config = getattr(parent, "config_class", None)
        is_theirs = parent.__module__.startswith("transformers.")
        if is_theirs and getattr(config, "model_type", None) == kind:
            return "transformers", parent.__name__
    return class_of(sam)
