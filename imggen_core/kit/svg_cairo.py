"""CairoSVG's side of `kit.svg`: measures and draws one SVG. Run as a script it is the child process that holds the limits.

It starts in a fraction of a second (no torch, no numpy). In: one line of JSON (the request), then the SVG as UTF-8.
Out: one line of JSON (the sizes, or `error`), then the pixels as premultiplied BGRA bytes.
"""

import base64
import binascii
import json
import math
import os
import re
import struct
import sys
import traceback
import urllib.parse

PNG, JPEG, GIF, WEBP = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF"
DRAWING = re.compile(rb"\s*(<svg|<\?xml|<!DOC|<!--)")
EMBEDDED_PIXELS = 1 << 24
CAIRO_SIDE = 32_767


class Refused(Exception):
    """What is wrong with the SVG and what to do, as one sentence that goes on after its name."""


def work(request: dict, text: bytes) -> tuple[dict, bytes]:
    """Answer a request: {"native": [w, h] or None} and, if it asks to draw, "size" and the pixels; {"error": …} for what cannot be."""
    try:
        import cairosvg  # noqa: F401
    except OSError:
        return {"error": "cannot be drawn without the cairo library — install it: apt install libcairo2, or brew install cairo"}, b""
    try:
        return _work(request, text)
    except Refused as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "memory"}, b""
    except RecursionError:
        return {"error": "is nested too deeply or refers to itself — flatten its groups and references"}, b""
    except Exception as error:
        return {"error": _explain(error)}, b""


def _work(request: dict, text: bytes) -> tuple[dict, bytes]:
    from cairosvg.parser import Tree
    from cairosvg.surface import PNGSurface

    tree = Tree(bytestring=text, url_fetcher=only_embedded, unsafe=False)
    if tree.tag != "svg":
        raise Refused(f"is not an SVG (its root element is <{tree.tag.rpartition('}')[2][:40]}>) — give a file that starts with <svg …>")
    native = measure(tree)
    answer = {"native": native and [round(native[0]), round(native[1])]}
    if not request["draw"]:
        if native:
            _check(native, request["pixels"])
        return answer, b""
    size = choose_size(native, request["width"], request["height"], request["longer"], request["scale"])
    _check(size, request["pixels"])
    surface = PNGSurface(tree, None, 96, output_width=size[0], output_height=size[1], background_color="white")
    surface.cairo.flush()
    return {**answer, "size": [surface.width, surface.height]}, bytes(surface.cairo.get_data())


def measure(tree) -> tuple[float, float] | None:
    """The native width and height of `tree` in pixels, unrounded, as CairoSVG reckons them; None where it has none."""
    from cairosvg.helpers import node_format

    class Screen:  # what node_format asks of a surface
        dpi, font_size, context_width, context_height = 96, 16, None, None

    try:
        width, height, _ = node_format(Screen, tree)
    except (ValueError, IndexError, TypeError):
        raise Refused("has a width, height or viewBox that is not a number — correct it") from None
    if not (math.isfinite(width) and math.isfinite(height)) or width < 0 or height < 0:
        raise Refused(f"is {width:g} × {height:g} pixels — give it a positive width and height")
    return (width, height) if width and height else None


def choose_size(native, width, height, longer, scale) -> tuple[float, float]:
    """The picture's size from the native one and what was asked: width and/or height, or the longer side; times scale."""
    if native is None:
        native = (longer, longer) if longer else (width, height)
    if not all(native):
        raise Refused("no width, height or viewBox — give the size with image_size=…, for example 256 or 320x200")
    if longer:
        width, height = (max(1, side * longer / max(native)) for side in native)
    elif width and not height:
        height = max(1, native[1] * width / native[0])
    elif height and not width:
        width = max(1, native[0] * height / native[1])
    return (width or native[0]) * scale, (height or native[1]) * scale


def _check(size: tuple[float, float], pixels: int) -> None:
    width, height = round(size[0]), round(size[1])
    if max(size) > 1e9:
        raise Refused(f"is {size[0]:g} × {size[1]:g} pixels — give it a smaller width and height")
    if width < 1 or height < 1:
        raise Refused(f"is {size[0]:g} × {size[1]:g} pixels, less than one — give a larger size with image_size=…")
    if width * height > pixels:
        raise Refused(f"is {width} × {height} pixels, more than the {pixels:,} that are drawn — give a smaller size with image_size=…")
    if max(width, height) > CAIRO_SIDE:
        raise Refused(f"is {width} × {height} pixels, more than {CAIRO_SIDE:,} on one side — give a smaller size with image_size=…")


def only_embedded(url: str, resource_type: str) -> bytes:
    """CairoSVG's fetcher: data: URIs alone. A style sheet elsewhere counts as empty; a picture or drawing elsewhere is refused."""
    if not url.startswith("data:"):
        if resource_type == "text/css":
            return b""
        shown = url.rpartition("/")[2] if url.startswith("file:") else url
        if not shown or url == f"file://{os.getcwd()}":  # an empty reference, made absolute
            return b'<svg width="1" height="1"/>'
        raise Refused(f"refers to {shown[:60]}, and nothing outside the file is ever read — embed it as a data: URI or take it out")
    head, _, body = url.partition(",")
    try:
        data = urllib.parse.unquote_to_bytes(body)
        data = base64.b64decode(data) if head.endswith(";base64") else data
    except (binascii.Error, ValueError):
        raise Refused("embeds a picture whose base64 text is damaged — embed it again or take it out") from None
    if data.startswith(PNG) and math.prod(struct.unpack(">II", data[16:24].ljust(8, b"\0"))) > EMBEDDED_PIXELS:
        raise Refused(f"embeds a picture of more than {EMBEDDED_PIXELS:,} pixels — embed a smaller one")
    if resource_type == "text/css" or data.startswith((PNG, JPEG, GIF, WEBP)) or DRAWING.match(data):
        return data
    raise Refused("embeds data that is not a PNG, JPEG, GIF, WebP or SVG picture — convert it or take it out")


def _explain(error: Exception) -> str:
    import cairocffi

    kind, words = type(error).__name__, " ".join(str(error).split())[:160].rstrip(".")
    if kind == "ParseError":
        return f"is not well-formed XML ({words}) — correct that place or export it again"
    if kind in ("EntitiesForbidden", "DTDForbidden", "ExternalReferenceForbidden"):
        return "declares XML entities, which are never expanded — save it without a DTD"
    if "NO_MEMORY" in words:
        return "memory"
    if "100 000 referenced" in words:
        return "draws more than 100,000 referenced elements — flatten its <use> elements"
    if isinstance(error, cairocffi.CairoError):
        return f"cannot be drawn by cairo ({words}) — simplify it"
    where = traceback.extract_tb(error.__traceback__)[-1].name
    return f"cannot be drawn by CairoSVG ({kind} in {where}: {words}) — correct that or export it again"


def limit(cpu_seconds: int, memory: int) -> None:
    """Cap this process's CPU time and address space; let it start no process. What a system lacks is left out."""
    from PIL import Image, WebPImagePlugin  # noqa: F401

    Image.preinit()
    Image.init = Image.preinit  # decode the common formats only: some others start programs
    Image.MAX_IMAGE_PIXELS = EMBEDDED_PIXELS // 2  # Pillow refuses at twice this
    os.chdir("/")
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {"CPU": (cpu_seconds, cpu_seconds + 1), "AS": (memory, memory), "CORE": (0, 0), "NPROC": (0, 0)}
    for name, values in limits.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), values)
        except (AttributeError, ValueError, OSError):  # macOS refuses RLIMIT_AS
            pass


if __name__ == "__main__":
    head, _, body = sys.stdin.buffer.read().partition(b"\n")
    request = json.loads(head)
    try:
        import cairosvg.surface  # noqa: F401 – before the limits
    except OSError:
        pass  # work() says so
    limit(request["cpu_seconds"], request["memory"])
    answer, pixels = work(request, body)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pixels)
    sys.stdout.buffer.flush()
