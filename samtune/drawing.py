"""Pictures of images with prompts and masks, for reports, panels and overlays."""

import base64
import io
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from samtune.types import ImageArray, MaskArray, Prompt

# Okabe and Ito's colours: they stay apart for colour-blind readers.
TRUTH = (0, 158, 115)
BASE = (230, 159, 0)
TUNED = (0, 114, 178)
POSITIVE = (0, 220, 90)
NEGATIVE = (230, 40, 40)
BOX = (255, 225, 25)


def overlay(
    image: ImageArray, mask: MaskArray, colour: tuple[int, int, int], alpha: float = 0.45
) -> ImageArray:
    """Tint an (H, W, 3) image where an (H, W) mask is, and draw its outline."""
    tinted = image.astype(np.float32)
    tinted[mask] = (1 - alpha) * tinted[mask] + alpha * np.asarray(colour, np.float32)
    result = np.ascontiguousarray(tinted.astype(np.uint8))
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(result, contours, -1, colour, max(1, max(image.shape) // 400))
    return np.asarray(result, np.uint8)


def draw_prompt(image: ImageArray, prompt: Prompt) -> ImageArray:
    """Draw a prompt of the image's own frame: green and red points, a yellow box."""
    picture = Image.fromarray(image)
    canvas = ImageDraw.Draw(picture)
    radius = max(2, max(image.shape[:2]) // 64)
    if prompt.box_xyxy is not None:
        canvas.rectangle(prompt.box_xyxy.tolist(), outline=BOX, width=max(1, radius // 2))
    if prompt.point_coords is not None and prompt.point_labels is not None:
        for (x, y), label in zip(prompt.point_coords, prompt.point_labels, strict=True):
            colour = POSITIVE if label else NEGATIVE
            place = (x - radius, y - radius, x + radius, y + radius)
            canvas.ellipse(place, fill=colour, outline=(255, 255, 255))
    return np.asarray(picture)


def crop_around(mask: MaskArray, margin: float = 0.6, smallest: int = 64) -> tuple[slice, slice]:
    """Rows and columns of a square window around an object, kept inside the image."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return slice(0, height), slice(0, width)
    extent = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    side = int(max(smallest, extent * (1 + margin)))
    y = int(np.clip((rows[0] + rows[-1] - side) // 2, 0, max(0, height - side)))
    x = int(np.clip((columns[0] + columns[-1] - side) // 2, 0, max(0, width - side)))
    return slice(y, min(height, y + side)), slice(x, min(width, x + side))


def shift_prompt(prompt: Prompt, rows: slice, columns: slice, scale: float) -> Prompt:
    """Move a prompt into a window of its image that is then shown `scale` times as large."""
    offset = np.array([columns.start, rows.start], np.float32)

    def move(xy: np.ndarray) -> np.ndarray:
        return np.asarray(((xy - offset) + 0.5) * scale - 0.5, np.float32)

    points, box = prompt.point_coords, prompt.box_xyxy
    return Prompt(
        None if points is None else move(points),
        prompt.point_labels,
        None if box is None else move(box.reshape(2, 2)).reshape(4),
    )


def side_by_side(pictures: list[ImageArray], gap: int = 4) -> ImageArray:
    """Pictures of one height in a row, on white."""
    height = max(picture.shape[0] for picture in pictures)
    white = np.full((height, gap, 3), 255, np.uint8)
    columns: list[ImageArray] = []
    for picture in pictures:
        padding = ((0, height - picture.shape[0]), (0, 0), (0, 0))
        columns += [white, np.pad(picture, padding, constant_values=255)]
    return np.concatenate(columns[1:], axis=1)


def caption(text: str, width: int, height: int = 20) -> ImageArray:
    """A line of black text on white, cut where it is too long: (height, width, 3)."""
    picture = Image.new("RGB", (width, height), "white")
    font = ImageFont.load_default(size=0.65 * height)
    ImageDraw.Draw(picture).text((2, height / 2), text, fill="black", font=font, anchor="lm")
    return np.asarray(picture)


def below(pictures: Sequence[ImageArray], gap: int = 4) -> ImageArray:
    """Pictures below one another, on white."""
    width = max(picture.shape[1] for picture in pictures)
    rows = [
        np.pad(picture, ((0, gap), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
        for picture in pictures
    ]
    return np.concatenate(rows)[: -gap or None]


def enlarge(picture: ImageArray, side: int) -> tuple[ImageArray, float]:
    """Scale a picture so that its longest side is `side`; returns it and the factor."""
    factor = side / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    resized = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(resized), factor


def comparison(
    image: ImageArray,
    prompt: Prompt,
    masks: list[tuple[MaskArray, tuple[int, int, int]]],
    side: int = 160,
    changes: Sequence[tuple[MaskArray, tuple[int, int, int]]] = (),
    around: MaskArray | None = None,
) -> ImageArray:
    """A row for one object: the image with its prompt, then one picture for each mask.

    Args:
        image: (H, W, 3).
        prompt: in the image's frame.
        masks: (H, W) masks with their colours.
        side: of each picture, pixels.
        changes: masks that are drawn together in one more picture.
        around: what the window is around; without it the first mask, which is the truth.
    """
    rows, columns = crop_around(masks[0][0] if around is None else around)
    window, scale = enlarge(image[rows, columns], side)
    pictures = [draw_prompt(window, shift_prompt(prompt, rows, columns, scale))]
    size = window.shape[1], window.shape[0]

    def part(mask: MaskArray) -> MaskArray:
        return np.asarray(
            Image.fromarray(mask[rows, columns]).resize(size, Image.Resampling.NEAREST)
        )

    pictures += [overlay(window, part(mask), colour) for mask, colour in masks]
    if changes:
        together = window
        for mask, colour in changes:
            together = overlay(together, part(mask), colour)
        pictures.append(together)
    return side_by_side(pictures)


def to_png(picture: ImageArray | NDArray[np.uint16]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def to_data_uri(picture: ImageArray) -> str:
    """A picture as text for the `src` of an HTML image."""
    return "data:image/png;base64," + base64.b64encode(to_png(picture)).decode("ascii")
