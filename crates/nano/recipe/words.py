"""The words of the language: what each one means. Everything else is `unknown` and is passed over."""

from __future__ import annotations

SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "diamond", "ring",
          "moon", "drop", "flower", "arrow", "cloud", "house", "tree")
COLOURS = {
    "red": (222, 44, 52), "orange": (245, 128, 22), "yellow": (252, 208, 30), "green": (38, 158, 80),
    "cyan": (22, 186, 204), "blue": (38, 88, 224), "purple": (126, 58, 190), "pink": (246, 102, 172),
    "brown": (132, 82, 44), "white": (252, 252, 250), "gray": (112, 118, 128), "black": (22, 22, 26),
}
# Softer than the objects, so that (nearly) every object shows on (nearly) every background.
BACKGROUNDS = {
    "white": (248, 248, 246), "cream": (250, 236, 204), "gray": (188, 194, 202), "black": (26, 26, 32),
    "navy": (30, 42, 96), "blue": (150, 202, 246), "green": (168, 226, 190), "yellow": (254, 234, 146),
    "orange": (254, 202, 152), "red": (242, 160, 150), "pink": (252, 206, 224), "purple": (208, 190, 244),
}
PATTERNS = ("plain", "striped", "dotted", "gradient")
SIZES = {"small": 22, "medium": 32, "large": 42}  # radius in pixels, the same for every picture size
TINY = "tiny"  # the size of what is inside something, never said
RADIUS = SIZES | {TINY: 16}
OUTLINES = ("black", "white")
PLACES = {  # name -> (column, row)
    "top left": (0, 0), "top": (1, 0), "top right": (2, 0),
    "left": (0, 1), "center": (1, 1), "right": (2, 1),
    "bottom left": (0, 2), "bottom": (1, 2), "bottom right": (2, 2),
}
PLACE_OF_CELL = {cell: name for name, cell in PLACES.items()}
CELLS = tuple(PLACE_OF_CELL)
RELATIONS = {  # name -> (cell of the first object, cell of the second)
    "left of": ((0, 1), (2, 1)), "right of": ((2, 1), (0, 1)), "above": ((1, 0), (1, 2)), "below": ((1, 2), (1, 0)),
}
INSIDE, ON_TOP, BETWEEN, OUTLINE = "inside", "on top of", "between", "outline"
CONTAINERS = ("circle", "square", "ring", "heart", "flower", "diamond")  # what a tiny object fits into
EDITS = ("recolour", "remove", "add", "replace", "move", "resize", "background")
KEEP, TWO = "keep", "two"  # nothing that can be done; two of EDITS at once

# ---------------------------------------------------------------- other words for the same

COLOUR_WORDS = {
    "red": ("red", "scarlet", "crimson"), "orange": ("orange",), "yellow": ("yellow", "golden", "gold"), "green": ("green", "emerald"),
    "cyan": ("cyan", "turquoise", "teal"), "blue": ("blue",), "purple": ("purple", "violet"), "pink": ("pink", "magenta"),
    "brown": ("brown",), "white": ("white",), "gray": ("gray", "grey", "silver"), "black": ("black",),
}
GROUND_WORDS = {
    "white": ("white",), "cream": ("cream", "beige"), "gray": ("gray", "grey"), "black": ("black",), "navy": ("navy",), "blue": ("blue",),
    "green": ("green", "mint"), "yellow": ("yellow",), "orange": ("orange", "peach"), "red": ("red", "coral"),
    "pink": ("pink", "rose"), "purple": ("purple", "lavender", "violet"),
}
SIZE_WORDS = {"small": ("small", "little", "tiny"), "medium": ("medium",), "large": ("large", "big", "huge")}
SHAPE_WORDS = {
    "circle": ("circle", "disc", "ball", "dot"), "square": ("square", "box", "cube"), "triangle": ("triangle", "pyramid"), "star": ("star",),
    "heart": ("heart",), "cross": ("cross", "plus"), "diamond": ("diamond", "rhombus"), "ring": ("ring", "donut", "hoop"),
    "moon": ("moon", "crescent"), "drop": ("drop", "teardrop", "raindrop"), "flower": ("flower", "blossom", "daisy"), "arrow": ("arrow",),
    "cloud": ("cloud",), "house": ("house", "home", "hut"), "tree": ("tree", "pine", "fir"),
}
PATTERN_WORDS = {"striped": ("striped", "stripy"), "dotted": ("dotted", "spotted"), "gradient": ("gradient", "shaded")}
PLACE_WORDS = {
    "top left": ("top left", "top left", "upper left", "top left corner"), "top": ("top", "top"), "top right": ("top right", "top right", "upper right", "top right corner"),
    "left": ("left", "left"), "center": ("center", "center", "middle", "centre"), "right": ("right", "right"),
    "bottom left": ("bottom left", "bottom left", "lower left", "bottom left corner"), "bottom": ("bottom", "bottom"),
    "bottom right": ("bottom right", "bottom right", "lower right", "bottom right corner"),
}
PLURALS = {shape: shape + ("es" if shape == "cross" else "s") for shape in SHAPES}
NUMBERS = {2: "two", 3: "three", 4: "four"}

# Things that pictures are asked for, as far as this language can draw them: word -> (shape, colour or None).
THINGS = {
    "sun": ("circle", "yellow"), "moon": ("moon", "yellow"), "star": ("star", "yellow"), "cloud": ("cloud", "white"), "tree": ("tree", "green"),
    "house": ("house", "red"), "cottage": ("house", "brown"), "cabin": ("house", "brown"), "castle": ("house", "gray"), "flower": ("flower", "pink"),
    "tulip": ("flower", "red"), "sunflower": ("flower", "yellow"), "apple": ("circle", "red"), "planet": ("circle", "orange"), "earth": ("circle", "blue"),
    "mountain": ("triangle", "gray"), "hill": ("triangle", "green"), "tent": ("triangle", "orange"), "wheel": ("ring", "black"), "tear": ("drop", "blue"),
    "rain": ("drop", "blue"), "love": ("heart", "red"), "gift": ("square", "red"), "jewel": ("diamond", "cyan"), "gem": ("diamond", "purple"),
    "kite": ("diamond", "orange"), "leaf": ("drop", "green"), "coin": ("circle", "yellow"), "balloon": ("circle", "red"), "forest": ("tree", "green"),
}
# word -> (background, pattern)
SCENERY = {
    "sky": ("blue", "gradient"), "sea": ("blue", "plain"), "ocean": ("navy", "gradient"), "water": ("blue", "plain"), "lake": ("blue", "gradient"),
    "night": ("navy", "plain"), "starry": ("navy", "dotted"), "space": ("black", "dotted"), "galaxy": ("black", "dotted"), "dark": ("black", "plain"),
    "sunset": ("orange", "gradient"), "sunrise": ("yellow", "gradient"), "dawn": ("pink", "gradient"), "dusk": ("purple", "gradient"),
    "snow": ("white", "dotted"), "winter": ("white", "plain"), "grass": ("green", "plain"), "meadow": ("green", "gradient"), "field": ("green", "plain"),
    "garden": ("green", "dotted"), "desert": ("cream", "gradient"), "beach": ("cream", "plain"), "sand": ("cream", "plain"), "autumn": ("orange", "plain"),
    "spring": ("green", "gradient"), "summer": ("yellow", "plain"), "fog": ("gray", "gradient"), "storm": ("gray", "striped"),
}
# Words that mean nothing here. T5 sees every unknown word as the same <unk>; CLIP sees letters, so it wants examples.
FILLERS = tuple("""beautiful stunning photograph photo photorealistic cinematic dramatic detailed highly intricate ultra realistic portrait landscape woman
man dog cat horse bird fish child girl boy person people walking running sitting standing looking through window city street car bridge river road wearing
dress hat coat smiling happy sad ancient modern futuristic neon glowing soft warm cold light lighting shadows golden-hour bokeh depth lens camera shot
close-up wide angle masterpiece artstation style painting watercolor oil sketch anime render octane unreal engine trending very some many few old young
wooden metal glass stone table chair cup coffee book bread wine dinner room kitchen library temple tower market train ship plane robot dragon knight
wizard queen king warrior dancer musician guitar piano violin vintage retro elegant minimalist abstract surreal dreamy misty foggy rainy sunny quiet busy
famous expensive tasty fresh wild proud mysterious atmosphere mood texture fabric velvet silk leather fur feathers eyes hair face hands smile grinning
jumping flying swimming reading cooking holding near behind under over across along beside during while where which his her their its my your our
playing dancing singing fighting dreaming sleeping holographic cyberpunk steampunk gothic baroque poster logo icon vector flat poster-like 8k 4k hdr""".split())
# Edits that nothing in this language can do; the picture stays.
IMPOSSIBLE = (
    "make it look like a painting", "turn this into a photo", "put sunglasses on the man", "remove the dog", "add a hat to the woman", "make the cat smile",
    "change the season", "make her hair longer", "let it rain", "zoom out a little", "more dramatic lighting please", "restore this old photo",
    "colorize", "translate the text", "replace the car with a bicycle", "change the shirt", "rotate by ninety degrees", "make the people dance",
    "what is this", "same but better", "remove the watermark", "upscale this picture", "enhance", "make it cinematic", "write hello on the wall",
    "give the dog a funny hat", "swap the faces", "move the camera closer", "make the street busy", "add a dragon", "erase the person behind",
)
SAID_BESIDES = """a an the in on at of to and with into from inside between top bottom left right center centre middle upper lower corner side above below under
over over next within background backdrop picture drawing image draw paint show make change turn remove delete erase add put place replace swap move shift
recolor color colour resize set larger bigger smaller shrink enlarge grow outline outlined it is them both one shape something somewhere
by two three four their stacked stands sits""".split()


def words() -> list[str]:
    """Every word that has a meaning, for the tokenizers."""
    found = set(SAID_BESIDES) | set(PLURALS.values()) | set(THINGS) | set(SCENERY) | {"plain", "solid", "polka", "dots", "stripes"}
    for table in (COLOUR_WORDS, GROUND_WORDS, SIZE_WORDS, SHAPE_WORDS, PATTERN_WORDS):
        found |= {word for names in table.values() for word in names}
    return sorted(found)
