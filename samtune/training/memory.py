"""How much memory a training step needs, known before the first one, and settings that fit.

The step is run on tensors without contents (torch's fake mode), counting what autograd would keep for
the backward pass. What is chosen keeps the input size and the number of images behind each step of
the optimizer: only where the memory goes changes, not what is learnt.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks

from samtune.errors import UserError
from samtune.models.backend import Sam
from samtune.types import Features, Prompts
from samtune.wording import counted

# Of what is free; the rest is for what the kernels need and for fragmentation
USABLE_SHARE = 0.8
# Gradient and AdamW's two moments beside each trained weight
_STATE_COPIES = 3


@dataclass(frozen=True)
class StepMemory:
    """Bytes that a training step takes.

    Attributes:
        fixed: gradients and optimizer states.
        image: kept for the backward pass of the encoder, for each image.
        object: likewise of the decoder, for each object and round.
        chunk_object: at work at once in the decoder, for each object of a chunk.
    """

    fixed: int
    image: int
    object: int
    chunk_object: int

    def total(self, plan: "MemoryPlan") -> int:
        """Of a step with this plan."""
        objects = plan.num_objects * plan.num_rounds
        kept = 0 if plan.with_checkpointing else self.object * objects
        at_work = self.chunk_object * min(plan.objects_per_chunk or objects, objects)
        return self.fixed + plan.batch_size * (self.image + kept) + at_work


@dataclass(frozen=True)
class MemoryPlan:
    """How a step is cut to size; `num_objects` of each image are decoded in `num_rounds`."""

    batch_size: int
    accumulate: int
    with_checkpointing: bool
    objects_per_chunk: int
    num_objects: int
    num_rounds: int


def count_saved(call: Callable[[], Tensor], known: set[int]) -> int:
    """Bytes that autograd keeps of a computation, weights left out."""
    sizes: dict[int, int] = {}
    kept = []

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept.append(storage)  # so that no other takes its number
            sizes[storage._cdata] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        answer = call()
    del answer
    return sum(sizes.values())


def estimate(sam: Sam, with_checkpointing: bool) -> StepMemory:
    """What a step takes for each image and each object."""
    had, sam.with_checkpointing = sam.with_checkpointing, with_checkpointing
    side, channels, grid = sam.image_size, sam.num_channels, sam.family.grid
    index = torch.zeros(1, dtype=torch.int64)
    try:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            weights = [mode.from_tensor(p) for p in sam.parameters()]
            known = {weight.untyped_storage()._cdata for weight in weights}
            pixels = torch.empty(1, 3, side, side, device=sam.device)
            image = count_saved(lambda: sam.encode(pixels).main, known)
            features = sam.encode(pixels)
            features = Features(features.main.detach(), tuple(d.detach() for d in features.details))
            prompts = Prompts(boxes_xyxy=torch.empty(1, 4, device=sam.device))
            sam.with_checkpointing = False
            decoded = count_saved(
                lambda: sam.decode(features, index, prompts, True).low_res_logits, known
            )
    finally:
        sam.with_checkpointing = had
    trained = sum(p.numel() * p.element_size() for p in sam.parameters() if p.requires_grad)
    # the finest map of the upscaling, twice: before and after its activation
    at_work = 2 * 4 * (4 * grid) ** 2 * (channels // 8) + decoded
    return StepMemory(_STATE_COPIES * trained, image, decoded, at_work)


def choose_plan(
    sam: Sam, wanted_batch: int, num_objects: int, num_rounds: int, free: int
) -> tuple[MemoryPlan, list[str]]:
    """The first plan that fits: as it is, checkpointing with smaller and smaller chunks, fewer images.

    Args:
        sam: prepared for training.
        wanted_batch: images behind each step of the optimizer.
        num_objects: of each image at most.
        num_rounds: decodings of each object in a step.
        free: bytes.

    Returns:
        The plan, and lines that say what was chosen and why.

    Raises:
        UserError: one image does not fit, however it is cut.
    """
    usable = int(USABLE_SHARE * free)
    lines = [f"memory: {free / 1e9:.1f} GB free, {usable / 1e9:.1f} GB of them for a step"]
    cost = {flag: estimate(sam, flag) for flag in (False, True)}
    # a block at a time is computed again, and then keeps what it would have kept
    again = cost[False].image // max(1, len(sam.family.blocks))
    cost[True] = replace(cost[True], image=cost[True].image + again)
    plan = MemoryPlan(1, wanted_batch, False, 0, num_objects, num_rounds)
    candidates = [plan] + [
        replace(plan, with_checkpointing=True, objects_per_chunk=chunk) for chunk in (0, 8, 1)
    ]
    for candidate in candidates:
        found = cost[candidate.with_checkpointing]
        taken = found.total(candidate)
        what = "with checkpointing" if candidate.with_checkpointing else "as it is"
        chunk = (
            f", {counted(candidate.objects_per_chunk, 'object')} at once"
            if candidate.objects_per_chunk
            else ""
        )
        fits = "fits" if taken <= usable else "does not fit"
        lines.append(f"memory: one image {what}{chunk} takes {taken / 1e9:.2f} GB: {fits}")
        if taken <= usable:
            return _with_batch(candidate, found, wanted_batch, usable, lines)
    raise UserError(
        f"one image of {sam.image_size} px does not fit the memory that is free ({free / 1e9:.1f} GB) "
        "even with checkpointing and one object at once: give a smaller image_size, LoRA in "
        "fewer blocks (model.lora.encoder last), or a smaller model"
    )


def _with_batch(
    plan: MemoryPlan, cost: StepMemory, wanted: int, usable: int, lines: list[str]
) -> tuple[MemoryPlan, list[str]]:
    """As many images at a time as fit and divide the number that is wanted."""
    sizes = [size for size in range(wanted, 0, -1) if wanted % size == 0]
    size = next(s for s in sizes if cost.total(replace(plan, batch_size=s)) <= usable or s == 1)
    plan = replace(plan, batch_size=size, accumulate=wanted // size)
    lines.append(
        f"memory: chosen batch_size {size}, accumulate_grad_batches {plan.accumulate}, "
        f"checkpointing {'on' if plan.with_checkpointing else 'off'}, "
        f"objects_per_chunk {plan.objects_per_chunk or 'by device'}"
    )
    return plan, lines


def free_memory(device: torch.device) -> int:
    """Bytes that a process may still take on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    limits = [_lines(Path(f"/sys/fs/cgroup/memory.{name}")) for name in ("max", "current")]
    if all(limits) and limits[0][0].isdigit():
        free = min(free, int(limits[0][0]) - int(limits[1][0]))
    return free


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or in torch's CPU allocator."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
