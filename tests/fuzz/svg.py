"""Drawings: the XML stays XML (mostly), and what it says is spoiled."""

import base64
import copy
import functools
import gzip
import io
import re
import xml.etree.ElementTree as xml
from pathlib import Path

from .campaign import ROOT

SVG, XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"
xml.register_namespace("", SVG[1:-1])
xml.register_namespace("xlink", XLINK[1:-5])

UNITS = ["", "px", "pt", "mm", "cm", "in", "em", "ex", "%", "rem", "vw", "furlong", " ", ",", "deg"]
NUMBERS = ["0", "-0", "-1", "1e9", "1e308", "1e-308", "1e999", "nan", "inf", "-inf", ".", "-", "1.2.3", "1e", "0x10", "9" * 400, "3 4",
           "", "१", "2147483648"]  # fmt: skip
PATHS = ["M", "M 0 0 Z Z Z", "L 1 1", "M0,0" + "h1v1" * 3000, "M 1e308 1e308 L -1e308 0", "M0 0 A 0 0 0 0 0 1 1",
         "M0 0 A 1 1 0 7 7 9 9", "M 0 0 C 1", "M0 0 Q nan 1 2 3", "m 1 1 z m 2", "M0 0 T 5 5 S 1 2", "x",
         "M0 0 A 1e300 1e-300 720 1 1 4 4", "M10-10.5.5.5e1"]  # fmt: skip
TRANSFORMS = ["scale(0)", "scale(1e308)", "matrix(0 0 0 0 0 0)", "matrix(1)", "rotate(nan)", "skewX(90)", "translate(1e30)",
              "rotate(45", "none", "scale(2) " * 400, "frobnicate(3)", "matrix(1 2 3 4 5 inf)"]  # fmt: skip
PAINTS = ["none", "currentColor", "#12", "#12345678", "rgb(1,2)", "rgba(1e9,-3,nan,2)", "hsl(0,0,0)", "url(#)", "url(#nobody)",
          "url(nothing.svg#a)", "inherit", "rgb(10%, 20%", "url(data:,)", "transparent", "RED", "color-mix(in lab, red, blue)"]  # fmt: skip
STYLES = ["fill:url(#a);stroke:red", "font-size:1e9px", "@import url(file:///etc/passwd)", "a{b:c}}}", "*{fill:red}" * 200,
          ":not(:not(*)){fill:blue}", "rect > * ~ #a{x:y}", "fill:red;;;:;stroke-width:-3", "{", "/*", "g:nth-child(2n+){}",
          "@media print{*{display:none}}", "rect{fill:red}\\", "\\0{}", "::before{content:''}", "stroke-dasharray:0"]  # fmt: skip
NAMES = ["g", "use", "image", "linearGradient", "radialGradient", "stop", "pattern", "mask", "clipPath", "marker", "filter", "feOffset",
         "feBlend", "feFlood", "text", "tspan", "textPath", "style", "symbol", "svg", "switch", "a", "defs", "path", "rect", "circle",
         "ellipse", "line", "polyline", "polygon", "foreignObject", "script", "animate", "title", "nothing"]  # fmt: skip
ATTRIBUTES = ["x", "y", "width", "height", "viewBox", "preserveAspectRatio", "transform", "d", "points", "r", "cx", "rx", "fill",
              "stroke", "stroke-width", "stroke-dasharray", "stroke-miterlimit", "opacity", "clip-path", "mask", "filter",
              "marker-start", "marker-mid", "style", "class", "id", "offset", "gradientUnits", "gradientTransform", "patternUnits",
              "spreadMethod", "font-size", "font-family", "text-anchor", "dx", "rotate", "textLength", "letter-spacing", "startOffset",
              "overflow", "display", "visibility", "fill-rule", "orient", "markerWidth", "refX", "fx", "stop-color", "stop-opacity",
              "systemLanguage", "requiredFeatures", "stroke-linecap", "x1", "mode"]  # fmt: skip


@functools.cache
def seeds() -> list[str]:
    files = [*(ROOT / "data").glob("*.svg"), *(ROOT / "tests/benchmarks/drawings_of_others").glob("*.svg")]
    found = [path.read_text() for path in sorted(files) if path.stat().st_size < 60_000]
    rich = ['<linearGradient id="a"><stop offset="0" stop-color="red"/><stop offset="1"/></linearGradient>',
            '<pattern id="b" width="3" height="3"><rect width="2" height="2" fill="url(#a)"/></pattern>',
            '<clipPath id="c"><circle r="9"/></clipPath><mask id="d"><rect width="9" height="9" fill="white"/></mask>',
            '<marker id="e"><path d="M0 0L3 3"/></marker><symbol id="f" viewBox="0 0 4 4"><rect width="4" height="4"/></symbol>',
            '<filter id="g"><feOffset dx="2"/><feFlood flood-color="red"/></filter><style>rect{fill:url(#b)}</style>']  # fmt: skip
    drawn = ['<rect width="9" height="9" clip-path="url(#c)" mask="url(#d)" filter="url(#g)"/>',
             '<path d="M1 1L5 5L9 1" marker-start="url(#e)"/><text x="1" y="9" font-size="8">word<tspan dx="1">two</tspan></text>',
             '<path id="h" d="M0 9H20"/><text><textPath href="#h">on</textPath></text><use href="#f" x="2"/><switch><g/></switch>',
             '<svg x="3" width="5" viewBox="0 0 1 1"><circle r="1" fill="url(#a)"/></svg>']  # fmt: skip
    head = '<svg xmlns="http://www.w3.org/2000/svg" width="20" height="12" viewBox="0 0 20 12">'
    return found + [head + "".join(rich + drawn) + "</svg>"] * 4


def mutate(random, seed: str) -> dict:
    root = xml.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", seed))
    for _ in range(random.choice([1, 1, 2, 3, 6])):
        random.choice([attribute, attribute, attribute, nest, duplicate, swap, remove, add, add, point, canvas])(random, root)
    return {"svg": written(random, xml.tostring(root, encoding="unicode")), "size": random.choice([None, 24, 24, (40, 10), 200]),
            "as": random.choice(["file"] * 4 + ["text"])}  # fmt: skip


def some(random, root):
    return random.choice(list(root.iter()))


def quantity(random) -> str:
    return random.choice(NUMBERS + [f"{random.uniform(-50, 500):.3g}"] * 4) + random.choice(UNITS)


def value(random, name: str) -> str:
    if name in ("d", "points"):
        return random.choice(PATHS)
    if "ransform" in name:
        return random.choice(TRANSFORMS)
    if name in ("fill", "stroke", "clip-path", "mask", "filter", "stop-color") or name.startswith("marker-"):
        return random.choice(PAINTS + [f"url(#{letter})" for letter in "abcdefgh"])
    if name in ("style", "class"):
        return random.choice(STYLES)
    if name in ("viewBox", "stroke-dasharray"):
        return " ".join(quantity(random) for _ in range(random.choice([0, 3, 4, 4, 4, 5, 900])))
    return random.choice([quantity(random)] * 5 + PAINTS + ["userSpaceOnUse", "none", "hidden", "xMidYMid slice", "auto"])


def attribute(random, root) -> None:
    thing = some(random, root)
    name = random.choice([*thing.attrib, *random.sample(ATTRIBUTES, 3)])
    thing.set(name, value(random, name))


def canvas(random, root) -> None:
    name = random.choice(["width", "height", "viewBox", "preserveAspectRatio", "x", "style", "transform", "display"])
    if random.random() < 0.3:
        root.attrib.pop(name, None)
    else:
        root.set(name, value(random, name))


def nest(random, root) -> None:
    inside = some(random, root)
    name, deep = random.choice(NAMES), random.choice([1, 2, 30, 100])
    children, inside[:] = list(inside), []
    for _ in range(deep):
        inside = xml.SubElement(inside, SVG + name, {"opacity": "0.9"} if random.random() < 0.01 else {})
    inside.extend(children)


def duplicate(random, root) -> None:
    parent = some(random, root)
    if len(parent):
        chosen = random.choice(list(parent))
        times = random.choice([1, 3, 100, 1000 if len(list(chosen.iter())) < 5 else 2])
        parent.extend(copy.deepcopy(chosen) for _ in range(times))


def swap(random, root) -> None:
    one, other = some(random, root), some(random, root)
    one.tag, other.tag = other.tag, one.tag
    if random.random() < 0.5:
        one.text, other.text = other.text, one.text


def remove(random, root) -> None:
    parent = some(random, root)
    if len(parent):
        parent.remove(random.choice(list(parent)))


def add(random, root) -> None:
    name = random.choice(NAMES)
    thing = xml.SubElement(some(random, root), SVG + name)
    for key in random.sample(ATTRIBUTES, random.choice([0, 2, 5])):
        thing.set(key, value(random, key))
    if name in ("style", "text", "tspan", "script", "title"):
        thing.text = random.choice(STYLES + ["word", "م" * 9, "\u0301" * 50, "w " * 500])
    if name in ("use", "image", "textPath", "pattern", "linearGradient", "a", "feImage"):
        thing.set(random.choice([XLINK, "href"]), reference(random))


def reference(random) -> str:
    picture = random.choice([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg/>", b"<svg width='1e9' height='9'/>", b"RIFF1234WEBP",
                            gzip.compress(b"<svg/>")])  # fmt: skip
    data = "data:image/" + random.choice(["png", "svg+xml", "jpeg", "x;charset=utf-8",
                            ";;"]) + ";base64," + base64.b64encode(picture).decode()  # fmt: skip
    return random.choice([*"abcdefghi", "", "#", "#nobody", *(f"#{letter}" for letter in "abcdefgh"), data, data[:-3], "data:,",
                         "data:text/css,a{}", "file:///etc/passwd", "http://localhost/x.svg", "../x.svg", "//x",
                         "data:image/svg+xml,<svg><use href='%23a'/></svg>", "x:y", "file:///dev/zero"])  # fmt: skip


def point(random, root) -> None:
    """References, also to what they stand in."""
    thing = some(random, root)
    thing.set("id", random.choice("abcdefgh"))
    user = xml.SubElement(random.choice([thing, root, some(random, root)]), SVG + "use")
    user.set(random.choice([XLINK, "href"]), "#" + random.choice(["abcdefgh", thing.get("id")])[:1])


ENTITIES = ['<!DOCTYPE svg [<!ENTITY a "b">]>', '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>', "<!DOCTYPE svg>",
            '<!DOCTYPE svg SYSTEM "http://localhost/x.dtd">',
            '<!DOCTYPE svg [<!ENTITY a "1234567890"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>',
            "<?xml-stylesheet href='file:///etc/passwd'?>", "<!-- x -->"]  # fmt: skip


def written(random, text: str) -> bytes:
    """The document as bytes: mostly as it is, sometimes with a prologue, in another encoding, packed, or damaged."""
    if random.random() < 0.1:
        text = random.choice(ENTITIES) + text.replace(">", ">&a;", random.randrange(2))
    if random.random() < 0.1:
        encoding = random.choice(["utf-8", "utf-16", "latin-1", "cp1252", "idna", "rot13", "hex", "utf-7", "", "x" * 99])
        text = f'<?xml version="{random.choice(["1.0", "1.1", "9", ""])}" encoding="{encoding}"?>{text}'
    if random.random() < 0.05:
        at = random.randrange(len(text))
        text = text[:at] + random.choice(["", "<", "&", "]]>", "\x00", "\x0b", "&#0;", "&#xD800;", "<![CDATA[", "\ufffe",
                    "\ud800"]) + text[at:]  # fmt: skip
    if random.random() < 0.05:  # deeper than this program could write it by itself
        name, deep, (head, sign, rest) = random.choice(NAMES), random.choice([300, 3000, 60_000]), text.rpartition("</")
        text = f"{head}{f'<{name}>' * deep}{f'</{name}>' * deep}{sign}{rest}"
    data = text.encode(random.choice(["utf-8"] * 12 + ["utf-16", "utf-8-sig", "utf-32", "utf-7"]),
                       "surrogatepass" if "\ud800" in text else "replace")  # fmt: skip
    if random.random() < 0.05:
        data = data[: random.randrange(len(data))]
    if random.random() < 0.08:
        data = gzip.compress(data, mtime=0)
        data = random.choice([data, data, data[:-9], data[:30], data + data, gzip.compress(data, mtime=0), bomb()])
    return data


@functools.cache
def bomb() -> bytes:
    """A gigabyte of spaces in a file of a megabyte."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        for _ in range(1024):
            file.write(b" " * (1 << 20))
    return packed.getvalue()


def feed(data: dict) -> None:
    from imggen_core.kit import targets

    if data["as"] == "text":
        text = data["svg"].decode("utf-8", "replace")
        if text.lstrip().startswith("<"):
            return checked(targets.target(text, data["size"]))
    Path("drawing.svg").write_bytes(data["svg"])
    checked(targets.target("drawing.svg", data["size"]))


def checked(picture) -> None:
    from imggen_core.kit import images

    images.checked_pictures(picture[None])
    assert picture.shape[1] * picture.shape[2] <= images.PIXELS, picture.shape
