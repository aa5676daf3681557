"""Muon for matrices and AdamW for the rest, as one optimizer, as Lightning wants it.

Muon (https://kellerjordan.github.io/posts/muon/) makes all directions of a matrix learn alike. What
starts from nothing learns with it in a fraction of AdamW's steps, from small batches too. A kernel of a
convolution is a matrix of outputs by all that each of them sees.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# Share of the momentum that stays at each step; rounds and coefficients of the Newton-Schulz
# iteration, which makes a matrix orthogonal, nearly
_KEPT, _ROUNDS, _COEFFICIENTS = 0.95, 5, (3.4445, -4.7750, 2.0315)


class MuonAdamW(torch.optim.Optimizer):
    """Steps the groups with `with_muon` by Muon, the others by AdamW.

    Args:
        groups: as torch's optimizers take them, each with `lr`, `weight_decay` and `with_muon`; there
            is at least one without it.
        betas: of AdamW.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        super().__init__(groups, {"with_muon": False})
        self.adamw = torch.optim.AdamW(self._groups(False), betas=betas)
        self._share()

    def _groups(self, with_muon: bool) -> list[dict[str, Any]]:
        return [group for group in self.param_groups if group["with_muon"] == with_muon]

    def _share(self) -> None:
        """AdamW works on the groups and state of this one, which schedules and checkpoints see."""
        self.adamw.param_groups = self._groups(False)
        self.adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.adamw.step()
        for group in self._groups(True):
            for parameter in group["params"]:
                if (gradient := parameter.grad) is not None:
                    self._turn(parameter, gradient, group["lr"], group["weight_decay"])
        return loss

    def _turn(self, parameter: Tensor, gradient: Tensor, lr: float, weight_decay: float) -> None:
        """One step of Muon, with Nesterov's momentum."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(gradient)
        momentum = state["momentum"].lerp_(gradient, 1 - _KEPT)
        matrix = gradient.lerp(momentum, _KEPT).flatten(1)
        rows, columns = matrix.shape
        parameter.mul_(1 - lr * weight_decay)
        turned = orthogonal(matrix).view_as(parameter)
        parameter.add_(turned, alpha=-lr * math.sqrt(max(1, rows / columns)))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()


def precision_of(device: torch.device) -> torch.dtype:
    """What matrices are turned in: bfloat16 is enough, but many CPUs only imitate it, slowly."""
    return torch.float32 if device.type == "cpu" else torch.bfloat16


def orthogonal(matrix: Tensor) -> Tensor:
    """A matrix (rows, columns) with all its singular values near 1."""
    a, b, c = _COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    values = matrix.to(precision_of(matrix.device))
    values = values.T if is_tall else values
    values = values / values.norm().clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = values @ values.T
        values = torch.addmm(values, torch.addmm(gram, gram, gram, beta=b, alpha=c), values, beta=a)
    return values.T if is_tall else values
