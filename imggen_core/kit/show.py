"""Every figure of the course in one look: pictures large enough to see, curves with their names at their ends, tables.

A picture is a tensor [3,H,W], an array [H,W,3] or [H,W] or a PIL image, floats in [0,1] or bytes (`images.as_array`).
Each function returns what a notebook shows when it is the last line of a cell; titles state the finding.
"""

import html
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Rectangle
from matplotlib.textpath import text_to_path
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter
from PIL import Image

from . import images

INK, PALE = "#2b2f36", "#d9dce1"
COLOURS = ("#3a6ea5", "#d07a2d", "#4b9b6e", "#b5495b", "#7d67a8", "#8a8f98", "#2a9aa8", "#a58a3a")
LOOK = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": INK,
    "axes.titlesize": 10, "axes.titlelocation": "left", "axes.titlecolor": INK, "axes.labelcolor": INK, "axes.labelsize": 9,
    "axes.edgecolor": "#9aa0a8", "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.xmargin": 0.01, "axes.grid": True, "axes.axisbelow": True, "grid.color": "#eceef1", "grid.linewidth": 0.8,
    "xtick.color": "#6b7078", "ytick.color": "#6b7078", "xtick.labelsize": 8, "ytick.labelsize": 8,
    "lines.linewidth": 1.6, "lines.solid_capstyle": "round", "figure.facecolor": "white", "axes.facecolor": "white",
}  # fmt: skip
WIDTH, HEIGHT, GAP = 800, 400, 8  # a figure's width, a picture's greatest height and the gap between pictures, in screen pixels
SHARP = 2  # device pixels per screen pixel, so that text is crisp on dense screens
DPI = 100 * SHARP
SMALL = 96  # a picture with no longer side is small: its pixels are shown as squares, three times their size where there is room
EDGE = 2  # device pixels around pictures, for the pale line that parts a white picture from a white page


class Drawing(Figure):
    """A figure that no pyplot knows, so that a notebook shows it once, as a small PNG at half its pixel size."""

    def png(self) -> bytes:
        """The figure as PNG: pictures exact up to 100 kB, then in 256 colours, 128 or 64; curves in 96."""
        canvas = FigureCanvasAgg(self)
        canvas.draw()
        picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
        if not any(axes.images for axes in self.axes):
            return _png(_in_colours(picture, 96))
        file = _png(picture)
        for colours, limit in ((256, 100_000), (128, 100_000), (64, 250_000)):
            if len(file) >= limit:
                file = _png(_in_colours(picture, colours))
        return file

    def _ipython_display_(self):
        # not _repr_png_: once anything imports pyplot, IPython would crop and rescale every figure its own way
        from IPython.display import display

        width, height = (round(inches * self.dpi / SHARP) for inches in self.get_size_inches())
        display(
            {"image/png": self.png(), "text/plain": f"<figure {width}x{height}>"},
            metadata={"image/png": {"width": width, "height": height}},
            raw=True,
        )


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=9)
    return file.getvalue()


def _in_colours(picture: Image.Image, colours: int) -> Image.Image:
    return picture.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)


def pixels(image) -> np.ndarray:
    """Any picture as uint8 [H,W,3]; what lies outside [0,1] is clipped, NaN is drawn magenta so that it does not hide."""
    values = np.asarray(images.as_array(image), np.float32)
    if not values.size:
        raise ValueError(f"a picture of the shape {list(np.shape(image))} has no pixels")
    picture = images.to_uint8(values)
    if (missing := np.isnan(values).any(-1)).any():
        picture[missing] = (255, 0, 255)
    return picture


def fitted(picture: np.ndarray, width: int, height: int, unused: float = 0.25) -> np.ndarray:
    """`picture` [H,W,3] for a cell of width x height screen pixels, in device pixels.

    Each pixel is repeated a whole number of times where that leaves at most the share `unused` of the cell free; otherwise a small picture
    is enlarged by the fraction, some of its pixels once more than others, and a large one smoothly. What is too large is averaged down.
    """
    h, w = picture.shape[:2]
    exact = min(width * SHARP / w, height * SHARP / h, 32 * SHARP)
    if (times := int(exact)) and times >= (1 - unused) * exact:
        return picture.repeat(times, 0).repeat(times, 1)
    size = max(1, round(w * exact)), max(1, round(h * exact))
    if exact > 1 and max(h, w) <= SMALL:
        rows, columns = (np.arange(new) * old // new for new, old in zip(size[::-1], (h, w), strict=True))
        return picture[rows[:, None], columns]
    way = Image.Resampling.BICUBIC if exact > 1 else Image.Resampling.BOX
    return np.asarray(Image.fromarray(picture).resize(size, way))


def grid(pictures: Iterable, titles: Sequence[str] | None = None, columns: int | None = None, title: str | None = None) -> Drawing:
    """Pictures in rows; `titles` stand over each, `title` (the finding) over all.

    Without `columns`, a row has at most eight, and so few that small pictures (96 pixels) stand at three times their size.
    """
    pictures = [pixels(picture) for picture in pictures]
    if not pictures:
        raise ValueError("there is no picture to show: the list is empty")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"{len(titles)} titles for {len(pictures)} pictures: give one for each")
    columns = min(columns or _columns(pictures, 8), len(pictures))
    cell = max(1, (WIDTH - GAP * (columns - 1)) // columns)
    return _sheet([fitted(picture, min(cell, HEIGHT), HEIGHT) for picture in pictures], titles, columns, title)


def _columns(pictures: list[np.ndarray], most: int) -> int:
    """At most `most` pictures a row, so few that small ones stand at three times their size and others are not tiny, in even rows."""
    side = max(picture.shape[1] for picture in pictures)
    small = max(max(picture.shape[:2]) for picture in pictures) <= SMALL
    most = max(1, min(most, (WIDTH + GAP) // ((3 * side if small else min(side, 256)) + GAP)))
    rows = math.ceil(len(pictures) / most)
    return math.ceil(len(pictures) / rows)


def _sheet(pictures: list[np.ndarray], titles: Sequence[str] | None, columns: int, title: str | None) -> Drawing:
    """Pictures already in device pixels, placed so that each of their pixels is one of the figure's."""
    wide, high = (max(picture.shape[axis] for picture in pictures) for axis in (1, 0))
    captions = [_wrapped(text, (WIDTH - GAP * (columns - 1)) // columns, 8) for text in titles or ()]
    wide = max([wide, *(_width(text, 8) * SHARP for text in captions)])
    title = _wrapped(title or "", WIDTH, 10)
    caption = max((15 * SHARP * (text.count("\n") + 1) for text in captions), default=0)
    heading = (22 + 18 * title.count("\n")) * SHARP if title else 0
    gap, rows = GAP * SHARP, math.ceil(len(pictures) / columns)
    total_wide = max(columns * (wide + gap) - gap, _width(title, 10) * SHARP) + 2 * EDGE
    total_high = heading + rows * (caption + high + gap) - gap + 2 * EDGE
    with rc_context(LOOK):
        figure = Drawing(figsize=(total_wide / DPI, total_high / DPI), dpi=DPI)
        for i, picture in enumerate(pictures):
            left = EDGE + (i % columns) * (wide + gap)
            top = EDGE + heading + (i // columns) * (caption + high + gap) + caption
            h, w = picture.shape[:2]
            bottom = total_high - top - h
            axes = figure.add_axes((left / total_wide, bottom / total_high, w / total_wide, h / total_high))
            axes.imshow(picture, interpolation="nearest", aspect="auto", interpolation_stage="data")
            axes.set_axis_off()
            edge = (left - 1) / total_wide, (bottom - 1) / total_high, (w + 2) / total_wide, (h + 2) / total_high
            figure.add_artist(Rectangle(edge[:2], *edge[2:], facecolor=PALE, zorder=-1))
            if captions:
                place = left / total_wide, 1 - (top - 4 * SHARP) / total_high
                figure.text(*place, captions[i], fontsize=8, va="bottom", color="#555b64")
        if title:
            figure.text(EDGE / total_wide, 1 - EDGE / total_high, title, fontsize=10, va="top", color=INK)
    return figure


def _width(text: str, points: float) -> int:
    """The screen pixels that the longest line of a text takes."""
    font = FontProperties(family=LOOK["font.family"], size=points)
    widths = [text_to_path.get_text_width_height_descent(line, font, ismath=False)[0] for line in text.split("\n")]
    return math.ceil(max(widths) * 1.03 * 100 / 72)  # hinted letters stand up to 3 % wider


def _wrapped(text: str, width: int, points: float) -> str:
    """The text with line breaks between words, so that it is at most `width` screen pixels wide."""
    lines = []
    for given in str(text).split("\n"):
        lines.append("")
        for word in given.split():
            longer = f"{lines[-1]} {word}".strip()
            if lines[-1] and _width(longer, points) > width:
                lines.append(word)
            else:
                lines[-1] = longer
    return "\n".join(lines)


def strip(pictures: Iterable, titles: Sequence[str] | None = None, title: str | None = None) -> Drawing:
    """Pictures side by side, for what happens over time: in one row, or in the few rows that small pictures need to be seen."""
    pictures = [pixels(picture) for picture in pictures]
    return grid(pictures, titles, _columns(pictures, len(pictures)) if pictures else None, title)


def image(picture, width: int | None = None, title: str | None = None, height: int | None = None) -> Drawing:
    """One picture, at most `width` screen pixels wide and `height` high; one of both that is given leaves the other free."""
    if width is height is None:
        return _sheet([fitted(pixels(picture), HEIGHT, HEIGHT)], None, 1, title)
    return _sheet([fitted(pixels(picture), width or 10**6, height or 10**6, unused=0.07)], None, 1, title)


def compare(target, picture, title: str | None = None) -> Drawing:
    """Target, picture and four times their absolute difference, with the PSNR in dB."""
    a, b = (images.as_array(image) for image in (target, picture))
    if a.shape != b.shape:
        raise ValueError(f"the target is {a.shape[1]}x{a.shape[0]} and the picture {b.shape[1]}x{b.shape[0]}: give both one size")
    return strip([a, b, 4 * abs(a - b)], ["target", f"picture, {images.psnr(a, b):.1f} dB", "difference × 4"], title)


def curves(
    lines: Mapping[str, tuple[Sequence, Sequence]],
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    log: bool | str = False,
    marks: Mapping[str, float] | None = None,
    size: tuple[float, float] = (5.6, 2.9),
) -> Drawing:
    """Curves {name: (x, y)}, each named at its end; `log` is True (y), "x" or "xy"; `marks` {name: y} are dashed levels to reach.

    Gaps (None, NaN) in y break the line; `size` is in hundreds of screen pixels.
    """
    log = {True: "y", False: ""}.get(log, log)
    with rc_context(LOOK):
        figure = Drawing(figsize=size, dpi=DPI, layout="constrained")
        axes = figure.add_subplot(xlabel=xlabel, ylabel=ylabel, title=_wrapped(title, int(size[0] * 100) - 60, 10))
        ends, drawn_lines = [], []
        for i, (name, (x, y)) in enumerate(lines.items()):
            x, y = (np.array([math.nan if v is None else float(v) for v in values]) for values in (x, y))
            if len(x) != len(y):
                raise ValueError(f"the curve {name!r} has {len(x)} x values and {len(y)} y values")
            colour = COLOURS[i % len(COLOURS)]
            drawn_lines += axes.plot(x, y, color=colour, marker="o" if np.isfinite(y).sum() <= 12 else None, markersize=3.5)
            drawn = np.flatnonzero(np.isfinite(x) & np.isfinite(y) & ((y > 0) | ("y" not in log)))
            if len(drawn):
                ends.append((x[drawn[-1]], y[drawn[-1]], str(name), colour))
        if "x" in log:
            axes.set_xscale("log")
        if "y" in log:
            axes.set_yscale("log")
        for name, level in (marks or {}).items():
            axes.axhline(level, color="#9aa0a8", linewidth=1, linestyle=(0, (4, 3)), zorder=1)
            ends.append((axes.get_xlim()[1], level, name, "#6b7078"))
        for axis in [getattr(axes, f"{letter}axis") for letter in log]:
            _log_ticks(axis)
        _dash_hidden(drawn_lines)
        _name_ends(axes, ends)
    return figure


def _log_ticks(axis) -> None:
    """Few labels on a logarithmic axis, as plain numbers where they are short: powers of ten, and between them where it spans few."""
    low, high = sorted(axis.get_view_interval())
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    decades = decades[:: max(1, len(decades) // 6)]
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 3:
            break
    else:  # less than a third of a decade
        ticks = [tick for tick in MaxNLocator(4).tick_values(low, high) if low <= tick <= high]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    """A tick's number: plain from 0.001 to 100,000, else as a power of ten."""
    if 0.0009 < value < 200_000:
        return f"{value:,.6g}"
    power = math.floor(math.log10(value) + 1e-9)
    factor = value / 10.0**power
    return rf"$10^{{{power}}}$" if abs(factor - 1) < 1e-6 else rf"${factor:.3g}\cdot10^{{{power}}}$"


def _dash_hidden(lines) -> None:
    """Dash each line that runs for a third of its way within a pixel of an earlier one, so that both are seen."""
    paths = [line.axes.transData.transform(line.get_xydata()[np.isfinite(line.get_xydata()).all(1)]) for line in lines]
    paths = [path[np.isfinite(path).all(1)] for path in paths]
    for i, path in enumerate(paths):
        covered = 0
        for earlier in paths[:i]:
            if len(path) > 1 and len(earlier) > 1 and (np.diff(earlier[:, 0]) > 0).all():
                apart = abs(np.interp(*path.T[:1], *earlier.T, left=np.inf, right=np.inf) - path[:, 1])
                covered += (apart < SHARP).mean() > 1 / 3
        if covered:
            lines[i].set(linestyle=(0, (4, 4) if covered == 1 else (1.5, 5)), dash_capstyle="butt")


def _name_ends(axes, ends) -> None:
    """Write each curve's name right of the axes at the height of its end, moved apart where two would overlap."""
    right = axes.get_xlim()[1]
    to_height = axes.transData + axes.transAxes.inverted()
    places = sorted((min(max(float(to_height.transform((x, y))[1]), 0), 1), name, x, y, colour) for x, y, name, colour in ends)
    line = 11 / (axes.get_figure().get_size_inches()[1] * 72 * 0.75)  # a line of text as a share of the axes' height
    heights = [place[0] for place in places]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + line)
    for i in reversed(range(len(heights))):
        heights[i] = min(heights[i], 1 if i == len(heights) - 1 else heights[i + 1] - line)
    for height, (_, name, x, y, colour) in zip(heights, places, strict=True):
        axes.annotate(name, (1, height), xycoords="axes fraction", xytext=(5, 0), textcoords="offset points", va="center", color=colour)
        if to_height.transform((x, y))[0] < 0.97:  # a curve that ends early is led to its name
            axes.plot([x, right], [y, y], color=colour, linewidth=0.8, linestyle=":", alpha=0.6)
    axes.set_xlim(right=right)


class Table:
    """Rows of a dict each, shown as HTML in a notebook, as Markdown in a page and as aligned text in a terminal."""

    def __init__(self, rows: Sequence[Mapping], title: str | None = None):
        self.rows, self.title = [{name: _plain(value) for name, value in row.items()} for row in rows], title
        self.columns = list(dict.fromkeys(name for row in self.rows for name in row))
        self.cells = [[_cell(row.get(name)) for name in self.columns] for row in self.rows]
        self.numeric = [all(isinstance(row.get(name), Real | None) for row in self.rows) for name in self.columns]

    def __repr__(self):
        widths = [max(map(len, column)) for column in zip(self.columns, *self.cells, strict=True)]

        def line(cells):
            return "  ".join(c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, self.numeric, strict=True)).rstrip()

        rule = "  ".join("-" * width for width in widths)
        return "\n".join([*([self.title] if self.title else []), line(self.columns), rule, *map(line, self.cells)])

    def _repr_markdown_(self):
        def line(cells):
            return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

        rule = "|" + "|".join("---:" if numeric else "---" for numeric in self.numeric) + "|"
        return "\n".join([*([f"**{self.title}**", ""] if self.title else []), line(self.columns), rule, *map(line, self.cells)])

    def _repr_html_(self):
        def line(cells, tag):
            aligned = zip(cells, self.numeric, strict=True)
            return (
                "<tr>"
                + "".join(f'<{tag} style="text-align:{"right" if n else "left"}">{html.escape(c)}</{tag}>' for c, n in aligned)
                + "</tr>"
            )

        caption = f'<caption style="text-align:left">{html.escape(self.title)}</caption>' if self.title else ""
        body = "".join(line(row, "td") for row in self.cells)
        return f"<table>{caption}<thead>{line(self.columns, 'th')}</thead><tbody>{body}</tbody></table>"


def table(rows: Sequence[Mapping], title: str | None = None) -> Table:
    """A table of rows {column: value}: missing or None is –, booleans are ✓ and ✗, numbers have three or four telling digits."""
    return Table(rows, title)


def _plain(value):
    """Scalars of numpy and torch as Python's own."""
    return value.item() if getattr(value, "ndim", None) == 0 else value


def _cell(value) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "✓" if value else "✗"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value):
        return "–"
    if value == 0 or 0.001 <= abs(value) < 1e6:
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
        return f"{value:,.{digits}f}"
    return f"{value:.2g}"
