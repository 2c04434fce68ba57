"""Draws scenes. A picture is (height, width, 3) uint8; tensors for the VAE are (batch, 3, height, width) in -1..1."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from scenes import Object, Scene, centre, tones
from words import COLOURS, RADIUS

OVERSAMPLING = 4
HALF_BOX = 52  # masks are 104 x 104 pixels around the object's centre
OUTLINE = {"small": 3.0, "medium": 4.5, "large": 6.0, "tiny": 3.0}  # pixels, inside the shape
PERIOD = 32  # pixels: patterns repeat with the transformer's tokens
DOT = 5.0  # radius in pixels


def arc(cx, cy, radius, start=0.0, stop=2 * math.pi, count=72):
    return [(cx + radius * math.cos(a), cy + radius * math.sin(a)) for a in np.linspace(start, stop, count)]


def polar(lengths, start=-math.pi / 2):
    return [(r * math.cos(start + i * 2 * math.pi / len(lengths)), r * math.sin(start + i * 2 * math.pi / len(lengths))) for i, r in enumerate(lengths)]


def polygons(shape: str, r: float) -> tuple[list, list]:
    """(polygons whose union is the shape, polygons that are cut out of it), around the origin, y down."""
    if shape == "circle":
        return [arc(0, 0, r)], []
    if shape == "square":
        s = 0.87 * r
        return [[(-s, -s), (s, -s), (s, s), (-s, s)]], []
    if shape == "triangle":
        return [[(0, -r), (r, 0.84 * r), (-r, 0.84 * r)]], []
    if shape == "star":
        return [polar([1.06 * r if i % 2 == 0 else 0.46 * r for i in range(10)])], []
    if shape == "heart":
        t = np.linspace(0, 2 * math.pi, 120)
        x, y = 16 * np.sin(t) ** 3, -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) - 2
        return [list(zip(x * r / 16, y * r / 16))], []
    if shape == "cross":
        long, thick = 0.98 * r, 0.34 * r
        return [[(-long, -thick), (long, -thick), (long, thick), (-long, thick)], [(-thick, -long), (thick, -long), (thick, long), (-thick, long)]], []
    if shape == "diamond":
        return [[(0, -1.05 * r), (0.82 * r, 0), (0, 1.05 * r), (-0.82 * r, 0)]], []
    if shape == "ring":
        return [arc(0, 0, r)], [arc(0, 0, 0.5 * r)]
    if shape == "moon":
        return [arc(-0.05 * r, 0, r)], [arc(0.45 * r, -0.18 * r, 0.8 * r)]
    if shape == "drop":
        tip = [(0, -1.05 * r)]
        return [tip + arc(0, 0.3 * r, 0.7 * r, -0.16 * math.pi, 1.16 * math.pi)], []
    if shape == "flower":
        return [arc(0.55 * r * math.cos(a), 0.55 * r * math.sin(a), 0.44 * r) for a in (-math.pi / 2 + i * 2 * math.pi / 5 for i in range(5))] + [arc(0, 0, 0.4 * r)], [arc(0, 0, 0.2 * r)]
    if shape == "arrow":
        return [[(-r, -0.28 * r), (0.1 * r, -0.28 * r), (0.1 * r, -0.8 * r), (r, 0), (0.1 * r, 0.8 * r), (0.1 * r, 0.28 * r), (-r, 0.28 * r)]], []
    if shape == "cloud":
        base = [(-0.62 * r, 0.5 * r), (0.62 * r, 0.5 * r), (0.62 * r, 0), (-0.62 * r, 0)]
        return [arc(-0.6 * r, 0.14 * r, 0.38 * r), arc(0.62 * r, 0.16 * r, 0.36 * r), arc(-0.14 * r, -0.16 * r, 0.5 * r), arc(0.36 * r, -0.04 * r, 0.38 * r), base], []
    if shape == "house":
        walls = [(-0.72 * r, -0.1 * r), (0.72 * r, -0.1 * r), (0.72 * r, 0.9 * r), (-0.72 * r, 0.9 * r)]
        return [[(0, -0.98 * r), (r, -0.08 * r), (-r, -0.08 * r)], walls], [[(-0.2 * r, 0.34 * r), (0.2 * r, 0.34 * r), (0.2 * r, 0.92 * r), (-0.2 * r, 0.92 * r)]]
    if shape == "tree":
        trunk = [(-0.14 * r, 0.5 * r), (0.14 * r, 0.5 * r), (0.14 * r, r), (-0.14 * r, r)]
        return [[(0, -1.05 * r), (0.56 * r, -0.14 * r), (-0.56 * r, -0.14 * r)], [(0, -0.62 * r), (0.78 * r, 0.58 * r), (-0.78 * r, 0.58 * r)], trunk], []
    raise ValueError(f"no such shape: {shape}")


@cache
def high_resolution(shape: str, size: str) -> np.ndarray:
    """The shape at four times the size, bool."""
    side = 2 * HALF_BOX * OVERSAMPLING
    canvas = Image.new("L", (side, side), 0)
    pen = ImageDraw.Draw(canvas)
    for value, parts in zip((255, 0), polygons(shape, RADIUS[size] * OVERSAMPLING)):
        for polygon in parts:
            pen.polygon([(x + side / 2, y + side / 2) for x, y in polygon], fill=value)
    return np.asarray(canvas) > 127


def reduced(fine: np.ndarray) -> np.ndarray:
    small = 2 * HALF_BOX
    return fine.reshape(small, OVERSAMPLING, small, OVERSAMPLING).mean((1, 3), dtype=np.float32)


@cache
def mask(shape: str, size: str) -> np.ndarray:
    """(104, 104) float32 coverage of the shape around the middle of the box."""
    return reduced(high_resolution(shape, size))


@cache
def inner_mask(shape: str, size: str) -> np.ndarray:
    """The same without its outermost pixels, where an outline goes."""
    fine = high_resolution(shape, size)
    width = round(OUTLINE[size] * OVERSAMPLING)
    rows, columns = np.indices((2 * width + 1,) * 2) - width
    near = np.argwhere((rows ** 2 + columns ** 2 <= width ** 2) & (rows ** 2 + columns ** 2 > (width - 2) ** 2)) - width
    kept = fine.copy()
    for y, x in near:
        kept &= np.roll(fine, (y, x), (0, 1))
    return reduced(kept)


def window(x: int, y: int, width: int, height: int):
    """Where the box around (x, y) lies in the picture, and which part of the box that is."""
    left, top, right, bottom = max(x - HALF_BOX, 0), max(y - HALF_BOX, 0), min(x + HALF_BOX, width), min(y + HALF_BOX, height)
    own = np.s_[top - y + HALF_BOX:bottom - y + HALF_BOX, left - x + HALF_BOX:right - x + HALF_BOX]
    return np.s_[top:bottom, left:right], own


def placed_mask(shape: str, size: str, x: int, y: int, width: int, height: int) -> np.ndarray:
    """(height, width) coverage of the shape with its centre at pixel (x, y), cut at the edges."""
    picture = np.zeros((height, width), dtype=np.float32)
    there, own = window(x, y, width, height)
    picture[there] = mask(shape, size)[own]
    return picture


@cache
def pattern_share(pattern: str, width: int, height: int) -> np.ndarray:
    """(height, width, 1) how much of a background's second tone each pixel has."""
    if pattern == "plain":
        return np.zeros((height, width, 1), np.float32)
    if pattern == "gradient":
        return np.broadcast_to(np.linspace(0, 1, height, dtype=np.float32)[:, None, None], (height, width, 1))
    fine = PERIOD * OVERSAMPLING
    rows, columns = (np.indices((fine, fine)) + 0.5) / OVERSAMPLING
    if pattern == "striped":
        tile = (rows + columns) % PERIOD < PERIOD / 2
    else:
        dots = [np.hypot(rows - y, columns - x) < DOT for y, x in ((8, 8), (24, 24))]
        tile = dots[0] | dots[1]
    small = tile.reshape(PERIOD, OVERSAMPLING, PERIOD, OVERSAMPLING).mean((1, 3), dtype=np.float32)
    return np.tile(small, (-(-height // PERIOD), -(-width // PERIOD)))[:height, :width, None]


def draw_background(background: str, pattern: str, width: int, height: int) -> np.ndarray:
    """(height, width, 3) float32."""
    own, second = (np.array(tone, np.float32) for tone in tones(background))
    return own + pattern_share(pattern, width, height) * (second - own)


def draw_object(picture: np.ndarray, o: Object) -> None:
    height, width = picture.shape[:2]
    there, own = window(*centre(o, width, height), width, height)
    layers = [(o.outline, mask), (o.colour, inner_mask)] if o.outline else [(o.colour, mask)]
    for colour, coverage in layers:
        part = picture[there]
        part += coverage(o.shape, o.size)[own][..., None] * (np.array(COLOURS[colour], np.float32) - part)


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene, (height, width, 3) uint8."""
    picture = draw_background(scene.background, scene.pattern, scene.width, scene.height)
    for o in scene.objects:
        draw_object(picture, o)
    return np.round(picture).astype(np.uint8)


def to_signed(pictures: np.ndarray) -> np.ndarray:
    """(batch, height, width, 3) uint8 -> (batch, 3, height, width) float32 in -1..1."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1


def to_pictures(signed: np.ndarray) -> np.ndarray:
    """The way back: (batch, 3, height, width) float in -1..1 -> (batch, height, width, 3) uint8."""
    return np.round((np.clip(signed, -1, 1) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)


def sheet(pictures: list[np.ndarray], columns: int, gap: int = 8) -> Image.Image:
    """Pictures of several sizes on one sheet, row by row."""
    cell_width = max(p.shape[1] for p in pictures) + gap
    cell_height = max(p.shape[0] for p in pictures) + gap
    rows = -(-len(pictures) // columns)
    page = Image.new("RGB", (columns * cell_width, rows * cell_height), (225, 225, 230))
    for index, picture in enumerate(pictures):
        page.paste(Image.fromarray(picture), (index % columns * cell_width + gap // 2, index // columns * cell_height + gap // 2))
    return page
