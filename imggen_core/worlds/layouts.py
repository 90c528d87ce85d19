"""Designs before they are drawn: the words for them, boxes, what the boxes of a design share, and how they are placed."""

import math
import numbers
from dataclasses import dataclass, replace

import numpy as np

from ..kit.settings import InputError, nearest
from .palette import BOARD, INKS, PAGES, PAPER

GOALS = ("sell", "announce", "inform", "showcase")
FORMATS = ("poster", "card", "banner")
SCORES = ("alignment", "contrast", "whitespace", "hierarchy")
KNOBS = ("tone", "disorder", "legibility", "air", "scale")  # each in [0,1]
LETTERED = 0.055  # from this line height (a share of the canvas) on, words are cut into letters
PAGE_SHAPES = {"poster": (0.74, 0.96, 0.0), "card": (0.94, 0.72, 0.06), "banner": (1.0, 0.52, 0.0)}  # w, h, radius of the corners


@dataclass(frozen=True)
class Box:
    """One element of a layout. Lengths are shares of the canvas: x and w of its width, y, h and line_height of its height."""

    kind: str  # "text", "image" or "shape"
    role: str  # "headline", "body", "caption", "picture", "button" or "badge"
    w: float
    h: float
    x: float = 0.0  # left edge
    y: float = 0.0  # upper edge
    fill: int = -1  # colour id of a shape; -1: none
    ink: int = -1  # colour id of the letters
    line_height: float = 0.0
    pitch: float = 1.9  # from line to line, in line heights
    widths: tuple = ()  # of each line of text, as a share of w
    align: float = 0.0  # of the lines in the box: 0 left, 0.5 centred
    seed: int = 0  # of what is drawn inside

    def lines(self) -> np.ndarray:
        """x, y, w, h of each line of text [n,4], as shares of the canvas; the lines stand in the middle of the box's height."""
        n = len(self.widths)
        if not n:
            return np.zeros((0, 4))
        w = np.array(self.widths) * self.w
        h = self.line_height * (1 + (n - 1) * self.pitch)
        y = self.y + (self.h - h) / 2 + self.line_height * self.pitch * np.arange(n)
        return np.stack([self.x + self.align * (self.w - w), y, w, np.full(n, self.line_height)], axis=1)


@dataclass(frozen=True)
class Layout:
    """A design before it is drawn. `page` and `stripe` are x, y, w, h as shares of the canvas; colours are ids into `colours`."""

    seed: int
    index: int
    goal: str
    format: str
    tone: float  # 0 calm … 1 energetic
    page: tuple
    radius: float  # of the page's corners, a share of the canvas's width
    background: int  # the page's colour
    accent: int
    stripe: tuple
    boxes: tuple
    colours: np.ndarray  # [C,3] in [0,1]: the palette, a little off in each design

    def nudge(self, number: int, dx: float = 0.0, dy: float = 0.0) -> "Layout":
        """The same layout with box `number` moved by (dx, dy), in shares of the canvas."""
        moved = replace(self.boxes[number], x=self.boxes[number].x + dx, y=self.boxes[number].y + dy)
        return replace(self, boxes=self.boxes[:number] + (moved,) + self.boxes[number + 1 :])


def new_seed(rng) -> int:
    """The seed of what is drawn inside a box."""
    return int(rng.integers(1 << 30))


def text_box(rng, role: str, line_height: float, w: float, lines: int, ink: int, align: float, pitch: float = 1.9) -> Box:
    """A block of `lines` lines of text, ragged like real ones, not yet placed."""
    widths = rng.uniform(0.72, 1, lines)
    widths[rng.integers(lines)] = 1
    if lines > 2:
        widths[-1] *= rng.uniform(0.5, 0.9)
        widths[0] = 1
    h = line_height * (1 + (lines - 1) * pitch)
    return Box("text", role, w, h, ink=ink, line_height=line_height, pitch=pitch, widths=tuple(widths), align=align, seed=new_seed(rng))


def picture_box(rng, w: float, h: float) -> Box:
    """A picture, not yet placed."""
    return Box("image", "picture", w, h, seed=new_seed(rng))


@dataclass
class Style:
    """What the boxes of one design share."""

    rng: np.random.Generator
    format: str
    body: float  # line height of body text, a share of the canvas
    head: float  # line height of the headline
    ink: int
    head_ink: int
    accent: int
    on_accent: int
    align: float  # 0 left, 0.5 centred
    air: float  # how much room is left free: 0..1
    gap: float = 0.082  # between boxes, a share of the canvas

    def headline(self, w: float, lines: int = 1) -> Box:
        return text_box(self.rng, "headline", self.head, w, lines, self.head_ink, self.align, pitch=max(1.45, 1 + 0.04 / self.head))

    def paragraph(self, w: float, lines: int, role: str = "body") -> Box:
        return text_box(self.rng, role, self.body, w, lines, self.ink, self.align)

    def label(self, role: str, w: float, h: float, lines: int) -> Box:
        """A button or a badge in the accent colour."""
        look = {"fill": self.accent, "ink": self.on_accent, "line_height": self.body, "pitch": 1.75, "align": 0.5}
        return Box("shape", role, w, h, widths=(0.56,) if lines == 1 else (0.5, 0.66), seed=new_seed(self.rng), **look)

    def share_of_width(self) -> float:
        """How much of its column a block of text takes."""
        return self.rng.uniform(0.62, 1.0)

    def share_of_room(self) -> float:
        """How much of its room a picture takes."""
        return 1.0 - 0.62 * self.air * self.rng.uniform(0.6, 1)


def stack(boxes, column: tuple, gap: float, align: float, spread: float) -> list[Box]:
    """Place `boxes` under one another in `column`, `gap` apart; what room is left widens the gaps by the share `spread`."""
    x0, y0, x1, y1 = column
    free = (y1 - y0) - sum(box.h for box in boxes) - gap * (len(boxes) - 1)
    extra = max(free, 0) * spread / max(len(boxes), 1)
    y, placed = y0 + extra / 2, []
    for box in boxes:
        placed.append(replace(box, x=x0 + align * (x1 - x0 - box.w), y=y))
        y += box.h + gap + extra
    return placed


def room(boxes, column: tuple, gap: float) -> float:
    """The height that `boxes` and the gap after each leave in `column`; negative where they do not fit."""
    return column[3] - column[1] - sum(box.h + gap for box in boxes)


def those_that_fit(boxes: list, column: tuple, gap: float) -> list[Box]:
    """As many of `boxes`, from the front, as `column` has room for; at least one."""
    while len(boxes) > 1 and room(boxes, column, gap) < -gap:
        boxes = boxes[:-1]
    return boxes


def side_by_side(rng, column: tuple, share: float) -> tuple[tuple, tuple]:
    """Two columns with a gutter between; the first takes `share` of the width and lies right or left."""
    x0, y0, x1, y1 = column
    if rng.random() < 0.5:
        middle = x1 - share * (x1 - x0)
        return (middle + 0.043, y0, x1, y1), (x0, y0, middle - 0.043, y1)
    middle = x0 + share * (x1 - x0)
    return (x0, y0, middle - 0.043, y1), (middle + 0.043, y0, x1, y1)


def scatter(rng, boxes: list, column: tuple, amplitude: float) -> list[Box]:
    """Move each box sideways by up to `amplitude`, inside the column and clear of its neighbours."""
    moves = rng.uniform(-1, 1, len(boxes))
    placed = list(boxes)
    for number in rng.permutation(len(placed)):
        box = placed[number]
        beside = [other for other in placed if other is not box and other.y < box.y + box.h + 0.02 and box.y < other.y + other.h + 0.02]
        low = max([column[0], *(other.x + other.w + 0.085 for other in beside if other.x < box.x)])
        high = min([column[2], *(other.x - 0.085 for other in beside if other.x > box.x)]) - box.w
        x = box.x + amplitude * moves[number]
        placed[number] = replace(box, x=float(np.clip(x, min(low, box.x), max(high, box.x))))
    return placed


def drawn_knobs(rng) -> dict:
    """Goal, format, tone and the four knobs as chance gives them."""
    return {"goal": GOALS[rng.integers(4)], "format": FORMATS[rng.integers(3)], "tone": rng.random(), "disorder": rng.random(),
            "legibility": rng.random(), "air": rng.random() ** 1.4, "scale": rng.random()}  # fmt: skip


def checked_knobs(knobs: dict) -> dict:
    """InputError unless every knob is known, goal and format are, and the others lie in [0,1]."""
    for name, value in knobs.items():
        if name in ("goal", "format"):
            known = GOALS if name == "goal" else FORMATS
            if value not in known:
                raise InputError(f"{name}={value!r}: no such {name} — {nearest(value, known)}")
        elif name not in KNOBS:
            raise InputError(f"{name}: no such knob of a design — {nearest(name, ('goal', 'format', *KNOBS))}")
        elif not isinstance(value, numbers.Real) or not 0 <= value <= 1:
            raise InputError(f"{name}={value!r}: must be a number from 0 to 1")
    return knobs


def choose_background(rng, against: np.ndarray) -> int:
    """A page colour that differs from the accent, given the contrast ratio `against` it of each colour; dark pages are rarer."""
    return int(rng.choice([page for page in PAGES if against[page] > 1.5 and (page > BOARD or rng.random() < 0.6)] or [PAPER]))


def inks_by_fit(against: np.ndarray, accent: int, legibility: float) -> np.ndarray:
    """The inks that can be seen on a page, given the contrast ratio `against` it of each colour; best fit first.

    legibility: in [0,1], asks for a contrast ratio from 1.6 to 15; `accent` is no ink.
    """
    inks = np.array([ink for ink in INKS if against[ink] > 1.45 and ink != accent])
    wanted = math.log(1.6) + (math.log(15) - math.log(1.6)) * legibility
    return inks[np.argsort(np.abs(np.log(against[inks]) - wanted), kind="stable")]


def page_of(rng, format: str) -> tuple[tuple, float]:
    """The page (x, y, w, h) of a format, in the middle of the canvas, and the radius of its corners."""
    w, h, radius = PAGE_SHAPES[format]
    h *= rng.uniform(0.96, 1.02)
    return ((1 - w) / 2, (1 - h) / 2, w, h), radius


def stripe_and_column(page: tuple, margin: float, thick: float, format: str) -> tuple[tuple, tuple]:
    """The stripe on the page (on top of a poster, else on the left), and the column that the margins leave beside it."""
    x, y, w, h = page
    if format == "poster":
        return (x, y, w, thick), (x + margin, y + margin + thick, x + w - margin, y + h - margin)
    return (x, y, thick, h), (x + margin + thick, y + margin, x + w - margin, y + h - margin)
