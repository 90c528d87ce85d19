"""The colours of the world of designs, what each is for, and its labels as pictures."""

import numpy as np

RGB = {name: list(bytes.fromhex(code)) for name, code in {  # in order of luminance, the darkest first
    "ink": "16181d", "navy": "1e2d52", "wine": "6a1f3c", "forest": "1d5240", "slate": "47505e", "red": "d0342c", "steel": "4f7fa8",
    "teal": "1f9590", "board": "8e949c", "orange": "f07d1e", "leaf": "7dbb5a", "gold": "f3bc36", "sky": "a9d0ea", "sand": "ebdabc",
    "mist": "dde4ea", "paper": "fbf9f4",
}.items()}  # fmt: skip
COLOURS = tuple(RGB)
PALETTE = np.array(list(RGB.values()), np.uint8)  # [C,3]

BOARD, PAPER, INK = (COLOURS.index(name) for name in ("board", "paper", "ink"))
ACCENTS = tuple(COLOURS.index(name) for name in ("steel", "teal", "leaf", "gold", "orange", "red"))  # calm … energetic
PAGES = tuple(COLOURS.index(name) for name in ("paper", "mist", "sand", "sky", "ink", "navy", "wine", "forest"))
INKS = tuple(number for number in range(len(COLOURS)) if number != BOARD)

LAYERS = ("picture", "text", "image", "colour", "hierarchy")


def overlay(image: np.ndarray, f_tensor: np.ndarray, layer: str) -> np.ndarray:
    """One label over a pale picture: image uint8 [H,W,3], F_Tensor [4,H,W], layer one of LAYERS; float [H,W,3] in [0,1]."""
    text, picture, colour, weight = f_tensor
    image = image / 255
    if layer == "colour":
        return PALETTE[colour.astype(int)] / 255
    marks = {"text": (text, "red"), "image": (picture, "steel"), "hierarchy": (weight, "wine")}
    if layer not in marks:
        return image
    opacity, name = marks[layer]
    pale = 0.4 * image + 0.6
    return pale + 0.8 * opacity[..., None] * (PALETTE[COLOURS.index(name)] / 255 - pale)
