"""The pictures inside designs: four small scenes in the colours of the palette, painted on any canvas that covers and paints boxes."""

import numpy as np

from .layouts import Box
from .palette import COLOURS


class Scene:
    """The inside of one picture box: lays shapes given by their signed distance over each other."""

    def __init__(self, canvas, box: Box, background: int):
        self.canvas, self.background, self.rng = canvas, background, np.random.default_rng(box.seed)
        self.window = rows, columns = canvas.window(box.x, box.y, box.w, box.h)
        self.inside = canvas.alpha(self.window, box.x, box.y, box.w, box.h)
        self.u = ((np.arange(columns.start, columns.stop) + 0.5) / canvas.w - box.x) / box.h
        self.v = (((np.arange(rows.start, rows.stop) + 0.5) / canvas.h - box.y) / box.h)[:, None]
        self.wide, self.pixels = box.w / box.h, box.h * canvas.h

    def layer(self, distance, colour: int, shade: float | np.ndarray = 1.0) -> None:
        """Paint where `distance` (in heights of the picture, broadcasts to [v,u]) is positive."""
        self.canvas.paint(self.window, self.inside * np.clip(distance * self.pixels + 0.5, 0, 1), colour, shade)

    def pick(self, *names: str) -> int:
        """The id of one of these colours that can be told from the page."""
        colours = self.canvas.colours
        usable = [name for name in names if np.abs(colours[COLOURS.index(name)] - colours[self.background]).max() > 0.15]
        return COLOURS.index(usable[self.rng.integers(len(usable))])


def landscape(scene: Scene) -> None:
    """A sun and two ranges of hills."""
    rng, u, v = scene.rng, scene.u, scene.v
    sun = rng.uniform(0.1, 0.16) - np.hypot(u - scene.wide * rng.uniform(0.2, 0.8), v - rng.uniform(0.2, 0.35))
    scene.layer(sun, scene.pick("gold", "orange", "red"))
    far = rng.uniform(0.45, 0.6), scene.pick("teal", "slate", "leaf")
    near = rng.uniform(0.68, 0.8), scene.pick("forest", "navy", "wine")
    for level, colour in (far, near):
        hill = level + 0.1 * np.sin(u * rng.uniform(2, 6) + rng.uniform(0, 6)) + 0.04 * np.sin(u * rng.uniform(7, 12))
        scene.layer(v - hill, colour, 1.12 - 0.2 * v)


def skyline(scene: Scene) -> None:
    """Two rows of houses and a sun."""
    rng, u, v = scene.rng, scene.u, scene.v
    tops = rng.uniform(0.25, 0.8, 9)
    house = np.clip((u / scene.wide * 8).astype(int), 0, 8)
    scene.layer(rng.uniform(0.07, 0.12) - np.hypot(u - scene.wide * rng.uniform(0.2, 0.8), v - 0.2), scene.pick("gold", "orange", "paper"))
    scene.layer(v - tops[house], scene.pick("navy", "slate", "wine"))
    scene.layer(v - tops[::-1][house] - 0.18, scene.pick("ink", "forest", "red"))


def portrait(scene: Scene) -> None:
    """Hair, shoulders and a face."""
    u, v, middle = scene.u, scene.v, scene.wide / 2
    skin, cloth, hair = scene.pick("sand", "orange", "wine"), scene.pick("red", "navy", "teal", "forest"), scene.pick("ink", "slate")
    scene.layer(0.23 - np.hypot(u - middle, (v - 0.38) * 0.9), hair)
    scene.layer(1 - np.hypot((u - middle) / 0.42, (v - 1.05) / 0.42), cloth)
    scene.layer(0.17 - np.hypot((u - middle) * 1.15, v - 0.44), skin)


def still_life(scene: Scene) -> None:
    """Two round things on a table."""
    rng, u, v = scene.rng, scene.u, scene.v
    scene.layer(v - rng.uniform(0.62, 0.75), scene.pick("wine", "slate", "forest", "orange"))
    for _ in range(2):
        middle, radius = scene.wide * rng.uniform(0.25, 0.75), rng.uniform(0.14, 0.24)
        scene.layer(radius - np.hypot(u - middle, v - 0.82 + radius), scene.pick("red", "gold", "leaf", "navy", "paper"), 1.1 - 0.25 * v)


SCENES = (landscape, skyline, portrait, still_life)


def paint_scene(canvas, box: Box, background: int) -> tuple[tuple[slice, slice], np.ndarray]:
    """Paint one of the scenes into `box`, on a page of colour `background`; the window and, in it, the mask of pixels that it owns.

    canvas: has `colours`, `h`, `w`, `window(x, y, w, h)`, `alpha(window, x, y, w, h)` and `paint(window, alpha, colour, shade)`.
    """
    scene = Scene(canvas, box, background)
    scene.layer(1.0, scene.pick("sky", "sand", "mist", "steel", "gold", "teal"), 1.06 - 0.14 * scene.v)
    SCENES[scene.rng.integers(len(SCENES))](scene)
    return scene.window, scene.inside > 0.5
