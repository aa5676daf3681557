"""samtune: fine-tune Segment Anything on your own images, and see honestly how much it helped.

Names are imported when they are first used, so that `import samtune` is quick.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "AutomaticMaskGenerator": "samtune.inference.automatic",
    "LoraSettings": "samtune.models.lora",
    "REGISTRY": "samtune.models.registry",
    "Sam": "samtune.models.backend",
    "SamAutomaticMaskGenerator": "samtune.inference.automatic",
    "SamDataModule": "samtune.data.datamodule",
    "SamPredictor": "samtune.inference.predictor",
    "SamTuner": "samtune.training.module",
    "UserError": "samtune.errors",
    "load_model": "samtune.models.loading",
    "merge": "samtune.models.lora",
    "prepare_for_training": "samtune.models.lora",
    "read_image": "samtune.data.image_io",
    "sam_model_registry": "samtune.models.loading",
    "save_official": "samtune.models.saving",
    "save_transformers": "samtune.models.saving",
    "save_tuned": "samtune.models.saving",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'samtune' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
