"""Game scenes: tile-map screenshots with exact labels, a pure function of (seed, index). A tile has a tenth of a scene's shorter side.

Eight textures; each is a tone in [0,1] at every pixel, put through a ramp of three colours that overlaps with the ramps of others. A map
says which texture lies on which tile; light, shadows, lamps and sprites lie over it. The labels are of the ground beneath the sprites.
"""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..kit.settings import InputError

TEXTURES = ("grass", "leaves", "water", "sand", "dirt", "brick", "stone", "wood")
NATURAL = 5  # the first five are ground with wavering edges, the others are built along the tiles
TONES = np.array([[(56, 108, 50), (88, 150, 64), (138, 186, 84)], [(28, 66, 40), (62, 122, 54), (118, 170, 72)],
                  [(40, 86, 142), (58, 116, 172), (148, 192, 206)], [(184, 150, 100), (212, 182, 128), (232, 210, 162)],
                  [(98, 70, 48), (144, 106, 72), (188, 154, 110)], [(122, 62, 50), (164, 88, 66), (190, 168, 140)],
                  [(70, 72, 80), (128, 128, 132), (172, 174, 176)], [(80, 52, 34), (150, 108, 70), (190, 148, 100)]],
                 np.float32)  # fmt: skip
VARIANTS = 4  # bitmaps of each texture in a scene
TILES = 10  # tiles along a scene's shorter side


def cells(rng: np.random.Generator, t: int, across: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cobbles: `across`² jittered points in a tile that wraps around; per pixel [V,t,t] the distances (cell widths) to the nearest and
    second nearest point, and the nearest one's number."""
    place = np.stack(np.divmod(np.arange(across**2), across), -1)
    points = (place + rng.uniform(0.15, 0.85, (VARIANTS, across**2, 2))) / across
    away = np.abs((np.arange(t) + 0.5)[None, :, None, None] / t - points[:, None])  # [V,t,points,2]
    away = np.minimum(away, 1 - away) ** 2
    distance = across * np.sqrt(away[:, :, None, :, 0] + away[:, None, :, :, 1])  # [V,t,t,points]
    order = distance.argsort(-1)[..., :2]
    near, second = np.moveaxis(np.take_along_axis(distance, order, -1), -1, 0)
    return near, second, order[..., 0]


def natural(texture: str, t: int, rng: np.random.Generator) -> np.ndarray:
    """The tone [V,t,t] of a natural texture's tile of t x t pixels, about 0 (dark) to 1 (light), in VARIANTS versions."""
    y, x = np.meshgrid((np.arange(t) + 0.5) / t, (np.arange(t) + 0.5) / t, indexing="ij")
    grain = rng.uniform(-1, 1, (VARIANTS, t, t))
    if texture == "grass":
        tuft = (rng.random((VARIANTS, t, t)) > 0.86).astype(float)
        tuft = np.maximum(tuft, 0.6 * np.roll(tuft, 1, 1))
        return 0.5 + 0.45 * tuft - 0.3 * (rng.random((VARIANTS, t, t)) > 0.88) + 0.05 * grain
    if texture == "leaves":
        return 0.85 - 0.85 * cells(rng, t, 3)[0] ** 1.2 + 0.08 * grain
    if texture == "water":
        phase = rng.uniform(0, 0.2, (VARIANTS, 1, 1))
        wave = np.sin(2 * np.pi * (2 * y + 0.12 * np.sin(2 * np.pi * (x + phase))))
        glint = np.clip((wave - 0.72) / 0.28, 0, 1) * (np.sin(2 * np.pi * (x + 3 * phase)) > -0.4)
        return 0.45 + 0.5 * glint - 0.22 * np.clip(-wave, 0, 1) + 0.03 * grain
    if texture == "sand":
        return 0.52 + 0.14 * np.sin(2 * np.pi * (x + y + 0.15 * np.sin(2 * np.pi * (y - x)))) + 0.25 * grain
    near, _, which = cells(rng, t, 2)  # dirt
    return np.where(near < 0.26, np.where(which % 2, 0.95, 0.12), 0.5 + 0.18 * grain)


def built(texture: str, t: int, rng: np.random.Generator) -> np.ndarray:
    """The tone [V,t,t] of a built texture's tile, as `natural` gives it."""
    y, x = np.meshgrid((np.arange(t) + 0.5) / t, (np.arange(t) + 0.5) / t, indexing="ij")
    grain = rng.uniform(-1, 1, (VARIANTS, t, t))
    if texture == "brick":
        course = (2 * y).astype(int)
        mortar = (2 * y % 1 < 1.98 / t) | ((x + 0.5 * course) % 1 < 0.99 / t)
        return np.where(mortar, 0.92, rng.uniform(0.15, 0.5, (VARIANTS, 2))[:, course] + 0.08 * grain)
    if texture == "stone":
        near, second, which = cells(rng, t, 2)
        tone = np.take_along_axis(rng.uniform(0.4, 0.85, (VARIANTS, 4)), which.reshape(VARIANTS, -1), 1).reshape(which.shape)
        return np.where(second - near < 0.2, 0.08, tone - 0.2 * near + 0.06 * grain)
    plank = (3 * y[:, 0]).astype(int)  # wood
    joint = np.arange(t) == rng.integers(0, t, (VARIANTS, 3))[:, plank, None]
    fibre = rng.uniform(-1, 1, (VARIANTS, t, 1)) + 0.3 * grain
    return np.where((3 * y % 1 < 2.97 / t) | joint, 0.06, 0.55 + 0.16 * fibre)


def tiles(texture: int, t: int, rng: np.random.Generator) -> np.ndarray:
    """The texture's bitmaps float32 [V,t,t,3] in 0..255; its colours differ a little from scene to scene."""
    draw = natural if texture < NATURAL else built
    tone = draw(TEXTURES[texture], t, rng).clip(0, 1)[..., None].astype(np.float32)
    dark, middle, light = TONES[texture] * rng.normal(1, 0.05, 3).astype(np.float32) * np.float32(rng.normal(1, 0.05))
    return np.where(tone < 0.5, dark + (middle - dark) * 2 * tone, middle + (light - middle) * (2 * tone - 1))


def smooth(rng: np.random.Generator, rows: int, columns: int, coarse: int = 4) -> np.ndarray:
    """Smooth noise [rows,columns]: normal values on a grid `coarse` times coarser, blended in between."""

    def axis(n):
        place = np.linspace(0, -(-n // coarse) - 0.001, n)
        return place.astype(int), place % 1

    (i, a), (j, b) = axis(rows), axis(columns)
    values, a, b = rng.standard_normal((i[-1] + 2, j[-1] + 2)), (a * a * (3 - 2 * a))[:, None], b * b * (3 - 2 * b)
    over = values[i] * (1 - a) + values[i + 1] * a
    return over[:, j] * (1 - b) + over[:, j + 1] * b


def tile_map(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Which texture lies on every tile, int [rows,columns]: two or three natural ones, and one or two buildings in the corners."""
    grounds = rng.permutation(NATURAL)[: rng.integers(2, 4)]
    walls = NATURAL + rng.permutation(len(TEXTURES) - NATURAL)[: rng.integers(1, 3)]
    ground = grounds[np.stack([smooth(rng, rows, columns) for _ in grounds]).argmax(0)]
    for texture, corner in zip(walls, rng.permutation(4), strict=False):
        high, wide = (max(2, round(rng.uniform(0.35, 0.58) * n)) for n in (rows, columns))
        top, left = (0 if at else n - size for at, n, size in ((corner < 2, rows, high), (corner % 2, columns, wide)))
        top, left = (max(0, at + rng.integers(-1, 2)) for at in (top, left))
        ground[top : top + high, left : left + wide] = texture
    return ground


DAYTIMES = np.array([(1, 1, 1), (1.02, 0.98, 0.9), (1.0, 0.82, 0.72), (0.5, 0.55, 0.78)])  # noon, afternoon, dusk, night


def lighting(rng: np.random.Generator, labels: np.ndarray, t: int) -> np.ndarray:
    """What the colours of a scene with `labels` [H,W] are multiplied by, [H,W,3]."""
    short, (height, width) = min(labels.shape), labels.shape
    y, x = (np.arange(height) + 0.5)[:, None] / short, (np.arange(width) + 0.5) / short
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35)
    light = 1 + slope * (np.cos(angle) * (x - x.mean()) + np.sin(angle) * (y - y.mean()))
    high, shadow, away = np.isin(labels, (1, 5)), np.zeros(labels.shape, bool), max(1, t // 3)  # leaves and brick
    shadow[away:, away:] = high[:-away, :-away]
    daytime = rng.integers(0, 4)
    light = (light * np.where(shadow & ~high, 0.68, 1.0))[..., None] * DAYTIMES[daytime] * rng.uniform(0.9, 1.05)
    for _ in range(rng.integers(1, 4) if daytime >= 2 else rng.integers(0, 2)):
        from_lamp = (y - rng.uniform(0, height / short)) ** 2 + (x - rng.uniform(0, width / short)) ** 2
        glow = np.exp(-from_lamp / rng.uniform(0.15, 0.35) ** 2)
        light = light + glow[..., None] * np.array([0.5, 0.42, 0.25]) * (1 if daytime >= 2 else 0.5)
    return light


SPRITES = (
    "...gggg... ..gGGGgg.. .gGGGgggd. .GGGggggd. gGGgggggdd ggggggdddd .ggddddddd ...dbbd... ....bB.... ...bbBB...",
    "...rrrr... ..rrrrrr.. ..hhssk... ..hsskss.. ...ssss... ..ruuur... .sruuurs.. ..uuuuu... ..uu.uu... ..bb.bb...",
    ".......... ...yyyy... ..yYYyyo.. .yYyooyyo. .yYyoYyyo. .yYyoYyyo. .yYyooyyo. ..yyyyyo.. ...oooo... ..........",
    ".......... .oooooooo. obbbbbbbbo obBBBBBBbo oooooooooo obbbyybbbo obbByyBbbo obbbbbbbbo oooooooooo ..........",
    ".......... .......... ...pppp... ..pPPppp.. .pPpppppp. .ppkppkpp. pppkppkppp pppppppppp pppppppppp .qqqqqqqq.",
    ".......... .......... ..ggg.gg.. .gGGgGGgg. gGGgggGggd gGggrggggd ggggggggdd grgggrgddd .gddddddd. ..........",
)
INKS = {"g": (66, 132, 58), "G": (118, 182, 84), "d": (34, 78, 44), "b": (104, 68, 42), "B": (150, 104, 62), "r": (196, 52, 46),
        "h": (84, 50, 32), "s": (238, 190, 150), "k": (26, 26, 32), "u": (54, 74, 168), "y": (240, 200, 60), "Y": (255, 240, 150),
        "o": (150, 100, 30), "p": (150, 84, 190), "P": (206, 160, 232), "q": (96, 50, 130), ".": (-1, -1, -1)}  # fmt: skip
BITMAPS = np.array([[[INKS[ink] for ink in row] for row in sprite.split()] for sprite in SPRITES], np.float32)  # [6,10,10,3]


def place_sprite(rng: np.random.Generator, image: np.ndarray, t: int) -> None:
    """Put one sprite of t x t pixels somewhere onto `image` [H,W,3], in place."""
    top, left = (rng.integers(0, max(1, n - t + 1)) for n in image.shape[:2])
    view, pixel = image[top : top + t, left : left + t], np.arange(t) * 10 // t
    sprite = BITMAPS[rng.integers(len(BITMAPS))][pixel[:, None], pixel][: view.shape[0], : view.shape[1]]
    np.copyto(view, sprite, where=sprite >= 0)


def checked_size(size) -> tuple[int, int]:
    """`size` as (H, W); InputError unless both are whole numbers from 16 to 4096."""
    both = tuple(size) if isinstance(size, tuple | list) else (size, size)
    if len(both) != 2 or not all(isinstance(n, int | np.integer) and not isinstance(n, bool) and 16 <= n <= 4096 for n in both):
        raise InputError(f"size={size!r}: give the pixels of a side as a whole number from 16 to 4096, or (height, width)")
    return int(both[0]), int(both[1])


def make_scene(seed: int, index: int, size: int | tuple[int, int] = 96) -> tuple[np.ndarray, np.ndarray]:
    """Scene `index` of `seed`, a pure function of both: its image uint8 [H,W,3] and its labels uint8 [H,W], the index in TEXTURES.

    size: pixels of a side, or (H, W); at least 16. InputError for anything else.
    """
    height, width = checked_size(size)
    rng, t = np.random.default_rng([int(seed) % 2**32, int(index) % 2**32]), max(2, round(min(height, width) / TILES))
    rows, columns = -(-height // t) + 1, -(-width // t) + 1
    ground, offset = tile_map(rng, rows, columns), rng.integers(0, t, 2)
    bank = np.zeros((len(TEXTURES), VARIANTS, t, t, 3), np.float32)
    for texture in np.unique(ground):
        bank[texture] = tiles(texture, t, rng)
    y, x = (np.arange(height) + offset[0])[:, None], np.arange(width) + offset[1]
    straight = ground[y // t, x // t]
    a, b = (np.rint(0.18 * t * np.sin(2 * np.pi * along / (k * t) + rng.uniform(0, 6))).astype(int) for along, k in ((x, 2.3), (y, 2.7)))
    wavering = ground[((y + a) // t).clip(0, rows - 1), ((x + b) // t).clip(0, columns - 1)]
    labels = np.where((wavering < NATURAL) & (straight < NATURAL), wavering, straight).astype(np.uint8)
    image = bank[labels, rng.integers(0, VARIANTS, (rows, columns))[y // t, x // t], y % t, x % t]
    light = lighting(rng, labels, t)
    for _ in range(rng.integers(3, 8)):
        place_sprite(rng, image, t)
    return (image * light).clip(0, 255).astype(np.uint8), labels


COLOURS = np.array([(104, 176, 78), (30, 84, 46), (58, 116, 190), (236, 212, 150), (96, 68, 52), (186, 72, 58), (140, 140, 146),
                    (222, 148, 66)], np.uint8)  # of the textures, in pictures of labels  # fmt: skip


def painted(labels) -> np.ndarray:
    """Labels (array or tensor [H,W] of numbers in 0..7) as a picture uint8 [H,W,3]."""
    return COLOURS[np.asarray(labels)]


SPLITS = {"train": 0, "valid": 1, "test": 2}  # their seeds


class Scenes(Dataset):
    """n scenes of a split (train, valid, test) at `size`: (image float32 [3,H,W] in [0,1], labels long [H,W]); held as uint8."""

    def __init__(self, split: str = "train", size: int | tuple[int, int] = 96, n: int = 1000):
        if split not in SPLITS:
            raise InputError(f"split={split!r}: there is {', '.join(SPLITS)}")
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise InputError(f"n={n!r}: the number of scenes is a whole number of at least 1")
        made = [make_scene(SPLITS[split], index, size) for index in range(n)]
        self.images, self.labels = (torch.from_numpy(np.stack(column)) for column in zip(*made, strict=True))

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index) -> tuple[Tensor, Tensor]:
        """Images [B,3,H,W] (channels-last) and labels [B,H,W] of the scenes at `index`."""
        return self.images[index].permute(0, 3, 1, 2).float() / 255, self.labels[index].long()

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        images, labels = self.batch([index])
        return images[0], labels[0]
