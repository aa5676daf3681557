"""Figures of scripts/benchmark.py, each in its process: `benchmark_tasks.py VARIANT TASK SETTINGS`."""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

OURS, PLAIN, OFFICIAL = "samtune", "transformers", "segment_anything"


def measure(call: Callable[[], Any], options: argparse.Namespace) -> dict[str, float]:
    import torch

    from samtune.tasks.benching import extra_memory

    memory, seconds, busy = extra_memory(call, options.device), [], []
    for _ in range(options.repeat):
        start, started = time.perf_counter(), time.process_time()
        call()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
        busy.append(time.process_time() - started)
    # what the processor was busy with this alone, where other processes take turns
    return {
        "seconds": statistics.median(seconds),
        "memory_mb": memory,
        "processor": statistics.median(busy),
    }


def build(options: argparse.Namespace) -> Any:
    """transformers' network with random weights of a usual size."""
    import torch

    from samtune.models.families.table import find_family
    from samtune.models.pretraining.initialise import build_network
    from samtune.models.registry import REGISTRY

    torch.manual_seed(0)
    network = build_network(REGISTRY[options.model]).eval()
    if options.side:
        find_family(network).set_image_size(options.side)
    return network.to(options.device)


def wrap(network: Any) -> Any:
    from samtune.models.backend import Sam
    from samtune.models.identity import BaseIdentity

    return Sam(network, BaseIdentity("benchmark", "", 0, "0", True)).to(network.device)


def inputs(side: int, device: str, count: int) -> tuple[Any, Any]:
    """An image and boxes."""
    import torch

    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(count, 2, 2, generator=generator).sort(1).values * (side - 1)
    image = torch.randn(1, 3, side, side, generator=generator)
    return image.to(device), corners.reshape(count, 4).to(device)


def run_encoder(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    import torch

    network = official(options).image_encoder if variant == OFFICIAL else build(options)
    side = options.side or 1024
    if variant != OFFICIAL:
        from samtune.models.families.table import find_family

        side = find_family(network).frame.side
    image, _ = inputs(side, options.device, 1)
    encode = (
        wrap(network).encode if variant == OURS else getattr(network, "vision_encoder", network)
    )
    with torch.no_grad():
        return measure(lambda: encode(image), options)


def official(options: argparse.Namespace) -> Any:
    registry = import_module(OFFICIAL).sam_model_registry
    return registry[options.model]().eval().to(options.device)


def run_decoder(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    import torch

    count = int(task.split()[1])
    network = official(options) if variant == OFFICIAL else build(options)
    is_official = variant == OFFICIAL
    side = int(
        network.image_encoder.img_size if is_official else network.config.vision_config.image_size
    )
    _, boxes = inputs(side, options.device, count)
    grid, width = side // 16, int(network.mask_decoder.iou_token.weight.shape[1])
    embeddings = torch.randn(1, width, grid, grid, device=options.device)
    call: Callable[[], Any]
    if variant == OURS:
        from samtune.types import Features, Prompts

        sam, index = wrap(network), torch.zeros(count, dtype=torch.int64, device=options.device)
        prompts = Prompts(boxes_xyxy=boxes)

        def call() -> Any:
            return sam.decode(Features(embeddings), index, prompts, True)
    elif variant == OFFICIAL:
        place = network.prompt_encoder.get_dense_pe()

        def call() -> Any:
            sparse, dense = network.prompt_encoder(points=None, boxes=boxes, masks=None)
            return network.mask_decoder(embeddings, place, sparse, dense, True)
    else:

        def call() -> Any:
            return network(image_embeddings=embeddings, input_boxes=boxes[None])

    with torch.no_grad():
        return measure(call, options)


def run_step(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    """A training step on one image with some boxes: encoder LoRA as the task says."""
    import torch

    network = build(options)
    layers = len(network.vision_encoder.layers)
    blocks = {"lora": layers, "last": 0, "decoder": 0}[task.split()[0]]
    blocks = int(task.split()[1]) if task.startswith("last") else blocks
    trainer = our_step if variant == OURS else plain_step
    with tempfile.TemporaryDirectory() as folder:
        step, parameters = trainer(network, blocks, task, options, folder)
        optimizer = torch.optim.AdamW(parameters, lr=1e-4)

        def call() -> None:
            logits = step()
            (logits.sigmoid().mean() + logits.square().mean()).backward()
            optimizer.step()
            optimizer.zero_grad()

        return measure(call, options)


def our_step(
    network: Any, blocks: int, task: str, options: argparse.Namespace, folder: str
) -> tuple[Callable[[], Any], list[Any]]:
    import torch

    from samtune.data.features import open_store
    from samtune.data.settings import CacheSettings
    from samtune.models.lora import prepare_for_training
    from samtune.models.settings import DecoderMode, LoraSettings
    from samtune.training.encoding import encode_batch, frozen_part
    from samtune.types import Batch, Features, Prompts

    sam = wrap(network)
    lora = LoraSettings(rank=8, encoder="last" if blocks else "none", last_blocks=max(1, blocks))
    decoder: DecoderMode = "full" if task.startswith("decoder") else "frozen"
    prepare_for_training(sam, "lora", lora, decoder)
    sam.train()
    sam.with_checkpointing = "checkpointed" in task
    image, boxes = inputs(sam.image_size, options.device, options.boxes)
    index = torch.zeros(options.boxes, dtype=torch.int64, device=options.device)
    store = None
    if "cached" in task:
        store = open_store(CacheSettings("fp16", folder), frozen_part(sam, "32-true"), "none")

    def step() -> Any:
        kept: list[Features | None] = [store.read("entry") if store else None]
        batch = Batch(image, index, index, index, {}, [], entries=["entry"], kept=kept)
        features = encode_batch(sam, batch, store)
        return sam.decode(features, index, Prompts(boxes_xyxy=boxes), True).low_res_logits

    if store:
        with torch.no_grad():
            step()
    return step, [p for p in sam.parameters() if p.requires_grad]


def plain_step(
    network: Any, blocks: int, task: str, options: argparse.Namespace, folder: str
) -> tuple[Callable[[], Any], list[Any]]:
    from peft import LoraConfig, get_peft_model

    layers = len(network.vision_encoder.layers)
    numbers = "|".join(map(str, range(layers - blocks, layers)))
    target = rf"vision_encoder\.layers\.({numbers})\.attn\.qkv"
    network = get_peft_model(network, LoraConfig(r=8, lora_alpha=16, target_modules=target))
    network.train()
    if "checkpointed" in task:
        network.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
    side = network.config.vision_config.image_size
    image, boxes = inputs(side, options.device, options.boxes)

    def step() -> Any:
        return network(pixel_values=image, input_boxes=boxes[None]).pred_masks

    return step, [p for p in network.parameters() if p.requires_grad]


def run_automatic(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    """Automatic masks of a drawn scene of the input's size, with a grid of 16 x 16 points.

    The better half of the masks by predicted IoU passes, so that every step has work to do. The
    reference is segment_anything's procedure, on transformers' network or on samtune's.
    """
    import torch
    from automatic_reference import generate

    from samtune.data.drawn.source import DrawnPictures
    from samtune.inference.automatic.generator import AutomaticMaskGenerator
    from samtune.inference.predictor import SamPredictor
    from samtune.models.loading import load_model

    sam = load_model("nano") if options.model == "nano" else wrap(build(options))
    predictor = SamPredictor(sam)
    image = DrawnPictures("test", side=sam.image_size).read(0).image
    predictor.set_image(image)
    places = torch.rand(64, 1, 2, generator=torch.Generator().manual_seed(1)) * sam.image_size
    labels = torch.ones(64, 1, device=sam.device)
    scores = predictor.predict_torch(places.to(sam.device), labels)[1]
    limits: Any = {"pred_iou_thresh": float(scores.median()), "stability_score_thresh": 0.5}
    if variant == OURS:
        generator = AutomaticMaskGenerator(sam, 16, **limits, output_mode="coco_rle")
        call = partial(generator.generate, image)
    else:
        if variant == PLAIN:
            predictor = plain_predictor(sam, options)
        call = partial(generate, predictor, image, 16, **limits)
    return {**measure(call, options), "masks": len(call())}


def plain_predictor(sam: Any, options: argparse.Namespace) -> Any:
    """A predictor that encodes and decodes as transformers does, with the weights of `sam`."""
    from samtune.inference.predictor import SamPredictor
    from samtune.types import Features, MaskPrediction

    network = build(options)
    network.load_state_dict(sam.core.state_dict())

    def encode(pixel_values: Any) -> Any:
        return Features(network.vision_encoder(pixel_values).last_hidden_state)

    def decode(features: Any, _: Any, prompts: Any, multimask: bool) -> Any:
        answer = network(
            image_embeddings=features.main, input_points=prompts.point_coords[None],
            input_labels=prompts.point_labels[None], multimask_output=multimask,
        )  # fmt: skip
        return MaskPrediction(answer.pred_masks[0], answer.iou_scores[0])

    sam.encode, sam.decode = encode, decode
    return SamPredictor(sam)


def run_images(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    """Training images a second out of one process: PNG files read, resized, prompted."""
    from PIL import Image

    from samtune.data.dataset import PromptedDataset, PromptSettings
    from samtune.data.drawn.source import DrawnPictures
    from samtune.data.readers.mask_folder import MaskFolder
    from samtune.prompts.protocols import RECIPES
    from samtune.types import InputFrame

    frame, scenes = InputFrame(options.side or 1024), DrawnPictures("train", side=1024)
    with tempfile.TemporaryDirectory() as name:
        for kind in ("images", "labels"):
            (Path(name) / kind).mkdir()
        for number in range(8):
            scene = scenes.read(number)
            Image.fromarray(scene.image).save(Path(name) / "images" / f"{number}.png")
            labels = scene.labels.max(0).astype("uint16")
            Image.fromarray(labels).save(Path(name) / "labels" / f"{number}.png")
        settings = PromptSettings(frame, frame.side // 4, max_objects=options.boxes)
        dataset = PromptedDataset(MaskFolder(Path(name)), settings, RECIPES["mixed"], True)
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < 5:
            dataset[count % 8, count // 8]
            count += 1
        return {"per_second": count / (time.perf_counter() - start)}


def run_start(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    """Seconds until `samtune --help` has answered, and until a model is loaded."""
    codes = {
        "help": "from samtune.cli import main; main(['--help'])",
        "load nano": "from samtune import load_model; load_model('nano')",
    }
    found = {}
    for name, code in codes.items():
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        found[name] = time.perf_counter() - start
    return found


RUNNERS = {
    "encoder": run_encoder, "decoder": run_decoder, "lora": run_step, "last": run_step,
    "automatic": run_automatic, "images": run_images, "start-up": run_start,
}  # fmt: skip


def main() -> None:
    variant, task, settings = sys.argv[1:]
    options = argparse.Namespace(**json.loads(settings))
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    runner = run_step if task.startswith("decoder only") else RUNNERS[task.split()[0]]
    print(json.dumps(runner(variant, options, task)))


if __name__ == "__main__":
    main()
