"""SVG in and out: reads an untrusted file safely, finds its native size, rasterises it with CairoSVG on white; writes clean SVG."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import re
import signal
import subprocess
import sys
import zlib
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

import numpy as np

from . import svg_cairo
from .files import find
from .images import PIXELS, whole_side
from .settings import InputError

FILE_BYTES = 5_000_000
TRUSTED_PIXELS = 16 * PIXELS
CPU_SECONDS, WALL_SECONDS, MEMORY = 2, 9, 1 << 30  # the wall's limit is generous: a busy machine takes seconds to start a process


@dataclass(frozen=True)
class Svg:
    """A readable SVG: its text, its native size in pixels as CairoSVG rounds it, and the name that errors call it by."""

    text: str
    width: int
    height: int
    name: str = "the SVG"


def read(path_or_text: str | os.PathLike) -> Svg:
    """The SVG in a file (a path) or in `path_or_text` itself (it starts with `<`); InputError if it is not one that can be drawn."""
    name, text = _load(path_or_text)
    native = _draw(name, text, draw=False)[0]["native"]
    if native is None:
        raise InputError(f"{name}: no width, height or viewBox — give the size with image_size=…, for example 256 or 320x200")
    return Svg(text, *native, name)


def rasterise(svg: Svg | str | os.PathLike, width: int | None = None, height: int | None = None, scale: float = 1, *,
              longer: int | None = None, trusted: bool = False) -> np.ndarray:  # fmt: skip
    """Draw `svg` (an Svg, SVG text or a path) on white; returns float32 [H,W,3] in [0,1].

    With `width`, `height` or the `longer` side alone the aspect ratio is kept; in `width` × `height` the drawing is fitted, centred.
    `scale` multiplies it. Draws in a child process under limits of time and memory, unless `trusted` (text that we wrote ourselves): in
    milliseconds.
    """
    name, text = (svg.name, svg.text) if isinstance(svg, Svg) else ("the SVG", svg) if trusted else _load(svg)
    for side in (width, height, longer):
        if side is not None:
            whole_side(side, name)
    if not 0 < scale < math.inf:
        raise InputError(f"{name}: scale is {scale} — give a positive number")
    return _on_white(*_draw(name, text, trusted=trusted, width=width, height=height, longer=longer, scale=scale))


# Reading


def is_text(path_or_text) -> bool:
    """Whether this is SVG itself (it starts with `<`) and not the name of a file."""
    return isinstance(path_or_text, str) and path_or_text.lstrip("\ufeff \t\r\n").startswith("<")


def _name(path_or_text) -> str:
    return "the SVG" if is_text(path_or_text) else str(path_or_text)


def _load(path_or_text) -> tuple[str, str]:
    """The name and the text of an SVG given as a path or as text, decoded and without its XML declaration."""
    name = _name(path_or_text)
    if is_text(path_or_text):
        data = path_or_text.encode("utf-8", "surrogatepass")
    else:
        try:
            with find(path_or_text).open("rb") as file:
                data = file.read(FILE_BYTES + 1)
        except OSError as error:
            raise InputError(f"{name}: cannot be read ({error.strerror or error}) — check its permissions") from None
    if data.startswith(b"\x1f\x8b"):
        data = _gunzip(name, data)
    if len(data) > FILE_BYTES:
        raise InputError(f"{name}: is larger than {FILE_BYTES // 1_000_000} MB — simplify it or export it without embedded pictures")
    if not data.strip():
        raise InputError(f"{name}: is empty — give an SVG file")
    text = _decode(name, data)
    if not text.startswith("<"):
        raise InputError(f"{name}: is not an SVG (it does not start with <) — give an SVG, PNG or JPEG file")
    return name, text


def _gunzip(name: str, data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            return file.read(FILE_BYTES + 1)
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{name}: is gzip-compressed and damaged — compress it again or give the plain SVG") from None


def _decode(name: str, data: bytes) -> str:
    """XML bytes as text: the byte order mark decides, else the XML declaration, else UTF-8."""
    declared = re.match(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.-]+)["']""", data)
    encoding = declared[1].decode() if declared else "utf-8"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif data.startswith(b"\xef\xbb\xbf"):
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
        text.encode("utf-8")
    except (UnicodeError, LookupError):
        raise InputError(f"{name}: is not an SVG (not text in {encoding}) — give an SVG, PNG or JPEG file") from None
    if "\0" in text:
        raise InputError(f"{name}: is not an SVG (it holds binary data) — give an SVG, PNG or JPEG file")
    return re.sub(r"^\s*<\?xml[^>]*\?>", "", text.lstrip("\ufeff")).strip()


# Drawing


def _draw(name: str, text: str, *, trusted=False, draw=True, width=None, height=None, longer=None, scale=1) -> tuple[dict, bytes]:
    """What `svg_cairo.work` answers, in this process if `trusted`, else in a child under limits; InputError for what it refuses."""
    request = {"draw": draw, "width": width, "height": height, "longer": longer, "scale": scale}
    if trusted:
        answer, pixels = svg_cairo.work(request | {"pixels": TRUSTED_PIXELS}, text.encode())
    else:
        answer, pixels = _in_child(request | {"pixels": PIXELS, "cpu_seconds": CPU_SECONDS, "memory": MEMORY}, text.encode())
    if answer.get("error") == "memory":
        answer["error"] = f"needs more than {MEMORY >> 20:,} MB of memory to draw — simplify it"
    if "error" in answer:
        raise InputError(f"{name}: {answer['error']}")
    return answer, pixels


def _in_child(request: dict, text: bytes) -> tuple[dict, bytes]:
    command = [sys.executable, "-P", svg_cairo.__file__]
    try:
        done = subprocess.run(command, input=json.dumps(request).encode() + b"\n" + text, capture_output=True, timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired:
        return {"error": f"takes more than {WALL_SECONDS} seconds to draw — simplify it"}, b""
    if done.returncode == 0:
        head, _, pixels = done.stdout.partition(b"\n")
        return json.loads(head), pixels
    if done.returncode == -getattr(signal, "SIGXCPU", 0):
        return {"error": f"takes more than {CPU_SECONDS} seconds to draw — simplify it"}, b""
    if done.returncode < 0:
        return {"error": f"is too large or too deep to draw (signal {-done.returncode}) — simplify it"}, b""
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return {"error": "memory" if "MemoryError" in last else f"could not be drawn ({last[:160]}) — see imggen doctor"}, b""


def _on_white(answer: dict, pixels: bytes) -> np.ndarray:
    """Cairo's premultiplied pixels, four bytes each in the machine's order, as float32 RGB on white."""
    width, height = answer["size"]
    channels = np.frombuffer(pixels, np.uint8).reshape(height, width, 4)
    channels = channels if sys.byteorder == "little" else channels[..., ::-1]  # blue, green, red, alpha
    picture, alpha = channels[..., 2::-1], channels[..., 3:]
    if alpha.min() < 255:  # at an edge that cuts a pixel: the background is drawn white already
        picture = np.minimum(picture + np.int16(255) - alpha, 255)
    return np.divide(picture, 255, dtype=np.float32)


# Writing


def document(width: float, height: float, elements: list[str], background: str | None = None) -> str:
    """A whole SVG of `elements` (see `element`) on a `background` colour (None: none)."""
    if background is not None:
        elements = [element("rect", width=width, height=height, fill=background), *elements]
    width, height = number(width), number(height)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return "\n".join([head, *elements, "</svg>"]) + "\n"


def element(name: str, **attributes) -> str:
    """One empty element: `element("line", x1=0, y1=2.5, stroke_width=2)`. Underscores become hyphens, None is left out.

    Numbers are plain decimals, text is escaped, a list (for `d`, `points`) is joined with spaces, each part likewise.
    """
    words = [_xml_name(name)]
    for key, value in attributes.items():
        if value is not None:
            words.append(f"{_xml_name(key.rstrip('_').replace('_', '-'))}={_quoted(value, f'{name} {key}')}")
    return f"<{' '.join(words)}/>"


def number(value: float, name: str = "number") -> str:
    """`value` as a plain decimal with at most 3 places: never an exponent, nan, inf or -0; ValueError if it is not finite."""
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}: an SVG holds finite numbers only")
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _plain(value, name: str) -> str:
    if isinstance(value, str):
        return re.sub("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "", value)  # no XML can hold these
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return " ".join(_plain(part, name) for part in value)
    return number(value, name)


def _quoted(value, name: str) -> str:
    return quoteattr(_plain(value, name))


def _xml_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name, re.ASCII):
        raise ValueError(f"{name!r} cannot name an SVG element or attribute")
    return name
