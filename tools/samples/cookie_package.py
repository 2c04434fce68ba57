"""Draws the sample input `input-depth-to-image-4.jpg`: a plain cookie package on a table.

The documented commands of the image editing tool name this file, so it ships inside the program.
Everything in it is drawn here; the same seed draws the same picture.

    python -m venv .venv && .venv/bin/pip install -r requirements.txt
    .venv/bin/python cookie_package.py ../../crates/service/samples/input-depth-to-image-4.jpg
"""

import math
import sys

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

WIDTH, HEIGHT = 1024, 768
SCALE = 2  # Drawn twice as large and reduced at the end: smooth edges.
TABLE_TOP = 470  # Where the wall meets the table.

RNG = np.random.default_rng(4)


def scaled(points):
    return [(x * SCALE, y * SCALE) for x, y in points]


def canvas(colour=(0, 0, 0, 0)):
    return Image.new("RGBA", (WIDTH * SCALE, HEIGHT * SCALE), colour)


def noise(rows, columns, size):
    """Smooth noise in -1..1 of `size` (width, height), with that many knots down and across."""
    knots = RNG.uniform(-1, 1, (rows, columns)).astype(np.float32)
    return np.asarray(Image.fromarray(knots, "F").resize(size, Image.BICUBIC))


def step(x):
    """A soft step from 0 to 1 (the logistic function)."""
    return 1 / (1 + np.exp(-x.clip(-60, 60)))


def shade(image, mask, factor):
    """Multiplies the colours of `image` by `factor` where the polygon mask is set."""
    pixels = np.asarray(image).astype(np.float32)
    weight = (np.asarray(mask).astype(np.float32) / 255)[..., None]
    pixels[..., :3] *= 1 + (factor[..., None] - 1) * weight
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGBA")


def mask_of(points):
    mask = Image.new("L", (WIDTH * SCALE, HEIGHT * SCALE), 0)
    ImageDraw.Draw(mask).polygon(scaled(points), fill=255)
    return mask


def room():
    """A wall in evening light and a wooden table."""
    y, x = np.mgrid[0 : HEIGHT * SCALE, 0 : WIDTH * SCALE].astype(np.float32) / SCALE
    wall = np.array([126, 140, 138], np.float32) * np.ones((*x.shape, 1), np.float32)
    # Light from a window on the left, in two panes that lean with the sun.
    lean = x + 0.45 * y
    pane = lambda left, right: step((lean - left) / 9) * step((right - lean) / 9)
    light = (pane(150, 300) + pane(325, 475)) * step((330 - y) / 40)
    wall *= (0.86 - 0.0004 * x + 0.30 * light)[..., None]
    wall += noise(90, 120, (WIDTH * SCALE, HEIGHT * SCALE))[..., None] * 1.6

    # Planks run towards a point behind the wall: `across` is constant along each of them.
    depth = (y - 250) / (HEIGHT - 250)
    across = (x - 470) / depth.clip(0.05) / 128
    plank = np.floor(across)
    tone = np.sin(plank * 12.9898) * 43758.5453
    tone = tone - np.floor(tone)
    waver = 0.09 * noise(7, 9, (WIDTH * SCALE, HEIGHT * SCALE))
    grain = np.sin((across + waver) * 46 + tone * 40) * 0.5 + np.sin((across + waver) * 131) * 0.3
    wood = np.array([150, 104, 66], np.float32) * (0.88 + 0.17 * tone + 0.035 * grain)[..., None]
    seam = np.minimum(across - plank, plank + 1 - across) * depth * 128
    wood *= (1 - 0.45 * np.exp(-((seam / 1.4) ** 2)))[..., None]
    wood *= (0.80 + 0.30 * depth - 0.00022 * (x - 200))[..., None]

    edge = step((y - TABLE_TOP) * 1.4)[..., None]
    contact = (1 - 0.35 * np.exp(-np.abs(y - TABLE_TOP) / 7))[..., None]
    pixels = (wall * (1 - edge) + wood * edge) * contact
    alpha = np.full((*x.shape, 1), 255, np.float32)
    stacked = np.concatenate([pixels.clip(0, 255), alpha], axis=2)
    return Image.fromarray(stacked.astype(np.uint8), "RGBA")


def shadow(scene, points, blur, strength):
    layer = Image.new("L", scene.size, 0)
    ImageDraw.Draw(layer).polygon(scaled(points), fill=int(255 * strength))
    layer = layer.filter(ImageFilter.GaussianBlur(blur * SCALE))
    dark = canvas((28, 18, 14, 255))
    return Image.composite(dark, scene, layer)


def ellipse(cx, cy, rx, ry, steps=120):
    angles = [2 * math.pi * step / steps for step in range(steps)]
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


# The bag: a front, a folded side on the right, and a rolled top held by a clip.
FRONT = [(338, 232), (602, 232), (618, 420), (612, 640), (326, 640), (320, 420)]
SIDE = [(602, 232), (664, 216), (690, 410), (678, 612), (612, 640), (618, 420)]
ROLL = [(332, 186), (606, 186), (668, 172), (668, 222), (606, 240), (332, 240)]


def paper(layer, points, colour, light):
    """Kraft paper: fibres, and a light that falls as `light(x, y)` says."""
    mask = mask_of(points)
    y, x = np.mgrid[0 : layer.height, 0 : layer.width].astype(np.float32) / SCALE
    size = (layer.width, layer.height)
    fibre = 0.030 * noise(500, 130, size) + 0.028 * noise(60, 300, size)
    crumple = 0.05 * noise(11, 15, size)
    sheet = Image.new("RGBA", layer.size, (*colour, 255))
    sheet = shade(sheet, mask, light(x, y) * (1 + fibre + crumple))
    layer.paste(sheet, (0, 0), mask)


def centred(draw, text, x, y, size, fill):
    font = ImageFont.load_default(size * SCALE)
    draw.text((x * SCALE, y * SCALE), text, font=font, fill=fill, anchor="mm")


def bag(scene):
    scene = shadow(scene, [(300, 632), (700, 600), (905, 668), (760, 700), (330, 664)], 16, 0.62)
    scene = shadow(scene, [(322, 632), (616, 634), (684, 606), (700, 628), (620, 654), (326, 652)], 5, 0.75)
    layer = canvas()
    paper(layer, SIDE, (160, 118, 76), lambda x, y: 0.72 - 0.0012 * (x - 640) - 0.0002 * (y - 400))
    paper(
        layer,
        FRONT,
        (201, 156, 104),
        # Round like a filled bag: brightest left of its middle, darker towards the foot.
        lambda x, y: 1.02 - ((x - 430) / 300) ** 2 * 0.34 - ((y - 380) / 500) ** 2 * 0.30,
    )
    draw = ImageDraw.Draw(layer)
    # The fold of the side, and creases under the roll.
    draw.line(scaled([(634, 226), (652, 415), (646, 626)]), fill=(104, 74, 46, 190), width=3)
    for x in (376, 432, 498, 556):
        lean = (x - 470) * 0.06
        draw.line(scaled([(x, 242), (x + lean, 272 + (x % 17))]), fill=(146, 106, 66, 120), width=3)
    label(layer)
    paper(layer, ROLL, (188, 143, 94), lambda x, y: 0.98 - np.abs(y - 204) / 90 - (x - 332) / 1500)
    draw = ImageDraw.Draw(layer)
    draw.line(scaled([(332, 239), (606, 239), (668, 221)]), fill=(92, 64, 38, 200), width=4)
    draw.line(scaled([(606, 187), (606, 239)]), fill=(128, 92, 56, 140), width=3)
    clip(draw)
    return Image.alpha_composite(scene, layer)


def label(layer):
    """A plain paper label with a word, a line and a cookie on it."""
    paint = canvas()
    draw = ImageDraw.Draw(paint)
    box = [364 * SCALE, 318 * SCALE, 574 * SCALE, 572 * SCALE]
    draw.rounded_rectangle(box, radius=12 * SCALE, fill=(236, 226, 204, 255))
    inner = [374 * SCALE, 328 * SCALE, 564 * SCALE, 562 * SCALE]
    draw.rounded_rectangle(inner, radius=8 * SCALE, outline=(150, 84, 58, 255), width=3)
    brown = (104, 58, 40, 255)
    centred(draw, "COOKIES", 469, 376, 38, brown)
    draw.line(scaled([(404, 408), (534, 408)]), fill=(150, 84, 58, 255), width=3)
    centred(draw, "butter & chocolate", 469, 428, 18, brown)
    draw.polygon(scaled(ellipse(469, 490, 37, 37)), fill=(196, 140, 82, 255), outline=brown, width=4)
    for x, y, r in ((455, 477, 6), (480, 472, 5), (489, 494, 6), (466, 500, 5), (450, 503, 4), (478, 513, 5)):
        draw.polygon(scaled(ellipse(x, y, r, r)), fill=brown)
    centred(draw, "250 g", 469, 545, 15, brown)
    y, x = np.mgrid[0 : paint.height, 0 : paint.width].astype(np.float32) / SCALE
    light = 1.0 - ((x - 440) / 300) ** 2 * 0.45 - ((y - 400) / 500) ** 2 * 0.3
    paint = shade(paint, paint.getchannel("A"), light + 0.015 * noise(300, 300, paint.size))
    soft = ImageChops.offset(paint.getchannel("A"), 3 * SCALE, 4 * SCALE)
    soft = soft.filter(ImageFilter.GaussianBlur(4 * SCALE)).point(lambda v: v * 0.45)
    layer.paste(Image.composite(canvas((70, 44, 24, 255)), layer, soft), (0, 0), layer.getchannel("A"))
    layer.alpha_composite(paint)


def clip(draw):
    """A wooden clothes peg holds the roll."""
    draw.polygon(scaled([(452, 166), (474, 166), (478, 262), (450, 262)]), fill=(222, 188, 138, 255))
    draw.polygon(scaled([(468, 166), (474, 166), (478, 262), (470, 262)]), fill=(180, 140, 94, 255))
    draw.line(scaled([(461, 166), (462, 262)]), fill=(150, 112, 72, 255), width=3)
    draw.rectangle([448 * SCALE, 208 * SCALE, 480 * SCALE, 216 * SCALE], fill=(150, 152, 156, 255))
    draw.line(scaled([(448, 210), (480, 210)]), fill=(214, 216, 220, 255), width=3)


def cookie(scene, cx, cy, rx, ry, thickness, chips):
    """A cookie that lies (ry < rx) or stands; `thickness` is what shows of its side."""
    wobble = [RNG.uniform(-0.022, 0.022) for _ in range(14)]

    def outline(scale, dy=0):
        points = []
        for step in range(168):
            angle = 2 * math.pi * step / 168
            place = step / 168 * 14
            low, part = int(place), place - int(place)
            bump = wobble[low % 14] * (1 - part) + wobble[(low + 1) % 14] * part
            radius = scale * (1 + bump)
            points.append((cx + rx * radius * math.cos(angle), cy + dy + ry * radius * math.sin(angle)))
        return points

    base = outline(1.0, thickness + 5)
    scene = shadow(scene, [(x + rx * 0.16, y + 3) for x, y in base], 6, 0.62)
    layer = canvas()
    draw = ImageDraw.Draw(layer)
    for dy in range(thickness, 0, -1):
        dark = 0.62 + 0.16 * (1 - dy / thickness)
        draw.polygon(scaled(outline(1.0, dy)), fill=tuple(int(c * dark) for c in (190, 128, 70)) + (255,))
    draw.polygon(scaled(outline(1.0)), fill=(204, 148, 88, 255))
    y, x = np.mgrid[0 : layer.height, 0 : layer.width].astype(np.float32) / SCALE
    distance = np.hypot((x - cx) / rx, (y - cy) / ry)
    light = 1.10 - 0.26 * distance**3 - 0.16 * (x - cx) / rx
    light += 0.07 * noise(150, 200, layer.size) + 0.05 * noise(380, 500, layer.size)
    top = mask_of(outline(1.0))
    layer = shade(layer, top, light)
    draw = ImageDraw.Draw(layer)
    for _ in range(chips):
        angle, reach = RNG.uniform(0, 2 * math.pi), math.sqrt(RNG.uniform(0.01, 0.66))
        px, py = cx + rx * reach * math.cos(angle), cy + ry * reach * math.sin(angle)
        size = RNG.uniform(0.085, 0.135) * rx
        flat = size * max(ry / rx, 0.5)
        draw.polygon(scaled(ellipse(px + 1, py + 1.6, size * 1.1, flat * 1.1, 9)), fill=(128, 84, 48, 255))
        draw.polygon(scaled(ellipse(px, py, size, flat, 9)), fill=(66, 38, 26, 255))
        draw.polygon(scaled(ellipse(px - size * 0.3, py - flat * 0.35, size * 0.35, flat * 0.3, 9)), fill=(122, 84, 66, 255))
    return Image.alpha_composite(scene, layer)


def crumbs(scene):
    draw = ImageDraw.Draw(scene)
    for _ in range(42):
        x, y, r = RNG.normal(770, 95), RNG.normal(700, 17), RNG.uniform(1.0, 3.4)
        draw.polygon(scaled(ellipse(x + r, y + r * 0.8, r * 1.2, r * 0.7, 8)), fill=(62, 40, 26, 255))
        draw.polygon(scaled(ellipse(x, y, r, r * 0.8, 7)), fill=(196, 140, 84, 255))
    return scene


def finish(scene):
    """Reduced, with the falling-off corners and the grain of a quick photograph."""
    small = scene.convert("RGB").resize((WIDTH, HEIGHT), Image.LANCZOS)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    away = np.hypot((x - 470) / 720, (y - 400) / 560)
    pixels = np.asarray(small).astype(np.float32) * (1.04 - 0.26 * away**2)[..., None]
    pixels += RNG.normal(0, 1.6, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def main():
    scene = room()
    scene = bag(scene)
    for dy in (0, -22, -44):
        scene = cookie(scene, 802 + dy // 9, 606 + dy, 84, 30, 18, 15)
    scene = cookie(scene, 238, 668, 92, 36, 17, 16)
    scene = crumbs(scene)
    finish(scene).save(sys.argv[1], quality=88, optimize=True)


if __name__ == "__main__":
    main()
