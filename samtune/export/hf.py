"""A transformers folder with the adapter merged into the weights."""

from pathlib import Path

from samtune.export.adapter import class_of
from samtune.export.checking import require_equal, sample_answers
from samtune.export.exported import Exported, ExportSettings, public_base
from samtune.models.backend import Sam
from samtune.models.loading import load_model
from samtune.models.lora import merge
from samtune.models.saving import save_transformers


def export_hf(sam: Sam, folder: Path, settings: ExportSettings) -> Exported:
    """Merge, `save_pretrained`, samtune.json and the calibration if there is one."""
    tuned = sample_answers(sam)
    merge(sam)
    merged = sample_answers(sam)
    checks = [require_equal("merged, against base and adapter apart", merged, tuned, 1e-3)]
    sam.base = public_base(sam.base)
    save_transformers(sam, folder, with_metadata=True)
    files = {
        "model.safetensors": "all weights, the adapter merged (in several files where they are large)",
        "config.json": "transformers' configuration",
        "samtune.json": "the base's name, and how images are read",
    }
    if sam.calibration is not None:
        sam.calibration.save(folder)
        files["calibration.json"] = "from predicted to measured IoU"
    checks.append(require_equal("loaded again", sample_answers(load_model(folder)), merged, 1e-5))
    home, name = class_of(sam)
    usage = f"""```python
from {home} import {name}

model = {name}.from_pretrained(folder)
```"""
    notes = () if home == "transformers" else ("transformers alone has no such network.",)
    return Exported("transformers", files, usage, tuple(checks), notes)
