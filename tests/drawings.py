"""Random SVG targets of the kinds that the course draws: user interfaces, dashboards, curve drawings and large mixes of them.

`make(kind, seed)` is a pure function of both; what it returns looks like what a designer or a test's author would write.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

KINDS = ("ui", "dashboard", "curves", "large")
INKS = ("#000000", "#111111", "#1f2a44", "#222222", "#2b2d42", "#333333")
THEMES = (  # paper, panel, strong, middle, pale, accents
    ("#ffffff", "#eef1f6", "#2f3e55", "#8d9bb0", "#c3cedd", ("#3a86ff", "#ffb703", "#06a77d")),
    ("#f7f7f2", "#ffffff", "#22333b", "#84a59d", "#d6dcd3", ("#f28482", "#f6bd60", "#52796f")),
    ("#ffffff", "#f5f5f5", "#333333", "#999999", "#cccccc", ("#4a90d9", "#d94a4a", "#50b83c")),
    ("#fafafa", "#ffffff", "#000000", "#777777", "#dddddd", ("#ff6600", "#0066cc", "#339933")),
    ("#1e2430", "#2b3445", "#e8ecf3", "#8794ab", "#465268", ("#4cc9f0", "#f72585", "#90be6d")),
    ("#ffffff", "#fdf1d6", "#5f0f40", "#9a8c98", "#e0d5cf", ("#fb8b24", "#0f4c5c", "#e36414")),
)


def make(kind: str, seed: int) -> tuple[str, int]:
    """The target of `kind` (one of KINDS) and `seed`: its SVG text and the number of elements drawn on its background."""
    draw = {"ui": _ui, "dashboard": _dashboard, "curves": _curves, "large": _large}[kind]
    rng = random.Random(f"{kind} {seed}")
    sheet = draw(rng)
    return sheet.text(), len(sheet.elements)


@dataclass
class Sheet:
    """An SVG under construction; `step` is the raster its coordinates lie on (1, 0.5, or 0 for free fractions)."""

    rng: random.Random
    width: int
    height: int
    paper: str
    step: float
    elements: list[str] = field(default_factory=list)

    def number(self, value: float) -> str:
        value = round(value / self.step) * self.step if self.step else value
        return f"{value:.2f}".rstrip("0").rstrip(".")

    def add(self, name: str, **attributes) -> None:
        words = (
            f'{key.replace("_", "-")}="{self.number(value) if isinstance(value, (int, float)) else value}"'
            for key, value in attributes.items()
        )
        self.elements.append(f"<{name} {' '.join(words)}/>")

    def rect(self, x, y, width, height, fill) -> None:
        self.add("rect", x=x, y=y, width=max(1, width), height=max(1, height), fill=fill)

    def frame(self, x, y, width, height, stroke, stroke_width=1, fill="none") -> None:
        self.add("rect", x=x, y=y, width=width, height=height, fill=fill, stroke=stroke, stroke_width=str(stroke_width))

    def line(self, x1, y1, x2, y2, stroke, stroke_width=1, cap="butt") -> None:
        round_cap = {} if cap == "butt" else {"stroke_linecap": cap}
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, stroke=stroke, stroke_width=str(stroke_width), **round_cap)

    def oval(self, cx, cy, rx, ry, fill="none", stroke=None, stroke_width=1) -> None:
        pen = {} if stroke is None else {"stroke": stroke, "stroke_width": str(stroke_width)}
        if rx == ry:
            self.add("circle", cx=cx, cy=cy, r=rx, fill=fill, **pen)
        else:
            self.add("ellipse", cx=cx, cy=cy, rx=rx, ry=ry, fill=fill, **pen)

    def curve(self, start, bend, end, stroke, stroke_width=3, cap="butt") -> None:
        (x0, y0), (x1, y1), (x2, y2) = (tuple(map(self.number, point)) for point in (start, bend, end))
        round_cap = {} if cap == "butt" else {"stroke_linecap": cap}
        self.add("path", d=f"M {x0} {y0} Q {x1} {y1} {x2} {y2}", fill="none", stroke=stroke, stroke_width=str(stroke_width), **round_cap)

    def polyline(self, points, stroke, stroke_width=2) -> None:
        words = " ".join(f"{self.number(x)},{self.number(y)}" for x, y in points)
        self.add("polyline", points=words, fill="none", stroke=stroke, stroke_width=str(stroke_width))

    def text(self) -> str:
        size = f'width="{self.width}" height="{self.height}"'
        if self.rng.random() < 0.7:
            size += f' viewBox="0 0 {self.width} {self.height}"'
        paper = (
            []
            if self.paper == "#ffffff" and self.rng.random() < 0.5
            else [f'<rect width="{self.width}" height="{self.height}" fill="{self.paper}"/>']
        )
        body = "\n".join(f"  {element}" for element in paper + self.elements)
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'


def _sheet(rng: random.Random, sizes, paper: str) -> Sheet:
    return Sheet(rng, *rng.choice(sizes), paper, rng.choice((1, 1, 1, 0.5, 0)))


def _ui(rng: random.Random) -> Sheet:
    paper, panel, strong, middle, pale, accents = rng.choice(THEMES)
    sheet = _sheet(rng, ((256, 192), (240, 180), (320, 200), (200, 256), (256, 256)), paper)
    width, height, thickness = sheet.width, sheet.height, rng.choice((1, 1.5, 2, 2))
    bar = rng.randint(18, 28)
    _header(sheet, bar, strong, pale, accents)
    left = 0
    if rng.random() < 0.6 and width >= 240:
        left = rng.randint(48, 64)
        sheet.rect(0, bar, left, height - bar, panel if panel != paper else pale)
        _lines_of_text(sheet, 8, bar + 12, left - 16, rng.randint(3, 5), rng.randint(4, 6), middle)
    gap = rng.randint(8, 12)
    columns = 2 if width - left > 170 else 1
    rows = 2 if height < 220 else 3
    card_width = (width - left - gap * (columns + 1)) / columns
    card_height = (height - bar - gap * (rows + 1)) / rows
    cards = [(left + gap + (card_width + gap) * c, bar + gap + (card_height + gap) * r) for r in range(rows) for c in range(columns)]
    kinds = rng.sample(("image", "profile", "text", "form", "icon", "banner"), len(cards) if len(cards) <= 6 else 6)
    for (x, y), kind in zip(cards, kinds, strict=False):
        x, y, w, h = round(x), round(y), round(card_width), round(card_height)
        if len(sheet.elements) > 26:
            break
        if kind != "banner":
            sheet.frame(x, y, w, h, middle, thickness, rng.choice(("none", panel)))
        _card(sheet, kind, x, y, w, h, thickness, panel, strong, middle, pale, accents)
    return sheet


def _header(sheet: Sheet, bar: float, strong: str, pale: str, accents) -> None:
    rng, width = sheet.rng, sheet.width
    sheet.rect(0, 0, width, bar, strong)
    radius = round(bar * 0.28)
    sheet.oval(bar * 0.6, bar / 2, radius, radius, rng.choice(accents))
    sheet.rect(bar * 1.2, round(bar / 2 - 3), rng.randint(width // 8, width // 4), 6, pale)
    if rng.random() < 0.8:
        button = rng.randint(width // 8, width // 5)
        sheet.rect(width - button - 8, round(bar * 0.25), button, round(bar * 0.5), rng.choice(accents))


def _lines_of_text(sheet: Sheet, x, y, width, count, thick, colour) -> None:
    pitch = thick + sheet.rng.randint(5, 9)
    for row in range(count):
        sheet.rect(x, y + row * pitch, round(width * sheet.rng.uniform(0.5, 1)), thick, colour)


def _placeholder(sheet: Sheet, x, y, width, height, stroke, thickness, fill) -> None:
    sheet.frame(x, y, width, height, stroke, thickness, fill)
    sheet.line(x, y, x + width, y + height, stroke, thickness)
    sheet.line(x + width, y, x, y + height, stroke, thickness)


def _card(sheet: Sheet, kind: str, x, y, w, h, thickness, panel, strong, middle, pale, accents) -> None:
    rng = sheet.rng
    if kind == "image":
        side = round(min(h - 14, w * 0.5))
        _placeholder(sheet, x + 7, y + 7, side, h - 14, middle, thickness, rng.choice(("none", pale)))
        _lines_of_text(sheet, x + side + 15, y + 9, w - side - 24, 2 + (h > 60), 5, pale if rng.random() < 0.5 else strong)
    elif kind == "profile":
        radius = round(min(h, w) * rng.uniform(0.16, 0.24))
        sheet.oval(x + radius + 8, y + radius + 8, radius, radius, rng.choice(accents))
        _lines_of_text(sheet, x + 2 * radius + 16, y + radius, w - 2 * radius - 24, 2, 5, strong)
        sheet.line(x + 8, y + h - 12, x + w - 8, y + h - 12, pale, rng.choice((1, 2, 3)))
    elif kind == "text":
        sheet.rect(x + 8, y + 8, w * 0.6, 8, strong)
        _lines_of_text(sheet, x + 8, y + 24, w - 16, 2 + (h > 70), 4, middle)
    elif kind == "form":
        field_height = min(14, (h - 22) / 3)
        for row in range(2):
            sheet.frame(x + 8, y + 8 + row * (field_height + 5), w - 16, field_height, middle, thickness)
        sheet.rect(x + 8, y + 8 + 2 * (field_height + 5), w * 0.4, field_height, rng.choice(accents))
    elif kind == "icon":
        cx, cy, r = x + w / 2, y + h * 0.45, min(w, h) * 0.3
        cap = rng.choice(("butt", "round"))
        sheet.oval(round(cx), round(cy), round(r), round(r), rng.choice(("none", panel)), strong, rng.choice((2, 3)))
        colour = rng.choice(accents)
        sheet.line(cx - r * 0.5, cy, cx - r * 0.1, cy + r * 0.4, colour, 3, cap)
        sheet.line(cx - r * 0.1, cy + r * 0.4, cx + r * 0.5, cy - r * 0.4, colour, 3, cap)
    else:
        sheet.rect(x, y, w, h, rng.choice(accents))
        sheet.rect(x + 8, y + 8, w * 0.55, 7, panel)
        sheet.line(x + 10, y + h - 10, x + w - 10, y + h * 0.45, strong, rng.choice((2, 3, 4)), rng.choice(("butt", "round")))


def _dashboard(rng: random.Random) -> Sheet:
    paper, panel, strong, middle, pale, accents = rng.choice(THEMES)
    sheet = _sheet(rng, ((320, 180), (300, 200), (256, 192), (360, 180), (320, 240)), paper)
    width, height = sheet.width, sheet.height
    tiles, gap = rng.randint(2, 4), rng.randint(6, 10)
    tile_width = (width - gap * (tiles + 1)) / tiles
    tile_height = rng.randint(28, 38)
    edge = rng.choice((0, 1, 1, 2))
    for index in range(tiles):
        x = round(gap + index * (tile_width + gap))
        if edge:
            sheet.frame(x, gap, round(tile_width), tile_height, pale, edge, panel)
        else:
            sheet.rect(x, gap, round(tile_width), tile_height, panel if panel != paper else pale)
        sheet.rect(x + 7, gap + 7, round(tile_width * rng.uniform(0.3, 0.5)), 4, middle)
        sheet.rect(x + 7, gap + 16, round(tile_width * rng.uniform(0.4, 0.7)), 8, rng.choice((strong, *accents)))
    top = gap * 2 + tile_height
    ring = rng.random() < 0.75
    chart_width = round(width * (0.62 if ring else 1) - gap * (1.5 if ring else 2))
    _chart(sheet, gap, top, chart_width, height - top - gap, rng.randint(4, 6 if tiles < 4 else 5), panel, strong, middle, pale, accents)
    if ring:
        x, space = gap * 2 + chart_width, width - chart_width - gap * 3
        radius = round(min(space * 0.36, (height - top) * 0.3))
        cx, cy = round(x + space / 2), round(top + (height - top) * 0.42)
        sheet.oval(cx, cy, radius, radius, "none", rng.choice(accents), rng.randint(4, max(5, radius // 2)))
        if rng.random() < 0.5:
            inner = round(radius * 0.3)
            sheet.oval(cx, cy, inner, inner, strong)
        for row in range(rng.randint(1, 3) if len(sheet.elements) < 26 else 1):
            y = round(cy + radius + 16 + row * 10)
            if y + 6 < height - gap:
                sheet.rect(cx - radius, y, 6, 6, rng.choice(accents))
                sheet.rect(cx - radius + 10, y + 1, rng.randint(radius, 2 * radius), 4, middle)
    spare = [index for index in range(tiles) if tile_width > 60]
    while len(sheet.elements) < 20 and spare:
        x = round(gap + spare.pop() * (tile_width + gap) + tile_width)
        sheet.oval(x - 12, gap + tile_height / 2, 6, 6, rng.choice(accents))
    return sheet


def _chart(sheet: Sheet, x, y, w, h, bars, panel, strong, middle, pale, accents) -> None:
    rng = sheet.rng
    if rng.random() < 0.6:
        sheet.rect(x, y, w, h, panel)
    left, bottom, top, right = x + 10, y + h - 10, y + 8, x + w - 8
    shift = rng.choice((0, 0.5))
    rows = rng.randint(2, 4)
    for row in range(rows):
        height = round(top + (bottom - top) * (row + 0.3) / rows) + shift
        sheet.line(left, height, right, height, pale, 1)
    axis = rng.choice((1, 2, 2, 3))
    sheet.line(left, top, left, bottom, strong, axis)
    sheet.line(left, bottom, right, bottom, strong, axis)
    pitch = (right - left - 8) / bars
    tops = [bottom - (bottom - top) * rng.uniform(0.25, 0.9) for _ in range(bars)]
    fill = rng.choice(accents)
    style = rng.choice(("bars", "bars and line", "bars and line", "line"))
    if style != "line":
        highlight = rng.choice((fill, strong, rng.choice(accents)))
        for index, height in enumerate(tops):
            height = round(height)
            sheet.rect(
                round(left + 6 + index * pitch),
                height,
                round(pitch * 0.6),
                bottom - axis / 2 - height,
                highlight if index == bars - 1 else fill,
            )
    if rng.random() < 0.5 and len(sheet.elements) + 2 * bars < 30:
        for index in range(bars):
            sheet.rect(round(left + 6 + index * pitch), bottom + 4, round(pitch * 0.5), 3, middle)
    if style != "bars":
        count = bars if style != "line" else bars + 3
        pitch = (right - left - 8) / count
        points = [(left + 6 + (index + 0.3) * pitch, bottom - (bottom - top) * rng.uniform(0.2, 0.95)) for index in range(count)]
        colour, thick = rng.choice([accent for accent in accents if accent != fill]), rng.choice((1.5, 2, 2, 3))
        if rng.random() < 0.4 or len(sheet.elements) > 24:
            sheet.polyline(points, colour, thick)
        else:
            for (x1, y1), (x2, y2) in zip(points, points[1:], strict=False):
                sheet.line(x1, y1, x2, y2, colour, thick)
        if rng.random() < 0.4 and len(sheet.elements) < 25:
            for px, py in points[:4]:
                sheet.oval(px, py, thick + 1, thick + 1, colour)


def _curves(rng: random.Random) -> Sheet:
    sheet = _sheet(
        rng, ((256, 256), (256, 256), (240, 240), (300, 200), (200, 280)), rng.choice(("#ffffff", "#ffffff", "#fdfcf7", "#f4f1e8"))
    )
    ink = rng.choice(INKS)
    inks = [ink] * 3 + (
        rng.sample(("#d1495b", "#00798c", "#edae49", "#2a6f97", "#e07a1f", "#386641"), rng.choice((1, 2))) if rng.random() < 0.5 else []
    )
    thick = rng.choice((2, 2.5, 3, 3, 4, 5))
    cap = rng.choice(("butt", "butt", "round"))
    pen = {"inks": inks, "thick": lambda: max(1, thick + rng.choice((-1, 0, 0, 0, 1))), "cap": cap}
    rng.choice((_face, _landscape, _flower, _scribble, _fish))(sheet, pen)
    while len(sheet.elements) < 10:
        _loose_curve(sheet, pen)
    return sheet


def _stroke(sheet: Sheet, pen, start, bend, end) -> None:
    sheet.curve(start, bend, end, sheet.rng.choice(pen["inks"]), pen["thick"](), pen["cap"])


def _loose_curve(sheet: Sheet, pen) -> None:
    """A curve of a good length anywhere on the sheet, bent to one side."""
    rng, w, h = sheet.rng, sheet.width, sheet.height
    while True:
        x0, x2 = rng.uniform(10, w - 10), rng.uniform(10, w - 10)
        y0, y2 = rng.uniform(10, h - 10), rng.uniform(10, h - 10)
        length = math.hypot(x2 - x0, y2 - y0)
        if length > 0.35 * min(w, h):
            break
    bend = rng.choice((-1, 1)) * rng.uniform(0.2, 0.7)
    x1, y1 = (x0 + x2) / 2 - (y2 - y0) * bend, (y0 + y2) / 2 + (x2 - x0) * bend
    _stroke(sheet, pen, (x0, y0), (min(max(x1, 4), w - 4), min(max(y1, 4), h - 4)), (x2, y2))


def _scribble(sheet: Sheet, pen) -> None:
    for _ in range(sheet.rng.randint(8, 12)):
        _loose_curve(sheet, pen)
    for _ in range(sheet.rng.randint(2, 4)):
        _ring(sheet, pen, sheet.rng.uniform(0.2, 0.8), sheet.rng.uniform(0.2, 0.8), sheet.rng.uniform(0.06, 0.16))


def _ring(sheet: Sheet, pen, x, y, radius, squash=None) -> None:
    rng, side = sheet.rng, min(sheet.width, sheet.height)
    rx = round(radius * side)
    ry = round(rx * (squash or rng.choice((1, 1, 0.6, 0.75))))
    sheet.oval(x * sheet.width, y * sheet.height, rx, ry, "none", rng.choice(pen["inks"]), pen["thick"]())


def _face(sheet: Sheet, pen) -> None:
    rng, w, h = sheet.rng, sheet.width, sheet.height
    side = min(w, h)

    def at(x, y):
        return w / 2 + x * side, h / 2 + y * side

    _ring(sheet, pen, 0.5, 0.5, 0.38, rng.choice((1, 1.0, 1.15)))
    for sign in (-1, 1):
        x = sign * rng.uniform(0.14, 0.18)
        cx, cy = at(x, -0.08)
        sheet.oval(cx, cy, round(side * 0.05), round(side * rng.choice((0.05, 0.03))), "none", pen["inks"][0], pen["thick"]())
        sheet.oval(cx, cy, 3, 3, pen["inks"][0])
        _stroke(sheet, pen, at(x - 0.08, -0.17), at(x, -0.17 - rng.uniform(0.03, 0.09)), at(x + 0.08, -0.17))
    _stroke(sheet, pen, at(0.01, -0.06), at(0.09, 0.08), at(-0.02, 0.07))
    smile = rng.uniform(0.05, 0.22)
    _stroke(sheet, pen, at(-0.18, 0.15), at(0, 0.15 + smile), at(0.18, 0.15))
    if rng.random() < 0.5:
        _stroke(sheet, pen, at(-0.18, 0.15), at(0, 0.15 + smile / 3), at(0.18, 0.15))
    for lock in range(rng.randint(3, 6)):
        x = -0.3 + 0.12 * lock
        _stroke(sheet, pen, at(x, -0.25), at(x + rng.uniform(-0.12, 0.1), -0.5), at(x + 0.16, -0.3))


def _landscape(sheet: Sheet, pen) -> None:
    rng, w, h = sheet.rng, sheet.width, sheet.height
    _ring(sheet, pen, rng.uniform(0.15, 0.85), 0.2, rng.uniform(0.07, 0.11), 1)
    horizon = h * rng.uniform(0.58, 0.68)
    for _ in range(rng.randint(2, 3)):
        x, wide = rng.uniform(0, w * 0.55), rng.uniform(0.35, 0.5) * w
        _stroke(sheet, pen, (x, horizon), (x + wide / 2, horizon - rng.uniform(0.5, 0.9) * h), (x + wide, horizon + 4))
    _stroke(sheet, pen, (4, horizon), (w / 2, horizon - rng.uniform(-20, 20)), (w - 4, horizon + 3))
    for row in range(rng.randint(2, 4)):
        y, x = horizon + (row + 1) * (h - horizon) / 5.5, rng.uniform(0.04, 0.3) * w
        _stroke(sheet, pen, (x, y), (x + w * 0.3, y - rng.uniform(14, 30)), (x + w * 0.6, y + 2))
    for _ in range(rng.randint(1, 2)):
        x, y = rng.uniform(0.1, 0.8) * w, rng.uniform(0.08, 0.25) * h
        _stroke(sheet, pen, (x - 24, y), (x - 10, y - 16), (x, y))
        _stroke(sheet, pen, (x, y), (x + 12, y - 18), (x + 26, y - 2))
    x = rng.uniform(0.3, 0.7) * w
    sheet.line(x, h * 0.85, x, h * 0.6, pen["inks"][0], pen["thick"](), pen["cap"])
    _stroke(sheet, pen, (x - 34, h * 0.85), (x, h * 0.97), (x + 36, h * 0.85))
    sheet.line(x - 34, h * 0.85, x + 36, h * 0.85, pen["inks"][0], pen["thick"](), pen["cap"])
    _stroke(sheet, pen, (x, h * 0.6), (x + 34, h * 0.7), (x + 20, h * 0.82))


def _flower(sheet: Sheet, pen) -> None:
    rng, w, h = sheet.rng, sheet.width, sheet.height
    cx, cy, reach = w / 2, h * 0.38, min(w, h) * rng.uniform(0.24, 0.3)
    petals, turn = rng.randint(5, 7), rng.uniform(0, 1)
    sheet.oval(cx, cy, round(reach * 0.3), round(reach * 0.3), "none", pen["inks"][-1], pen["thick"]())
    for petal in range(petals):
        angle = 2 * math.pi * (petal + turn) / petals
        half = math.pi / petals
        points = [
            (cx + reach * length * math.cos(angle + a), cy + reach * length * math.sin(angle + a))
            for a, length in ((-half, 0.4), (0, 1.9), (half, 0.4))
        ]
        _stroke(sheet, pen, *points)
    _stroke(sheet, pen, (cx, cy + reach * 0.4), (cx + rng.uniform(-30, 30), h * 0.75), (cx + rng.uniform(-10, 10), h - 8))
    for sign in (-1, 1):
        y = h * rng.uniform(0.75, 0.85)
        _stroke(sheet, pen, (cx, y), (cx + sign * w * 0.16, y - h * 0.18), (cx + sign * w * 0.28, y - h * 0.06))
        _stroke(sheet, pen, (cx, y), (cx + sign * w * 0.2, y + h * 0.06), (cx + sign * w * 0.28, y - h * 0.06))
    if rng.random() < 0.5:
        sheet.line(w * 0.1, h - 8, w * 0.9, h - 8, pen["inks"][0], pen["thick"](), pen["cap"])


def _fish(sheet: Sheet, pen) -> None:
    rng, w, h = sheet.rng, sheet.width, sheet.height

    def at(x, y):
        return w * x, h * (0.5 + y)

    deep = rng.uniform(0.3, 0.5)
    _stroke(sheet, pen, at(0.08, 0), at(0.42, -deep), at(0.92, 0.15))
    _stroke(sheet, pen, at(0.08, 0), at(0.42, deep), at(0.92, -0.15))
    _stroke(sheet, pen, at(0.92, -0.15), at(0.82, 0), at(0.92, 0.15))
    _stroke(sheet, pen, at(0.27, -0.12), at(0.36, 0), at(0.27, 0.12))
    _stroke(sheet, pen, at(0.4, -0.16), at(0.55, -0.36), at(0.62, -0.09))
    _stroke(sheet, pen, at(0.42, 0.02), at(0.55, 0.12), at(0.6, -0.02))
    _ring(sheet, pen, 0.2, 0.46, 0.035, 1)
    for index in range(rng.randint(2, 4)):
        _ring(sheet, pen, 0.07 + 0.05 * index, 0.3 - 0.07 * index, rng.uniform(0.02, 0.045), 1)
    for row in range(rng.randint(2, 3)):
        y = 0.3 + row * 0.08
        _stroke(sheet, pen, at(0.1 + row * 0.1, y), at(0.4, y - 0.12), at(0.7 + row * 0.1, y))
    weed = rng.uniform(0.7, 0.85)
    _stroke(sheet, pen, at(weed, 0.48), at(weed + 0.12, 0.3), at(weed, 0.2))
    sheet.line(w * 0.04, h * 0.98 - 3, w * 0.96, h * 0.98 - 3, pen["inks"][-1], pen["thick"](), pen["cap"])


def _large(rng: random.Random) -> Sheet:
    paper, panel, strong, middle, pale, accents = rng.choice(THEMES)
    sheet = Sheet(rng, 512, 512, paper, rng.choice((1, 1, 0.5, 0)))
    thickness = rng.choice((1.5, 2, 3))
    _header(sheet, rng.randint(36, 52), strong, pale, accents)
    _chart(sheet, 16, 70, rng.choice((300, 480)), 180, rng.randint(4, 5), panel, strong, middle, pale, accents)
    _placeholder(sheet, 20, 280, rng.randint(120, 190), rng.randint(90, 140), middle, thickness, rng.choice(("none", panel)))
    radius = rng.randint(36, 54)
    sheet.oval(412, 340, radius, radius, "none", rng.choice(accents), rng.randint(10, 24))
    _lines_of_text(sheet, 20, 445, 200, 3, rng.choice((6, 8)), middle)
    sheet.frame(300, 430, 190, 64, middle, thickness, panel)
    pen = {"inks": [strong, *accents[:2]], "thick": lambda: rng.choice((2, 3, 4)), "cap": rng.choice(("butt", "round"))}
    for index in range(rng.randint(3, 5)):
        x, y = 232 + 18 * index, 420 - 26 * index
        _stroke(
            sheet, pen, (x, y), (x + rng.uniform(20, 60), y - rng.uniform(50, 90)), (x + rng.uniform(70, 110), y - rng.uniform(-10, 20))
        )
    _stroke(sheet, pen, (310, 480), (395, 390), (480, 480))
    sheet.oval(330, 448, 10, 6, rng.choice(accents))
    sheet.rect(440, 440, 40, 16, rng.choice(accents))
    return sheet
