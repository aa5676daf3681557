"""What several processes that train together exchange beside their gradients."""

import torch
from torch import Tensor, nn


def share_of(num_objects: int, world: int, device: torch.device) -> float:
    """What makes the mean over processes, which is what is trained, the mean over all objects.

    Args:
        num_objects: of this process, in this step.
        world: number of processes, all of which must call this.
        device: of the exchange.
    """
    if world == 1:
        return 1.0
    total = torch.tensor(float(num_objects), device=device)
    torch.distributed.all_reduce(total)
    return num_objects * world / max(1.0, float(total))


def touch_all(network: nn.Module) -> Tensor:
    """Zero, through every trained weight, so that no process waits for another's gradient."""
    trained = [p for p in network.parameters() if p.requires_grad]
    return torch.stack([parameter.flatten()[0] for parameter in trained]).sum() * 0
