"""segment_anything/utils/onnx.py: the decoder as a module that `torch.onnx.export` takes."""

import torch
from torch import Tensor

from samtune.errors import UserError
from samtune.exports.graphs import DecoderGraph, to_original
from samtune.models.backend import Sam
from samtune.types import Features


class SamOnnxModel(DecoderGraph):
    """Embeddings and a prompt to masks; `samtune export --to onnx` writes and checks the files too.

    Args:
        model: the network, without an adapter (`samtune.merge`).
        return_single_mask: one mask, chosen as the authors do, instead of four.
        use_stability_score, return_extra_metrics: of the authors' code; not offered.

    Raises:
        UserError: what is not offered is asked for, or the decoder takes more than embeddings.
    """

    def __init__(
        self,
        model: Sam,
        return_single_mask: bool,
        use_stability_score: bool = False,
        return_extra_metrics: bool = False,
    ) -> None:
        if use_stability_score or return_extra_metrics:
            raise UserError(
                "SamOnnxModel has no stability scores or extra metrics: leave them False"
            )
        if model.family.detail_names:
            raise UserError(
                f"the decoder of {model.family.name} takes {', '.join(model.family.detail_names)} "
                "besides embeddings: samtune export --to onnx writes it"
            )
        super().__init__(model)
        self.return_single_mask = return_single_mask

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Inputs: embeddings, then as `exports.graphs.INPUTS` names them.

        Returns:
            Masks (1, M, H, W) logits, predicted IoU (1, M), low-resolution logits (1, M, h, w).
        """
        main, *prompt, size = inputs
        logits, scores = self.decode(Features(main), *prompt)
        if self.return_single_mask:
            # with more than two points (a box has two, padding one) the first mask, else the best
            first = torch.eye(scores.shape[1])[:1] * 1000
            best = (scores + (prompt[0].shape[1] - 2.5) * first).argmax(1)
            rows = torch.arange(1)
            logits, scores = logits[rows, best, None], scores[rows, best, None]
        return to_original(logits, self.sam.frame, size), scores, logits
