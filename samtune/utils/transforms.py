"""segment_anything/utils/transforms.py."""

from samtune.inference.transform import ResizeLongestSide

__all__ = ["ResizeLongestSide"]
