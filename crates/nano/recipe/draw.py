"""Draws scenes. A picture is (height, width, 3) uint8; tensors for the VAE are (batch, 3, height, width) in -1..1."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from language import BACKGROUNDS, COLOURS, SIZES, Scene, centre

OVERSAMPLING = 8
HALF_BOX = 28  # masks are 56 x 56 pixels around the object's centre


def outline(shape: str, radius: float) -> list[list[tuple[float, float]]]:
    """The polygons whose union is the shape, around the origin, y down."""
    if shape == "circle":
        return [[(radius * math.cos(a), radius * math.sin(a)) for a in np.linspace(0, 2 * math.pi, 90)]]
    if shape == "square":
        s = 0.88 * radius
        return [[(-s, -s), (s, -s), (s, s), (-s, s)]]
    if shape == "triangle":
        return [[(0, -radius), (radius, 0.82 * radius), (-radius, 0.82 * radius)]]
    if shape == "star":
        angles = [-math.pi / 2 + i * math.pi / 5 for i in range(10)]
        lengths = [1.08 * radius if i % 2 == 0 else 0.46 * radius for i in range(10)]
        return [[(r * math.cos(a), r * math.sin(a)) for r, a in zip(lengths, angles)]]
    if shape == "heart":
        curve = np.linspace(0, 2 * math.pi, 90)
        x = 16 * np.sin(curve) ** 3
        y = -(13 * np.cos(curve) - 5 * np.cos(2 * curve) - 2 * np.cos(3 * curve) - np.cos(4 * curve)) - 2
        return [list(zip(x * radius / 16, y * radius / 16))]
    if shape == "cross":
        long, thick = 0.98 * radius, 0.34 * radius
        return [[(-long, -thick), (long, -thick), (long, thick), (-long, thick)],
                [(-thick, -long), (thick, -long), (thick, long), (-thick, long)]]
    raise ValueError(f"no such shape: {shape}")


@cache
def mask(shape: str, size: str) -> np.ndarray:
    """(56, 56) float32 coverage of the shape around the middle of the box."""
    side = 2 * HALF_BOX * OVERSAMPLING
    canvas = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(canvas)
    for polygon in outline(shape, SIZES[size] * OVERSAMPLING):
        pen.polygon([(x + side / 2, y + side / 2) for x, y in polygon], fill=255)
    small = canvas.resize((2 * HALF_BOX, 2 * HALF_BOX), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32) / 255


def placed_mask(shape: str, size: str, x: int, y: int, width: int, height: int) -> np.ndarray:
    """(height, width) coverage of the shape with its centre at pixel (x, y), cut at the edges."""
    padded = np.zeros((height + 4 * HALF_BOX, width + 4 * HALF_BOX), dtype=np.float32)
    top, left = y + HALF_BOX, x + HALF_BOX
    padded[top:top + 2 * HALF_BOX, left:left + 2 * HALF_BOX] = mask(shape, size)
    return padded[2 * HALF_BOX:2 * HALF_BOX + height, 2 * HALF_BOX:2 * HALF_BOX + width]


def object_mask(o, width: int, height: int) -> np.ndarray:
    x, y = centre(o.cell, width, height)
    return placed_mask(o.shape, o.size, x + o.shift[0], y + o.shift[1], width, height)


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene, (height, width, 3) uint8."""
    picture = np.empty((scene.height, scene.width, 3), dtype=np.float32)
    picture[:] = BACKGROUNDS[scene.background]
    for o in scene.objects:
        coverage = object_mask(o, scene.width, scene.height)[..., None]
        colour = np.clip(np.add(COLOURS[o.colour], o.shade), 0, 255).astype(np.float32)
        picture += coverage * (colour - picture)
    return np.round(picture).astype(np.uint8)


def to_signed(pictures: np.ndarray) -> np.ndarray:
    """(batch, height, width, 3) uint8 -> (batch, 3, height, width) float32 in -1..1."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1


def to_pictures(signed: np.ndarray) -> np.ndarray:
    """The way back: (batch, 3, height, width) float in -1..1 -> (batch, height, width, 3) uint8."""
    return np.round((np.clip(signed, -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)


def sheet(pictures: list[np.ndarray], columns: int, gap: int = 4) -> Image.Image:
    """Pictures of several sizes on one sheet, row by row."""
    cell_width = max(p.shape[1] for p in pictures) + gap
    cell_height = max(p.shape[0] for p in pictures) + gap
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * cell_width, rows * cell_height), (205, 205, 210))
    for index, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (index % columns * cell_width + gap // 2, index // columns * cell_height + gap // 2))
    return page
