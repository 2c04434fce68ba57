"""What the reference shows, answered beside the velocity while an edit is learned, and not shipped.

`make the circle green` of a circle and a square asks which one is the circle. Edits alone teach that slowly: what a wrong
choice costs says nothing of why it was wrong, and without help all objects were changed (18 % of such edits were right
after 12,000 steps, where 71 % were that name a colour, too, which one token shows). So half-way through the blocks each token
of the reference also says what it belongs to, as representations are guided in REPA (Yu et al. 2024, arXiv:2410.06940).
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import Linear, Module, functional

from draw import placed_mask
from scenes import Scene, centre
from words import COLOURS, SHAPES

DEPTH = 4  # blocks that see what there is; the other five choose and draw
LOSS_WEIGHT = 0.1
LEAST_PIXELS = 24  # of a token's 1,024 that an object must cover to be what the token belongs to
NOTHING_WEIGHT = 0.15  # most tokens show the background
CHOICES = (len(SHAPES), len(COLOURS))  # and one more each: nothing


class Recognition(Module):
    """(batch, tokens, width) after DEPTH blocks -> the loss of naming every token's shape and colour."""

    def __init__(self, width: int):
        super().__init__()
        self.answers = torch.nn.ModuleList(Linear(width, count + 1) for count in CHOICES)

    def forward(self, hidden: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """`shown` (batch, 2, tokens) from `shown_by`."""
        hidden, total = functional.layer_norm(hidden, hidden.shape[-1:]), 0
        for answer, truth in zip(self.answers, shown.long().unbind(1)):
            weight = hidden.new_ones(answer.out_features)
            weight[-1] = NOTHING_WEIGHT
            total = total + functional.cross_entropy(answer(hidden).flatten(0, 1).float(), truth.flatten(), weight)
        return LOSS_WEIGHT * total


def shown_by(scene: Scene, token: int) -> torch.Tensor:
    """(2, tokens) int8: the index of the shape and of the colour that most of each token belongs to; one past the last is nothing."""
    rows, columns = scene.height // token, scene.width // token
    covered = np.full((scene.height, scene.width), -1)
    for index, o in enumerate(scene.objects):
        covered[placed_mask(o.shape, o.size, *centre(o, scene.width, scene.height), scene.width, scene.height) > 0.5] = index
    tiles = covered.reshape(rows, token, columns, token).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    pixels = np.stack([(tiles == index).sum(1) for index in range(len(scene.objects))])
    names = np.array([(SHAPES.index(o.shape), list(COLOURS).index(o.colour)) for o in scene.objects], np.int8)
    return torch.from_numpy(np.where(pixels.max(0) >= LEAST_PIXELS, names[pixels.argmax(0)].T, np.array(CHOICES, np.int8)[:, None]))
