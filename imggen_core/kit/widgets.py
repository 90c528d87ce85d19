"""Something to move: sliders for whatever has controls, a player for pictures, and the live chart of a training.

Headless (`settings.headless()`) none of them builds a widget: each returns its default picture, so that notebooks run without a browser.
"""

import html
import io
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from . import images, settings, show
from .sampler import Choice, Control, Slider, Text

WIDE, HIGH = 520, 590  # the place of a picture in screen pixels: beside the sliders it fits a view of 1280 x 720


def explore(sampler, seed: int | None = 0, n: int = 1, name: str = "model", **fixed):
    """Sliders for the seed and every control of `sampler` that is not `fixed`, over the `n` pictures it draws.

    `seed=None` leaves the seed's slider out, for what draws the same whatever the seed.
    """
    controls = {} if seed is None else {"seed": Slider(seed, 0, max(99, seed), 1, "which one: each seed gives another")}
    controls |= {control: value for control, value in sampler.controls.items() if control not in fixed}
    return move(lambda seed=0, **given: sampler.sample(n, seed, **fixed, **given), title=name, **controls)


def move(function: Callable, *, title: str = "", **controls: Control):
    """`function(**values)` as a picture (tensor, array, PIL image or figure) that follows one slider per control.

    Headless: the figure at the defaults.
    """
    if settings.headless():
        picture = function(**{name: control.default for name, control in controls.items()})
        return picture if isinstance(picture, Figure) else show.image(one_picture(picture), width=WIDE, height=HIGH)
    return Mover(function, controls, title)


def player(frames: Iterable, label: str | Callable[[int], str] = "picture"):
    """A slider and a play button over `frames` (paths or pictures); headless, a strip of at most six of them."""
    frames = list(frames)
    if not frames:
        raise ValueError("there is no picture to play: the list is empty")
    names = [label(i) if callable(label) else f"{label} {i + 1} of {len(frames)}" for i in range(len(frames))]
    if settings.headless():
        shown = sorted({round(i * (len(frames) - 1) / 5) for i in range(6)})
        return show.strip([opened(frames[i]) for i in shown], [names[i] for i in shown])
    return Player(frames, names)


class Mover(ipywidgets.HBox):
    """A panel of `controls` {name: widget} and a `status` line, which names what went wrong in the last draw; beside it the `picture`."""

    def __init__(self, function: Callable, controls: Mapping[str, Control], title: str = ""):
        self.function = function
        self.controls = {name: _widget(name, control) for name, control in controls.items()}
        self.picture = ipywidgets.Image(format="png", layout={"border": f"1px solid {show.PALE}"})
        self.picture.add_class("imggen-picture")
        self.status = ipywidgets.HTML()
        self.status.add_class("imggen-status")
        rows = [ipywidgets.VBox([widget, _note(controls[name].meaning)]) for name, widget in self.controls.items()]
        heading = [ipywidgets.HTML(f"<b>{html.escape(title)}</b>")] if title else []
        self.panel = ipywidgets.VBox([*heading, *rows, self.status], layout={"width": "370px"})
        super().__init__([self.panel, self.picture], layout={"flex_flow": "row wrap"})
        for widget in self.controls.values():
            widget.observe(self.draw, "value")
        self.draw()

    def draw(self, change=None) -> None:
        values = {name: widget.value for name, widget in self.controls.items()}
        try:
            _show(self.picture, to_pil(self.function(**values)))
            self.status.value = ""
        except Exception as error:  # an exception in a widget's callback would vanish
            moved = f"{change['owner'].description} = {change['new']}: {type(error).__name__}: " if change else f"{type(error).__name__}: "
            self.status.value = _error(f"{'' if isinstance(error, settings.InputError) else moved}{' '.join(str(error).split())}")


class Player(ipywidgets.VBox):
    """Frames one at a time: `position` is the slider, `picture` the image, `label` the frame's name or what went wrong with it."""

    def __init__(self, frames: Sequence, names: Sequence[str]):
        self.frames, self.names = frames, names
        last = len(frames) - 1
        self.position = ipywidgets.IntSlider(last, 0, last, readout=False)
        self.position.add_class("imggen-player")
        self.play = ipywidgets.Play(value=last, min=0, max=last, interval=max(50, 4000 // len(frames)))
        ipywidgets.jslink((self.play, "value"), (self.position, "value"))
        self.picture, self.label = ipywidgets.Image(format="png"), ipywidgets.HTML()
        self.picture.add_class("imggen-picture")
        super().__init__([ipywidgets.HBox([self.play, self.position, self.label]), self.picture])
        self.position.observe(self.draw, "value")
        self.draw()

    def draw(self, change=None) -> None:
        i = self.position.value
        try:
            _show(self.picture, to_pil(opened(self.frames[i])))
            self.label.value = html.escape(self.names[i])
        except Exception as error:
            self.label.value = _error(f"{self.names[i]}: {error}")


class LiveChart:
    """A training's numbers as curves that redraw while it runs: at most every `every` seconds and for at most 2 % of the time."""

    def __init__(self, names: Sequence[str] | None = None, every: float = 2.0):
        self.names, self.every, self.next_time = names, every, 0.0
        self.picture = ipywidgets.Image(format="png", layout={"border": f"1px solid {show.PALE}"})
        self.picture.add_class("imggen-chart")
        self.shown = False

    def update(self, history: Mapping[str, Sequence[float]], last: bool = False) -> None:
        """Draw `history` {name: values; `step` the x axis if it is there}; `last` draws even if it is not yet time."""
        if not last and time.monotonic() < self.next_time:
            return
        started = time.process_time()
        if drawing := chart(history, self.names):
            _show(self.picture, drawing)
            if not self.shown:
                from IPython.display import display

                display(self.picture)
                self.shown = True
        self.next_time = time.monotonic() + max(self.every, 50 * (time.process_time() - started))


def chart(history: Mapping[str, Sequence[float]], names: Sequence[str] | None = None) -> Image.Image | None:
    """One small panel per number of a history, side by side; None while there is nothing to draw."""
    clock = ("step", "epoch", "seconds", "cpu_seconds")
    names = [name for name in names or history if name in history and name not in clock and np.isfinite(_numbers(history[name])).any()][:4]
    if not names:
        return None
    panels = []
    for name in names:
        y = _numbers(history[name])
        x = _numbers(history["step"]) if "step" in history else np.arange(1.0, len(y) + 1)
        logged = np.isfinite(y)  # other numbers may be logged more often
        x, y = x[logged], y[logged]
        stride = -(-len(y) // 400)  # 400 points are more than the panel has pixels
        drawing = show.curves({"": (x[::stride], y[::stride])}, "step", title=f"{name}  {y[-1]:.4g}", size=(2.9, 1.7))
        panels.append(to_pil(drawing))
    sheet = Image.new("RGB", (sum(panel.width for panel in panels), max(panel.height for panel in panels)), "white")
    for i, panel in enumerate(panels):
        sheet.paste(panel, (sum(p.width for p in panels[:i]), 0))
    return sheet


def _numbers(values) -> np.ndarray:
    return np.array([float("nan") if value is None or value == "" else float(value) for value in values])


def _widget(name: str, control: Control):
    """The widget of one control; it reports a value when it is let go, not on the way."""
    common = {
        "description": name.replace("_", " "),
        "continuous_update": False,
        "style": {"description_width": "90px"},
        "layout": {"width": "360px"},
    }
    if isinstance(control, Slider):
        kind = ipywidgets.IntSlider if control.whole else ipywidgets.FloatSlider
        digits = len(f"{control.step:.6f}".rstrip("0").split(".")[1])
        readout = {"readout_format": "d" if control.whole else f".{digits}f"}
        widget = kind(value=control.default, min=control.low, max=control.high, step=control.step, **readout, **common)
    elif isinstance(control, Choice):
        del common["continuous_update"]
        widget = ipywidgets.Dropdown(value=control.default, options=list(control.options), **common)
    elif isinstance(control, Text):
        widget = ipywidgets.Text(value=control.default, **common)
    else:
        raise TypeError(f"{name} is a {type(control).__name__}: give a Slider, a Choice or a Text of imggen_core.kit.sampler")
    widget.tooltip = control.meaning
    widget.add_class(f"imggen-{name}")
    return widget


def opened(picture):
    """A path as the picture in it; anything else as it is."""
    if not isinstance(picture, str | Path):
        return picture
    with Image.open(picture) as image:
        return image.convert("RGB")


def to_pil(picture) -> Image.Image:
    """What a picture function may return (figure, tensor, array, PIL image) as a PIL image, at least 480 screen pixels wide unless tall."""
    if isinstance(picture, Figure):
        file = io.BytesIO(picture.png()) if isinstance(picture, show.Drawing) else io.BytesIO()
        if not isinstance(picture, show.Drawing):
            picture.savefig(file, format="png", dpi=show.DPI)
        return Image.open(file).convert("RGB")
    return Image.fromarray(show.fitted(one_picture(picture), WIDE, HIGH, unused=0.07))


def one_picture(picture) -> np.ndarray:
    """A picture, or pictures [n,3,H,W] as a sheet, as uint8 [H,W,3]."""
    batch = picture if getattr(picture, "ndim", 3) == 4 else [picture]
    return images.sheet([show.pixels(each) for each in batch])


def _show(widget: ipywidgets.Image, picture: Image.Image) -> None:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    widget.layout.width = f"{picture.width / show.SHARP:g}px"
    widget.value = file.getvalue()


def _note(text: str) -> ipywidgets.HTML:
    return ipywidgets.HTML(f'<span style="color:#6b7078">{html.escape(text)}</span>')


def _error(text: str) -> str:
    return f'<span style="color:#b5495b">✗ {html.escape(text)}</span>'
