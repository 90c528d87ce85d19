"""Reading untrusted SVG, drawing it, and writing clean SVG."""

import base64
import gzip
import http.server
import io
import json
import math
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from xml.etree import ElementTree

import cairosvg
import drawings
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imggen_core.kit import svg, svg_cairo, targets
from imggen_core.kit.settings import DATA, InputError
from imggen_core.tracing import judge

SPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SQUARE = '<rect width="9" height="9"/>'
SHIPPED = ("wireframe", "dashboard", "curves", "large")


def drawing(body: str = SQUARE, size: str = 'width="64" height="48"', before: str = "") -> str:
    return f"{before}<svg {SPACES} {size}>{body}</svg>"


def embedded(data: bytes, kind: str = "image/png") -> str:
    return f'<image href="data:{kind};base64,{base64.b64encode(data).decode()}" width="9" height="9"/>'


def png(width: int = 8, height: int = 8, colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def fan_out(levels: int, width: int = 10) -> str:
    """A few hundred bytes that draw width ** levels squares."""
    groups = "".join(f'<g id="a{i + 1}">{f"""<use xlink:href="#a{i}"/>""" * width}</g>' for i in range(levels))
    return drawing(f'<defs><rect id="a0" width="3" height="3"/>{groups}</defs><use xlink:href="#a{levels}"/>')


def peer(text: str, **options) -> np.ndarray:
    """The same drawing through CairoSVG's own PNG, read by Pillow."""
    data = cairosvg.svg2png(bytestring=text.encode(), background_color="white", **options)
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.float32) / 255


def refusal(function, *arguments, **options) -> str:
    """The line of the InputError that `function` raises, which must be one line that names the thing and what to do, in under 10 s."""
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        function(*arguments, **options)
    line = str(caught.value)
    assert time.perf_counter() - start < 10
    assert "\n" not in line and " — " in line and ": " in line
    assert len(line) < 400
    return line


# The targets that ship, and the ones that tests draw


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_targets_draw_as_cairosvg_draws_them(name):
    text = (DATA / f"{name}.svg").read_text()
    drawn = svg.read(DATA / f"{name}.svg")
    expected = peer(text)
    assert (drawn.height, drawn.width) == expected.shape[:2]
    picture = svg.rasterise(drawn)
    assert picture.dtype == np.float32
    np.testing.assert_allclose(picture, expected, atol=1e-6)
    np.testing.assert_array_equal(svg.rasterise(drawn, trusted=True), picture)
    np.testing.assert_allclose(svg.rasterise(drawn, scale=2, trusted=True), peer(text, scale=2), atol=1e-6)


@pytest.mark.parametrize("kind", drawings.KINDS)
def test_random_targets_are_what_they_say(kind):
    texts = [drawings.make(kind, seed) for seed in range(20)]
    assert texts == [drawings.make(kind, seed) for seed in range(20)]
    assert len({text for text, _ in texts}) == 20
    for text, truth in texts:
        root = ElementTree.fromstring(text)
        elements = [element for element in root if element.get("width") != root.get("width") or element.get("height") != root.get("height")]
        assert len(elements) == truth
        assert {element.tag.rpartition("}")[2] for element in elements} <= {"rect", "line", "path", "polyline", "circle", "ellipse"}
        picture = svg.rasterise(text, trusted=True)
        assert picture.shape == (int(root.get("height")), int(root.get("width")), 3)
        assert len(np.unique((picture * 255) @ [1, 256, 65536])) > 4


def test_random_targets_have_the_sizes_of_their_kind():
    for kind, (low, high) in {"ui": (16, 34), "dashboard": (16, 36), "curves": (10, 18), "large": (24, 44)}.items():
        counts = [drawings.make(kind, seed)[1] for seed in range(100)]
        assert low <= min(counts) and max(counts) <= high, kind


# Sizes


SIZES = {
    'width="64" height="48"': (64, 48),
    'width="50mm" height="20mm"': (189, 76),
    'width="1in" height="2cm"': (96, 76),
    'width="100.5" height="51.5"': (100, 52),
    'width="99.6" height="20.4"': (100, 20),
    'viewBox="-10 -20 80 40"': (80, 40),
    'viewBox="0,0,80,40"': (80, 40),
    'width="100%" height="100%" viewBox="0 0 80 40"': (80, 40),
    'width="40" viewBox="0 0 80 30"': (40, 30),
    'width="auto" height="auto" viewBox="0 0 9 7"': (9, 7),
    'style="width:70px;height:30px"': (70, 30),
    'width="1" height="10000"': (1, 10000),
}


@pytest.mark.parametrize("size", SIZES)
def test_native_size_is_that_of_cairosvgs_png(size):
    text = drawing(size=size)
    assert peer(text).shape[1::-1] == SIZES[size]
    drawn = svg.read(text)
    assert (drawn.width, drawn.height) == SIZES[size]
    picture = svg.rasterise(drawn, trusted=True)
    assert picture.shape == (drawn.height, drawn.width, 3)
    assert picture[-1, -1].min() > 0.99 or drawn.width < 10  # a fractional edge is white, not half transparent


@pytest.mark.parametrize(
    "size, says",
    {
        "": "no width, height or viewBox",
        'width="100%" height="100%"': "no width, height or viewBox",
        'viewBox="0 0 0 0"': "no width, height or viewBox",
        'width="big" height="5"': "no width, height or viewBox",
        'viewBox="0 0 80"': "not a number",
        'viewBox="a b c d"': "not a number",
        'width="px" height="5"': "not a number",
        'viewBox="0 0 -80 40"': "positive",
        'width="-5" height="5"': "positive",
        'width="nan" height="5"': "positive",
        'width="1e400" height="5"': "positive",
        'width="0.2" height="0.2"': "less than one",
        'width="30000" height="30000"': "30000 × 30000 pixels",
        'viewBox="0 0 1e9 1e9"': "4,194,304",
        'width="40000" height="2"': "32,767",
    }.items(),
)
def test_sizes_that_cannot_be_drawn_are_refused(size, says):
    assert says in refusal(targets.target, drawing(size=size))


def test_reading_refuses_what_has_no_size_or_too_large_a_one():
    assert "no width, height or viewBox" in refusal(svg.read, drawing(size=""))
    assert "4,194,304" in refusal(svg.read, drawing(size='width="30000" height="30000"'))


def test_image_size_gives_a_size_to_what_has_none_or_too_large_a_one():
    assert targets.target(drawing(size=""), 32).shape == (3, 32, 32)
    assert targets.target(drawing(size=""), "20x10").shape == (3, 10, 20)
    assert targets.target(drawing(size='width="30000" height="15000"'), 64).shape == (3, 32, 64)


@pytest.mark.parametrize(
    "image_size, shape",
    [
        (None, (180, 320)),
        ("none", (180, 320)),
        (64, (36, 64)),
        ("64", (36, 64)),
        (1, (1, 1)),
        ((31, 77), (77, 31)),
        ([31, 77], (77, 31)),
        ("31x77", (77, 31)),
        ("1 × 50", (50, 1)),
        ((15, 1), (1, 15)),
        (np.int64(17), (10, 17)),
    ],
)
def test_image_size_is_obeyed(image_size, shape):
    picture = targets.target(DATA / "dashboard.svg", image_size)
    assert picture.shape == (3, *shape) and picture.dtype == torch.float32
    assert picture.is_contiguous() and 0 <= picture.min() and picture.max() <= 1


@pytest.mark.parametrize(
    "image_size",
    [0, -1, 10**6, 10**400, "text", "0x5", "5x", "x", "5x5x5", "1e2", 2.5, math.nan, math.inf, True, (3000, 3000), (), object(), "9" * 99],
)
def test_wrong_image_sizes_are_refused(image_size):
    assert refusal(targets.target, DATA / "dashboard.svg", image_size).startswith("image_size: ")


def test_a_drawing_of_another_aspect_is_fitted_inside_and_centred():
    picture = targets.target(drawing('<rect width="64" height="48" fill="#ff0000"/>'), "64x68")
    red = (picture[0] > 0.9) & (picture[1] < 0.1)
    assert red[10:58].all() and not red[:10].any() and not red[58:].any()


def test_width_alone_keeps_the_aspect_ratio():
    drawn = svg.read(DATA / "dashboard.svg")
    assert svg.rasterise(drawn, width=160, trusted=True).shape == (90, 160, 3)
    assert svg.rasterise(drawn, height=90, scale=2, trusted=True).shape == (180, 320, 3)
    for wrong in ({"width": 0}, {"height": 5000}, {"scale": 0}, {"scale": math.nan}, {"scale": 100}):
        refusal(svg.rasterise, drawn, **wrong)


# What works


@pytest.mark.parametrize(
    "text",
    [
        drawing(before='<?xml version="1.0" encoding="UTF-8"?>\n<!-- made by hand -->\n'),
        drawing(before='<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">'),
        drawing(f'<g transform="scale(2) rotate(5)"><svg x="2" width="9" height="9">{SQUARE}</svg></g>'),
        drawing(
            '<defs><rect id="a" width="9" height="9"/></defs><use xlink:href="#a" x="4"/><use href="#a" y="9"/><use href="#missing"/><use/>'
        ),
        drawing("<style>rect { fill: #123456 }</style>" + SQUARE),
        drawing(
            '<linearGradient id="g"><stop stop-color="red"/><stop offset="1"/></linearGradient><rect width="9" height="9" fill="url(#g)"/>'
        ),
        drawing('<text x="2" y="20" font-size="14">Hé</text>' + SQUARE),
        drawing("<g>" * 100 + SQUARE + "</g>" * 100),
        drawing(embedded(png()) + embedded(drawing().encode(), "image/svg+xml")),
        '<svg width="9" height="9"><rect width="4" height="4"/></svg>',
        '<s:svg xmlns:s="http://www.w3.org/2000/svg" width="9" height="9"><s:rect width="4" height="4"/></s:svg>',
    ],
)
def test_ordinary_svg_of_every_kind_is_drawn(text):
    assert targets.target(text).min() < 0.9


def test_an_empty_drawing_and_transparency_are_white():
    assert targets.target(drawing("")).min() == 1
    half = targets.target(drawing('<rect width="64" height="48" fill="black" opacity="0.5"/>'))
    assert half.min() == pytest.approx(0.5, abs=0.01) and half.max() == pytest.approx(0.5, abs=0.01)


ENCODINGS = {
    "byte order mark": b"\xef\xbb\xbf" + drawing().encode(),
    "utf-16": drawing(before='<?xml version="1.0" encoding="UTF-16"?>').encode("utf-16"),
    "latin-1": drawing("<text>é</text>" + SQUARE, before='<?xml version="1.0" encoding="iso-8859-1"?>').encode("latin-1"),
    "gzip": gzip.compress(drawing().encode()),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_files_in_other_encodings_are_read(tmp_path, encoding):
    file = tmp_path / "drawing.svg"
    file.write_bytes(ENCODINGS[encoding])
    drawn = svg.read(file)
    assert (drawn.width, drawn.height) == (64, 48) and drawn.text.startswith("<svg")
    assert svg.rasterise(drawn, trusted=True).min() == 0


def test_paths_are_seen_from_the_working_folder_and_then_from_the_project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert svg.read("data/wireframe.svg").width == 256
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "wireframe.svg").write_text(drawing())
    assert svg.read("data/wireframe.svg").width == 64


def test_pictures_are_targets_too(tmp_path):
    file = tmp_path / "red.svg"  # what a file is, its content says
    file.write_bytes(png(8, 4))
    assert torch.equal(targets.target(file), torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 4, 8))
    assert targets.target(file, 16).shape == (3, 8, 16)
    file.write_bytes(png(3000, 2000))
    assert "3000 × 2000 pixels" in refusal(targets.target, file)
    assert targets.target(file, 30).shape == (3, 20, 30)


def test_a_picture_is_measured_without_torch_and_alike(tmp_path):
    for name, data in (("a.svg", drawing().encode()), ("a.png", png(9, 4))):
        (tmp_path / name).write_bytes(data)
        for size in (None, 20, "20x30"):
            assert targets.read(tmp_path / name, size)[1] == targets.target(tmp_path / name, size).shape[1:]
    program = f"import sys; from imggen_core.kit import targets; targets.read({str(tmp_path / name)!r}, 20); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_what_is_too_large_to_draw_at_four_times_the_size_has_no_truth_there(tmp_path):
    for height, shape in ((2000, None), (40, (3, 160, 40))):
        (tmp_path / "a.svg").write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="10" height="{height}"/>')
        large = judge.enlarged(tmp_path / "a.svg", targets.target(tmp_path / "a.svg"))
        assert (large if large is None else large.shape) == shape


def test_a_gigantic_size_is_said_in_few_digits():
    said = refusal(svg.rasterise, '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1e300 1e200"/>')
    assert "is 1e+300 × 1e+200 pixels" in said and len(said) < 100


# What is refused


CONTENTS = {
    b"": "is empty",
    b" \n\t": "is empty",
    b"\0" * 1000: "binary data",
    bytes(range(128, 256)) * 20: "not text in utf-8",
    drawing("<text>é</text>").encode("latin-1"): "not text in utf-8",
    drawing(before='<?xml version="1.0" encoding="klingon"?>').encode(): "not text in klingon",
    drawing(before='<?xml version="1.0" encoding="hex"?>').encode(): "not text in hex",
    drawing().encode("utf-16-le"): "binary data",
    b"hello there": "does not start with <",
    drawing().encode() + b" " * 5_000_000: "larger than 5 MB",
    gzip.compress(drawing().encode())[:-12]: "damaged",
    gzip.compress(b"<svg>" + b" " * 50_000_000): "larger than 5 MB",
    b"<svg><g></svg>": "not well-formed XML",
    b"<svg width='5' height='5'>": "not well-formed XML",
    b"<svg width='5' height='5'>\x01</svg>": "not well-formed XML",
    b"<html><body/></html>": "not an SVG",
}


@pytest.mark.parametrize("content, says", CONTENTS.items(), ids=CONTENTS.values())
def test_files_that_hold_no_svg_are_refused(tmp_path, content, says):
    file = tmp_path / "drawing.svg"
    file.write_bytes(content)
    line = refusal(targets.target, file)
    assert line.startswith(f"{file}: ") and says in line


def test_paths_that_are_no_file_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "drawing.svg").write_text(drawing())
    assert "did you mean drawing.svg?" in refusal(targets.target, tmp_path / "drwing.svg")
    assert "no such file" in refusal(targets.target, tmp_path / "nowhere" / "x.svg")
    assert "is a folder" in refusal(targets.target, tmp_path)
    assert "not an ordinary file" in refusal(targets.target, tmp_path / "pipe")
    assert "not an ordinary file" in refusal(targets.target, "/dev/zero")
    for path in ("", "  ", "a\0b", "x" * 5000, "~nobody-of-that-name/x.svg"):
        refusal(targets.target, path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux: a file that even root cannot read")
def test_an_unreadable_file_is_refused():
    assert "cannot be read" in refusal(targets.target, "/proc/self/mem")


DEEP = drawing("<g>" * 5000 + "</g>" * 5000)
HOSTILE = {
    "declares XML entities": [
        '<!DOCTYPE svg [<!ENTITY a "xxxxxxxxxx"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + drawing("<text>&b;</text>"),
        '<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + drawing("<text>&a;</text>"),
    ],
    "refers to itself": [
        DEEP,
        drawing('<g id="a"><use xlink:href="#a"/></g>'),
        drawing('<g id="a"><use xlink:href="#b"/></g><g id="b"><use xlink:href="#a"/></g>'),
        drawing(
            '<pattern id="p" width="4" height="4" patternUnits="userSpaceOnUse"><rect width="4" height="4" fill="url(#p)"/></pattern>'
            '<rect width="20" height="20" fill="url(#p)"/>'
        ),
        drawing('<mask id="m"><rect width="9" height="9" mask="url(#m)"/></mask><rect width="20" height="20" mask="url(#m)"/>'),
        drawing(
            '<marker id="m" viewBox="0 0 4 4"><path d="M0 0L2 2" marker-end="url(#m)"/></marker><path d="M0 0L9 9" marker-end="url(#m)"/>'
        ),
        drawing(
            '<clipPath id="c"><rect width="9" height="9" clip-path="url(#c)"/></clipPath><rect width="20" height="20" clip-path="url(#c)"/>'
        ),
    ],
    "1,024 MB": [
        drawing(
            '<pattern id="p" width="1e9" height="1e9" patternUnits="userSpaceOnUse"><rect width="4" height="4"/></pattern>'
            '<rect width="20" height="20" fill="url(#p)"/>'
        ),
        drawing("<g opacity='.9'>" * 100 + "<rect width='2000' height='2000'/>" + "</g>" * 100, 'width="2000" height="2000"'),
    ],
    "embeds": [
        drawing('<image href="data:image/png;base64,A" width="9" height="9"/>'),
        drawing(embedded(b"%!PS-Adobe-3.0 EPSF-3.0\n", "image/eps")),
        drawing(embedded(gzip.compress(b"<svg/>" + b" " * 50_000_000), "image/svg+xml")),
        drawing(embedded(png(1, 1)[:16] + (60_000).to_bytes(4) * 2 + png(1, 1)[24:])),
    ],
    "cannot be drawn": [
        drawing('<rect width="9" height="9" opacity="50%"/>'),
        drawing('<path d="M0 0L9 9" stroke="red" stroke-dasharray="-1 2"/>'),
        drawing("<style>}}}{{{ rect{fill:red</style>"),
        drawing(embedded(png()[:30])),
    ],
    "seconds": [fan_out(6)],
}


@pytest.mark.parametrize("says, text", [(says, text) for says, texts in HOSTILE.items() for text in texts], ids=lambda value: value[:30])
def test_hostile_svg_ends_in_one_line(says, text):
    assert says in refusal(targets.target, text)


def test_harmless_extravagance_is_drawn():
    bodies = [
        '<path d="M0 0H1000000000" stroke="red" stroke-dasharray="0.0001 0.0001"/>',
        f'<path d="M0 0L64 48" stroke="red" stroke-dasharray="{"1 " * 50_000}"/>',
        '<filter id="f" width="2e9" height="2e9"><feGaussianBlur stdDeviation="1e9"/></filter><g filter="url(#f)"/>',
        '<path d="M-1e30 0L1e30 1e30Q1e38 0 0 1e38" stroke="red" stroke-width="1e20"/><rect width="nan" height="5"/><path d="zzz"/>',
        '<linearGradient id="a" xlink:href="#b"/><linearGradient id="b" xlink:href="#a"/><rect width="20" height="20" fill="url(#a)"/>',
    ]
    for body in bodies:
        assert targets.target(drawing(body)).shape == (3, 48, 64)


def outside(where: str) -> list[str]:
    """Drawings that each refer to something at `where`, a URL or a path of a picture, outside the file."""
    bodies = [
        f'<image xlink:href="{where}" width="9" height="9"/>',
        f'<image href="{where}" width="9" height="9"/>',
        f'<image xml:base="{where}" href="" width="9" height="9"/>',
        f'<image xml:base="{where.rpartition("/")[0]}/" href="{where.rpartition("/")[2]}" width="9" height="9"/>',
        f'<use xlink:href="{where}#x"/>',
        f'<use href="{where}"/>',
        f'<text>a<tref xlink:href="{where}#x"/></text>',
        f'<style>@import url("{where}"); @font-face {{ src: url({where}) }} rect {{ fill: url({where}#g) }}</style>{SQUARE}',
        f'<rect width="9" height="9" fill="url({where}#g)" mask="url({where}#m)" filter="url({where}#f)" clip-path="url({where}#c)"/>',
        f'<path d="M0 0L9 9" marker-end="url({where}#m)"/><a xlink:href="{where}">{SQUARE}</a><script href="{where}"/>',
        f'<linearGradient id="g" xlink:href="{where}#h"/><rect width="9" height="9" fill="url(#g)"/>',
        embedded(drawing(f'<image href="{where}" width="9" height="9"/>').encode(), "image/svg+xml"),
    ]
    heads = [
        f'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "{where}">',
        f'<!DOCTYPE svg [<!ENTITY % a SYSTEM "{where}"> %a;]>',
        f'<?xml-stylesheet href="{where}"?>',
    ]
    return [drawing(body) for body in bodies] + [drawing(before=head) for head in heads]


@pytest.fixture
def server():
    requests = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            requests.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png())

        def log_message(self, *words):
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/secret.png", requests
    listening.shutdown()


def test_nothing_is_fetched(server):
    where, requests = server
    for text in outside(where):
        try:
            assert targets.target(text).shape == (3, 48, 64)
        except InputError as error:
            assert re.search("nothing outside the file|entities|draw_markers", str(error)), error
    assert requests == []
    import urllib.request

    urllib.request.urlopen(where)  # the server would have seen it
    assert requests == ["/secret.png"]


def test_nothing_is_read_from_disk(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(64, 48))
    for where in (str(secret), f"file://{secret}"):
        for text in outside(where):
            try:
                picture = svg.rasterise(text, trusted=True)  # the child draws with the same code
            except InputError as error:
                assert re.search("nothing outside the file|entities|draw_markers", str(error)), error
            else:
                assert not ((picture[..., 0] > 0.9) & (picture[..., 1] < 0.1)).any()


WATCHED = """
import json, sys
sys.path.insert(0, sys.argv[1])
import svg_cairo
texts = json.load(sys.stdin)
ask = {"draw": True, "width": None, "height": None, "longer": None, "scale": 1, "pixels": 10**6}
svg_cairo.work(ask, texts[0].encode())  # all modules are loaded
seen = []
watched = {"open", "socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "urllib.Request"}
def watch(event, arguments):
    if event in watched and not (event == "urllib.Request" and str(arguments[0]).startswith("data:")):
        seen.append((event, str(arguments[0])))
sys.addaudithook(watch)
for text in texts:
    svg_cairo.work(ask, text.encode())
open("/dev/null").close()
print(json.dumps(seen))
"""


def test_drawing_opens_no_file_and_no_connection(tmp_path):
    """Python's own audit events say so: nothing but the one file that the script opens at its end."""
    (tmp_path / "secret.png").write_bytes(png())
    texts = [drawing(embedded(png()) + "<text>a</text>"), *outside(f"{tmp_path}/secret.png"), *outside("http://127.0.0.1:9/secret.png")]
    texts += [text for says, group in HOSTILE.items() if says not in ("seconds", "1,024 MB", "refers to itself") for text in group]
    command = [sys.executable, "-P", "-c", WATCHED, str(Path(svg_cairo.__file__).parent)]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seen = [event for event in json.loads(done.stdout) if not event[1].endswith((".pyc", ".py", ".so"))]
    assert seen == [["open", "/dev/null"]]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not all limit a process's memory")
def test_the_childs_memory_is_bounded():
    measure = (
        "import resource, sys; from imggen_core.kit import svg\n"
        "try: svg.rasterise(sys.stdin.read())\n"
        "except svg.InputError as error: print(error)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", measure], input=HOSTILE["1,024 MB"][1], capture_output=True, text=True, timeout=60)
    line, kilobytes = done.stdout.splitlines()
    assert "1,024 MB" in line
    assert int(kilobytes) < 1.1 * 2**20


def test_a_drawing_of_our_own_takes_milliseconds():
    text = (DATA / "wireframe.svg").read_text()
    svg.rasterise(text, trusted=True)
    times = []
    for _ in range(10):
        start = time.process_time()
        svg.rasterise(text, trusted=True)
        times.append(time.process_time() - start)
    assert min(times) < 0.03


# Writing


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)
words = st.text(max_size=40)


@given(finite)
def test_numbers_are_plain_decimals_close_to_the_value(value):
    text = svg.number(value)
    assert re.fullmatch(r"-?\d+(\.\d{1,3})?", text) and text != "-0"
    assert not re.search(r"\.\d*0$", text)
    assert abs(float(text) - value) <= 0.0005 + abs(value) * 1e-12


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.inf)])
def test_what_is_not_finite_is_never_written(value):
    with pytest.raises(ValueError, match="line x1"):
        svg.element("line", x1=value)
    with pytest.raises(ValueError, match="path d"):
        svg.element("path", d=["M", 0, value])


@given(words)
def test_text_is_escaped_and_comes_back(text):
    parsed = ElementTree.fromstring(svg.element("rect", id=text))
    illegal = "[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
    assert parsed.attrib == {"id": re.sub(illegal, "", text)}
    assert list(parsed) == [] and parsed.text is None


def test_attributes_are_named_as_svg_names_them():
    line = svg.element("line", x1=np.float32(0.1), x2=torch.tensor(2.5), y1=1e-9, y2=1e22, stroke_width=2, class_="a", fill=None)
    assert line == '<line x1="0.1" x2="2.5" y1="0" y2="10000000000000000000000" stroke-width="2" class="a"/>'
    assert svg.element("path", d=["M", 1, 2.0, "Q", np.array([3.25, 4]), (5, 6)]) == '<path d="M 1 2 Q 3.25 4 5 6"/>'
    for name in ("rect onload", "a>b", "", "1a", "é"):
        with pytest.raises(ValueError):
            svg.element(name)
        with pytest.raises(ValueError):
            svg.element("rect", **{name: 1})


side = st.integers(1, 24)
colour = st.tuples(*[st.integers(0, 255)] * 3)
boxes = st.lists(st.tuples(st.integers(-4, 24), st.integers(-4, 24), side, side, colour), max_size=6)


@given(side, side, colour, boxes)
def test_what_is_written_draws_as_meant(width, height, paper, boxes):
    """Rectangles on whole pixels, painted in order, against the same painted into an array."""
    hexed = "#{:02x}{:02x}{:02x}".format
    elements = [svg.element("rect", x=x, y=y, width=w, height=h, fill=hexed(*rgb)) for x, y, w, h, rgb in boxes]
    expected = np.full((height, width, 3), paper)
    for x, y, w, h, rgb in boxes:
        expected[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = rgb
    text = svg.document(width, height, elements, hexed(*paper))
    np.testing.assert_array_equal((svg.rasterise(text, trusted=True) * 255).round(), expected)


def test_a_document_without_background_is_white_and_read_back():
    text = svg.document(30, 20.4, [svg.element("circle", cx=9, cy=9, r=5)])
    drawn = svg.read(text)
    assert (drawn.width, drawn.height) == (30, 20)
    assert svg.rasterise(drawn)[0, 0].tolist() == [1, 1, 1]
