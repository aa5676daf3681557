"""samtune: fine-tune Segment Anything on your own images, and see honestly how much it helped.

    run = samtune.fit("my_data", base="nano")
    result = samtune.evaluate(run)

Names are imported when they are first used, so that `import samtune` is quick.
"""

import os
import sys
from importlib import import_module
from typing import Any

# Threads that wait for each other soon fall asleep instead of turning round and round: beside other
# work two that turn take fifteen times as long as one. GNU's OpenMP reads it when torch is loaded.
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "5000")

_HOMES = {
    "AutomaticMaskGenerator": "samtune.inference.automatic.generator",
    "LoraSettings": "samtune.models.lora",
    "REGISTRY": "samtune.models.registry",
    "Sam": "samtune.models.backend",
    "SamAutomaticMaskGenerator": "samtune.inference.automatic.generator",
    "SamDataModule": "samtune.data.datamodule",
    "SamPredictor": "samtune.inference.predictor",
    "SamTuner": "samtune.training.module",
    "Reading": "samtune.reading",
    "UserError": "samtune.errors",
    "load_model": "samtune.models.loading",
    "merge": "samtune.models.lora",
    "prepare_for_training": "samtune.models.lora",
    "read_image": "samtune.images.pixels",
    "sam_model_registry": "samtune.models.loading",
    "save_official": "samtune.models.saving",
    "save_transformers": "samtune.models.saving",
    "save_tuned": "samtune.models.saving",
}

# What samtune does: a function each
_TASKS = (
    "bench", "cache", "calibrate", "check", "compare", "convert", "evaluate", "export", "fetch",
    "fit", "init", "learning_curve", "loop", "open", "predict", "prelabel", "scale", "segment",
    "segment_volume", "serve", "thresholds",
)  # fmt: skip
_HOMES |= {name: f"samtune.tasks.{name}" for name in _TASKS}
_HOMES |= {"resume": "samtune.tasks.fit", "Run": "samtune.tasks.runs"}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'samtune' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
