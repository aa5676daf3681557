"""Muon for matrices and AdamW for the rest, as one optimizer, as Lightning wants it.

Muon (https://kellerjordan.github.io/posts/muon/) makes all directions of a matrix learn alike. An
encoder that starts from nothing learns with it what AdamW does not find in the noise of small batches.
"""

from collections.abc import Callable
from typing import Any

import torch

from samtune.errors import UserError


class MuonAdamW(torch.optim.Optimizer):
    """Steps the groups with `with_muon` by Muon, the others by AdamW.

    Args:
        groups: as torch's optimizers take them, each with `lr`, `weight_decay` and `with_muon`; there
            is at least one of either kind.
        betas: of AdamW.

    Raises:
        UserError: this torch has no Muon.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float]) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise UserError(
                f"optim.muon_lr needs torch 2.9 or newer, this is {torch.__version__}: "
                "update torch, or leave optim.muon_lr at 0"
            )
        super().__init__(groups, {"with_muon": False})
        self.adamw = torch.optim.AdamW(self._groups(False), betas=betas)
        self.muon = torch.optim.Muon(self._groups(True))
        self._share()

    def _groups(self, with_muon: bool) -> list[dict[str, Any]]:
        return [group for group in self.param_groups if group["with_muon"] == with_muon]

    def _share(self) -> None:
        """Both work on the groups and state of this one, which schedules and checkpoints see."""
        for optimizer, with_muon in ((self.adamw, False), (self.muon, True)):
            optimizer.param_groups = self._groups(with_muon)
            optimizer.state = self.state

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.adamw.step()
        self.muon.step()  # type: ignore[no-untyped-call]
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()
