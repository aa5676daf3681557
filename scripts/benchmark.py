"""Time and memory of samtune beside plain transformers + peft, and segment_anything where it imports.

    scripts/benchmark [--model vit_b] [--device cuda] [--only decoder] [--out benchmark.json]

Each figure comes from a process of its own: memory is what the first call takes beyond the loaded
model, time is the median of the calls after it. Weights are random; neither depends on them. Ratios
within one run are what counts: seconds differ from machine to machine.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OURS, PLAIN, OFFICIAL = "samtune", "transformers", "segment_anything"
NUM_BOXES = 8


@dataclass(frozen=True)
class Bar:
    """`task` of samtune against `against`: at most so much of the time and of the extra memory."""

    task: str
    against: tuple[str, str]
    seconds: float | None = None
    memory: float | None = None


BARS = (
    Bar("encoder", (PLAIN, "encoder"), 1.0, 0.30),
    Bar("lora", (PLAIN, "lora"), 0.75, 0.45),
    Bar("lora checkpointed", (PLAIN, "lora"), None, 0.20),
    Bar("decoder 32", (PLAIN, "decoder 32"), 0.7, 0.5),
    Bar("last 4 cached", (OURS, "last 4"), 0.75),
    Bar("last 2 cached", (OURS, "last 2"), 0.45),
    Bar("decoder only cached", (OURS, "decoder only"), 0.02),
)
TASKS: dict[str, tuple[str, ...]] = {
    "encoder": (PLAIN, OFFICIAL, OURS),
    "lora": (PLAIN, OURS),
    "lora checkpointed": (PLAIN, OURS),
    "last 4": (PLAIN, OURS),
    "last 4 cached": (OURS,),
    "last 2": (OURS,),
    "last 2 cached": (OURS,),
    "decoder only": (OURS,),
    "decoder only cached": (OURS,),
    "decoder 1": (PLAIN, OFFICIAL, OURS),
    "decoder 8": (PLAIN, OFFICIAL, OURS),
    "decoder 32": (PLAIN, OFFICIAL, OURS),
    "decoder 128": (PLAIN, OURS),
    "images": (OURS,),
    "start-up": (OURS,),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser("scripts/benchmark", description=__doc__)
    parser.add_argument("--model", default="vit_b", help="registry name of a SAM (default: vit_b)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda")
    parser.add_argument("--side", type=int, default=0, help="input side; 0: the model's own")
    parser.add_argument("--repeat", type=int, default=3, help="timed calls")
    parser.add_argument("--threads", type=int, default=0, help="0: torch's own choice")
    parser.add_argument("--only", nargs="+", default=[], help=f"any of: {', '.join(TASKS)}")
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--child", nargs=2, metavar=("VARIANT", "TASK"), help=argparse.SUPPRESS)
    return parser.parse_args()


# --- one figure, in a process of its own


def measure(call: Callable[[], Any], options: argparse.Namespace) -> dict[str, float]:
    import torch

    from samtune.commands.bench import extra_memory

    memory, seconds = extra_memory(call, options.device), []
    for _ in range(options.repeat):
        start = time.perf_counter()
        call()
        if options.device.startswith("cuda"):
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return {"seconds": statistics.median(seconds), "memory_mb": memory}


def build(options: argparse.Namespace) -> Any:
    """transformers' network with random weights of a usual size."""
    import torch

    from samtune.models.families.table import find_family
    from samtune.models.initialise import build_network
    from samtune.models.registry import REGISTRY

    torch.manual_seed(0)
    network = build_network(REGISTRY[options.model]).eval()
    if options.side:
        find_family(network).set_image_size(options.side)
    return network.to(options.device)


def wrap(network: Any) -> Any:
    from samtune.models.backend import BaseIdentity, Sam

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
    side = options.side or int(getattr(network, "image_size", 0) or 1024)
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
    """A training step on one image with eight boxes: encoder LoRA as the task says."""
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

    from samtune.data.features import CacheSettings, open_store
    from samtune.models.lora import DecoderMode, LoraSettings, prepare_for_training
    from samtune.training.encoding import encode_batch, frozen_part
    from samtune.types import Batch, Features, Prompts

    sam = wrap(network)
    lora = LoraSettings(rank=8, encoder="last" if blocks else "none", last_blocks=max(1, blocks))
    decoder: DecoderMode = "full" if task.startswith("decoder") else "frozen"
    prepare_for_training(sam, "lora", lora, decoder)
    sam.train()
    sam.with_checkpointing = "checkpointed" in task
    image, boxes = inputs(sam.image_size, options.device, NUM_BOXES)
    index = torch.zeros(NUM_BOXES, dtype=torch.int64, device=options.device)
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
    image, boxes = inputs(side, options.device, NUM_BOXES)

    def step() -> Any:
        return network(pixel_values=image, input_boxes=boxes[None]).pred_masks

    return step, [p for p in network.parameters() if p.requires_grad]


def run_images(variant: str, options: argparse.Namespace, task: str) -> dict[str, float]:
    """Training images a second out of one process: PNG files read, resized, prompted."""
    from PIL import Image

    from samtune.data.dataset import PromptedDataset, PromptSettings
    from samtune.data.mask_folder import MaskFolder
    from samtune.data.procedural import ProceduralScenes
    from samtune.prompts.protocols import RECIPES
    from samtune.types import InputFrame

    frame, scenes = InputFrame(options.side or 1024), ProceduralScenes("train", side=1024)
    with tempfile.TemporaryDirectory() as name:
        for kind in ("images", "labels"):
            (Path(name) / kind).mkdir()
        for number in range(8):
            scene = scenes.read(number)
            Image.fromarray(scene.image).save(Path(name) / "images" / f"{number}.png")
            labels = scene.labels.max(0).astype("uint16")
            Image.fromarray(labels).save(Path(name) / "labels" / f"{number}.png")
        settings = PromptSettings(frame, frame.side // 4, max_objects=NUM_BOXES)
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
    "images": run_images, "start-up": run_start,
}  # fmt: skip


def child(options: argparse.Namespace) -> None:
    variant, task = options.child
    import torch

    if options.threads:
        torch.set_num_threads(options.threads)
    torch.set_flush_denormal(True)
    runner = run_step if task.startswith("decoder only") else RUNNERS[task.split()[0]]
    print(json.dumps(runner(variant, options, task)))


# --- the whole table


def main() -> None:
    options = parse()
    if options.child:
        child(options)
        return
    tasks = options.only or list(TASKS)
    if unknown := [task for task in tasks if task not in TASKS]:
        raise SystemExit(f"there is no task {unknown[0]}: choose from {', '.join(TASKS)}")
    has_official = find_spec(OFFICIAL) is not None
    results: dict[str, dict[str, Any]] = {}
    for task in tasks:
        for variant in TASKS[task]:
            if variant != OFFICIAL or has_official:
                results.setdefault(task, {})[variant] = figure(variant, task)
                print(f"{task}, {variant}: {results[task][variant]}", file=sys.stderr)
    about = describe(options)
    print(to_markdown(results, about))
    if options.out:
        options.out.write_text(json.dumps({"about": about, "results": results}, indent=2) + "\n")


def figure(variant: str, task: str) -> dict[str, float] | dict[str, str]:
    command = [sys.executable, __file__, *sys.argv[1:], "--child", variant, task]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip() or "killed").splitlines()[-1]}
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def describe(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    import transformers

    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    processor = names[0].split(":")[1].strip() if names else platform.processor()
    device = torch.cuda.get_device_name() if options.device.startswith("cuda") else processor
    settings = ("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_", "LD_PRELOAD", "OMP_NUM_THREADS")
    return {
        "model": options.model,
        "side": options.side or "native",
        "device": device,
        "threads": options.threads or torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "allocator": {name: os.environ[name] for name in settings if name in os.environ}
        or "glibc's own settings",
    }


def to_markdown(results: dict[str, dict[str, Any]], about: dict[str, Any]) -> str:
    lines = [", ".join(f"{key}: {value}" for key, value in about.items()), ""]
    lines += ["| task | variant | seconds | extra MB | |", "|---|---|---|---|---|"]
    for task, variants in results.items():
        for variant, found in variants.items():
            more = "; ".join(
                f"{k}: {v:.2f}" if isinstance(v, float) else f"{k}: {v}"
                for k, v in found.items()
                if k not in ("seconds", "memory_mb")
            )
            seconds = f"{found['seconds']:.3f}" if "seconds" in found else ""
            memory = f"{found['memory_mb']:.0f}" if "memory_mb" in found else ""
            lines.append(f"| {task} | {variant} | {seconds} | {memory} | {more} |")
    lines += ["", "| bar | of | time | at most | memory | at most |", "|---|---|---|---|---|---|"]
    for bar in BARS:
        ours = results.get(bar.task, {}).get(OURS, {})
        other = results.get(bar.against[1], {}).get(bar.against[0], {})
        if "seconds" in ours and "seconds" in other:
            cells = [
                _ratio(ours, other, "seconds", bar.seconds),
                _ratio(ours, other, "memory_mb", bar.memory),
            ]
            lines.append(f"| {bar.task} | {' '.join(bar.against)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _ratio(ours: dict[str, float], other: dict[str, float], key: str, bar: float | None) -> str:
    ratio = ours[key] / max(other[key], 1e-9)
    if bar is None:
        return f"{ratio:.2f} | -"
    return f"{ratio:.2f} | {bar}{'' if ratio <= bar else ' MISSED'}"


if __name__ == "__main__":
    main()
