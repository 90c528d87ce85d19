"""The child process of `kit.svg`: measures and draws one SVG with CairoSVG under limits of CPU time and memory.

Run as a script, never imported by the parent, so that it starts in a fraction of a second (no torch, no numpy).
In: one line of JSON (the request), then the SVG as UTF-8. Out: one line of JSON (the sizes, or `error`), then the pixels as BGRX bytes.
"""
import base64
import binascii
import json
import math
import re
import struct
import sys
import urllib.parse

PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"RIFF")
DRAWINGS = re.compile(rb"\s*(<svg|<\?xml|<!DOC|<!--)")


EMBEDDED_PIXELS = 1 << 24


class Refused(Exception):
    """What is wrong with the file and what to do, as one sentence."""


def limit(cpu_seconds: int, memory: int) -> None:
    """Cap this process's CPU time and address space; also no file written and no process started. What a system lacks is left out."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {"RLIMIT_CPU": (cpu_seconds, cpu_seconds + 1), "RLIMIT_AS": (memory, memory), "RLIMIT_FSIZE": (0, 0), "RLIMIT_CORE": (0, 0), "RLIMIT_NPROC": (0, 0)}
    for name, values in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), values)
        except (AttributeError, ValueError, OSError):  # macOS refuses RLIMIT_AS
            pass


def only_embedded(url: str, resource_type: str) -> bytes:
    """CairoSVG's fetcher: data: URIs alone. A style sheet elsewhere counts as empty; a picture or drawing elsewhere is refused."""
    if resource_type == "text/css" and not url.startswith("data:"):
        return b""
    if not url.startswith("data:"):
        shown = url.rpartition("/")[2] if url.startswith("file:") else url
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise Refused(f"refers to {shown}, outside the file, and nothing outside it is ever read — embed it as a data: URI or take it out")
    head, _, body = url.partition(",")
    try:
        data = urllib.parse.unquote_to_bytes(body)
        data = base64.b64decode(data) if head.endswith(";base64") else data
    except (binascii.Error, ValueError):
        raise Refused("embeds a picture whose base64 text is damaged — embed it again or take it out") from None
    if data.startswith(PICTURES[0]) and math.prod(struct.unpack(">II", data[16:24].ljust(8, b"\0"))) > EMBEDDED_PIXELS:
        raise Refused(f"embeds a picture of more than {EMBEDDED_PIXELS:,} pixels — embed a smaller one")
    if resource_type == "text/css" or data.startswith(PICTURES) or DRAWINGS.match(data):
        return data
    raise Refused("embeds data that is not a PNG, JPEG, GIF, WebP or SVG picture — convert it or take it out")


def measure(tree) -> tuple[float, float] | None:
    """The native width and height of `tree` in pixels, unrounded, as CairoSVG reckons them; None where it has none."""
    from cairosvg.helpers import node_format

    class Screen:  # what node_format asks of a surface
        dpi, font_size, context_width, context_height = 96, 16, None, None

    try:
        width, height, _ = node_format(Screen, tree)
    except (ValueError, IndexError, TypeError):
        raise Refused("its width, height or viewBox is not a number — correct it") from None
    if not (math.isfinite(width) and math.isfinite(height)) or width < 0 or height < 0:
        raise Refused(f"its size is {width:g} × {height:g} — width and height must be positive numbers") from None
    return (width, height) if width and height else None


def choose_size(native, width, height, longer, scale) -> tuple[float, float]:
    """The picture's size from the native one and what was asked: width and/or height, or the longer side, times scale."""
    if native is None:
        if longer:
            width = height = longer
        if not (width and height):
            raise Refused("no width, height or viewBox — give the size with image_size=…, for example 256 or 320x200")
        native = width, height
    if longer:
        ratio = longer / max(native)
        width, height = (max(1, native[0] * ratio), max(1, native[1] * ratio))
    if width and not height:
        height = max(1, native[1] * width / native[0])
    if height and not width:
        width = max(1, native[0] * height / native[1])
    return (width or native[0]) * scale, (height or native[1]) * scale


def check(size, request) -> None:
    width, height = size
    if round(width) < 1 or round(height) < 1:
        raise Refused(f"is {width:g} × {height:g} pixels, less than one — give the size with image_size=…")
    if width * height > request["pixels"] or max(size) > request["side"]:
        what = f"at most {request['pixels']:,} pixels and {request['side']:,} a side are drawn"
        raise Refused(f"is {round(width)} × {round(height)} pixels and {what} — give a smaller size with image_size=…")


def work(request: dict, text: bytes) -> tuple[dict, bytes]:
    import cairocffi
    import cairosvg.image  # noqa: F401
    from cairosvg.parser import Tree
    from cairosvg.surface import PNGSurface
    from PIL import Image, WebPImagePlugin  # noqa: F401 – registers WebP

    Image.preinit()
    Image.init = Image.preinit  # the common formats only: some others start programs
    Image.MAX_IMAGE_PIXELS = EMBEDDED_PIXELS // 2  # Pillow refuses at twice this
    limit(request["cpu_seconds"], request["memory"])
    try:
        tree = Tree(bytestring=text, url_fetcher=only_embedded, unsafe=False)
        if tree.tag != "svg":
            raise Refused(f"not an SVG: its root element is <{tree.tag.rpartition('}')[2]}> — give a file that starts with <svg …>")
        native = measure(tree)
        answer = {"native": native and [round(native[0]), round(native[1])]}
        if not request["draw"]:
            if native:
                check(native, request)
            return answer, b""
        size = choose_size(native, request["width"], request["height"], request["longer"], request["scale"])
        check(size, request)
        surface = PNGSurface(tree, None, 96, output_width=size[0], output_height=size[1], background_color="white")
        surface.cairo.flush()
        return {**answer, "size": [surface.width, surface.height]}, bytes(surface.cairo.get_data())
    except Refused as error:
        return {"error": str(error)}, b""
    except RecursionError:
        return {"error": "is nested too deeply or refers to itself — flatten its groups and references"}, b""
    except MemoryError:
        return {"error": "memory"}, b""
    except Exception as error:
        return {"error": explain(error, cairocffi)}, b""


def explain(error: Exception, cairocffi) -> str:
    kind, words = type(error).__name__, " ".join(str(error).split())[:160]
    if kind == "ParseError":
        return f"is not well-formed XML ({words}) — correct that place or export it again"
    if kind in ("EntitiesForbidden", "DTDForbidden", "ExternalReferenceForbidden"):
        return "declares XML entities, which are never expanded — save it without a DTD"
    if isinstance(error, cairocffi.CairoError):
        if "NO_MEMORY" in words or "memory" in words:
            return "memory"
        return f"cannot be drawn by cairo ({words.rstrip('.')}) — simplify it"
    if "100 000 referenced" in words:
        return "draws more than 100,000 referenced elements — flatten its <use> elements"
    return f"cannot be drawn by CairoSVG ({kind}: {words.rstrip('.')}) — simplify it or export it again"


if __name__ == "__main__":
    head, _, body = sys.stdin.buffer.read().partition(b"\n")
    answer, pixels = work(json.loads(head), body)
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pixels)
    sys.stdout.buffer.flush()
