"""A small network and a batch of two images with four objects, prompted in different ways."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from samtune.models.loading import load_model
from samtune.types import Batch, ObjectKey, Prompt


@pytest.fixture(scope="session")
def sam():
    """Nano for inputs of 64 pixels; no test may change it."""
    return load_model("nano", image_size=64)


def point(x, y):
    return Prompt(np.array([[x, y]], np.float32), np.array([1]))


@pytest.fixture(scope="session")
def batch():
    """Image 0 fills its square, image 1 only the upper half; targets are a grid of 32 x 32."""
    targets = torch.zeros(4, 32, 32, dtype=torch.uint8)
    targets[0, 4:16, 6:20] = 255
    targets[1, 2:10, 3:28] = 255
    targets[2, 20:30, 10:24] = 255
    targets[3, 1:15, 18:30] = 255
    valid = torch.ones(2, 32, 32, dtype=torch.bool)
    valid[1, 16:] = False
    pixel_values = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    pixel_values[1, :, 32:] = 0
    first = [
        point(20.0, 18.0),
        Prompt(box_xyxy=np.array([6, 4, 55, 19], np.float32)),
        Prompt(np.array([[30, 50], [3, 3]], np.float32), np.array([1, 0])),
        point(50.0, 10.0),
    ]
    return Batch(
        pixel_values=pixel_values,
        image_index=torch.tensor([0, 1, 0, 1]),
        targets=targets,
        valid=valid,
        prompts={"first": first},
        keys=[ObjectKey("a", 1), ObjectKey("b", 1), ObjectKey("a", 2), ObjectKey("b", 2)],
        seed=(0, 0),
    )


@pytest.fixture(scope="session")
def choose():
    """A function that keeps some objects of a batch, in a given order."""

    def part(batch, indices):
        return replace(
            batch,
            image_index=batch.image_index[indices],
            targets=batch.targets[indices],
            prompts={name: [p[i] for i in indices] for name, p in batch.prompts.items()},
            keys=[batch.keys[i] for i in indices],
        )

    return part
