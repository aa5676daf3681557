"""`preprocessor_config.json`: how transformers' processors and pipelines bring an image to the input.

Its keys are those of image_processing_sam.py, image_processing_sam2.py and image_processing_sam3.py in
https://github.com/huggingface/transformers. SAM 2's and SAM 3's processors need torchvision, SAM's does
with Pillow where there is none.
"""

from pathlib import Path
from typing import Any

import transformers
from transformers.utils import is_torchvision_available

from samtune.files import write_json
from samtune.models.backend import Sam

PROCESSOR_FILE = "preprocessor_config.json"


def write_processor(sam: Sam, folder: Path) -> None:
    """Write the settings of the model's own input size, mean and deviation."""
    write_json(folder / PROCESSOR_FILE, processor_settings(sam))


def processor_settings(sam: Sam) -> dict[str, Any]:
    """What `preprocessor_config.json` holds; means and deviations are of values 0 to 1."""
    processor, image_processor = sam.family.processor
    return {
        "processor_class": processor,
        "image_processor_type": image_processor,
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 2,  # bilinear, as Pillow numbers its filters
        **_sizes(sam),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [round(value / 255, 6) for value in sam.frame.mean],
        "image_std": [round(value / 255, 6) for value in sam.frame.std],
    }


def _sizes(sam: Sam) -> dict[str, Any]:
    side, mask_side = sam.image_size, sam.mask_side
    square, mask_square = ({"height": each, "width": each} for each in (side, mask_side))
    if not sam.frame.keeps_aspect:
        return {"size": square, "mask_size": mask_square}
    return {
        "size": {"longest_edge": side}, "do_pad": True, "pad_size": square,
        "mask_size": {"longest_edge": mask_side}, "mask_pad_size": mask_square,
    }  # fmt: skip


def is_loadable(sam: Sam) -> bool:
    """Whether transformers can build the processor with what is installed here."""
    return sam.frame.keeps_aspect or is_torchvision_available()


def load_processor(sam: Sam, folder: Path) -> Any:
    """The processor of a folder, as a user of transformers loads it."""
    return getattr(transformers, sam.family.processor[0]).from_pretrained(folder)
