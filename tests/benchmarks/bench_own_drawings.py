"""Chapter 02 on drawings of other people: icons, flags, emoji and charts at 64, 128 and 256 pixels, beside what vtracer makes of them.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_own_drawings.py
BENCH_SIZES="128" takes one size, BENCH_DRAWINGS=DIR other drawings. What the fit was tuned on: drawings_of_others/README.md.
"""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import pytest
import torch
from PIL import Image

from imggen_core.kit import images, settings, show, svg, targets
from imggen_core.kit.images import psnr
from imggen_core.kit.settings import ROOT

HERE = Path(os.environ.get("BENCH_DRAWINGS", Path(__file__).with_name("drawings_of_others")))
SIZES = [int(size) for size in os.environ.get("BENCH_SIZES", "64 128 256").split()]
LONGEST = 120  # seconds on one core
TRAIN = """
import json, sys, time
from imggen_core import strokes
from imggen_core.kit.run import Run
run = Run("strokes", folder=sys.argv[3], device="cpu", precision="float32", quiet=True)
begun = time.process_time()
strokes.train(run, target=sys.argv[1], image_size=int(sys.argv[2]))
print(json.dumps({"seconds": time.process_time() - begun}))
"""
VTRACER = "import sys, vtracer; vtracer.convert_image_to_svg_py(sys.argv[1], sys.argv[2])"
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "IMGGEN_HEADLESS": "1"}


def child(code: str, *words) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], env=ONE_THREAD, cwd=ROOT, capture_output=True, text=True)


def row(file: Path, size: int, folder: Path) -> dict:
    """One line of the table: the fit, and vtracer's on the same pixels, both drawn by CairoSVG."""
    image = targets.target(file, size)
    done = child(TRAIN, file, size, folder)
    out = {"drawing": file.stem[:32], "pixels": size, "status": done.returncode}
    if done.returncode == 0:
        figures = json.loads((folder / "results.json").read_text())
        out |= {"dB": figures["svg_psnr_db"], "elements": figures["primitives"], "bytes": figures["svg_bytes"]}
        out |= {"s": json.loads(done.stdout.splitlines()[-1])["seconds"], "4x dB": figures["svg_psnr_4x_db"]}
    images.save_image(image, folder / "target.png")
    begun = time.monotonic()
    child(VTRACER, folder / "target.png", folder / "vtracer.svg").check_returncode()
    text = (folder / "vtracer.svg").read_text()
    height, width = image.shape[1:]
    drawn = torch.from_numpy(svg.rasterise(text, width, height)).permute(2, 0, 1)
    large = torch.from_numpy(svg.rasterise(text, 4 * width, 4 * height)).permute(2, 0, 1)
    out |= {"vtracer dB": psnr(drawn, image), "v. paths": text.count("<path"), "v. bytes": len(text.encode())}
    return out | {"v. 4x dB": psnr(large, targets.target(file, (4 * width, 4 * height))), "v. s": time.monotonic() - begun}


def compared(folders: list[Path], side: int = 150, across: int = 4) -> Image.Image:
    """All drawings as one picture, each beside its fit and what vtracer made of it, drawn anew at `side` pixels."""
    page = Image.new("RGB", (across * (3 * side + 16), -(-len(folders) // across) * (side + 8)), "#999999")
    for n, folder in enumerate(folders):
        for k, file in enumerate((HERE / f"{folder.name}.svg", folder / f"{folder.name}.svg", folder / "vtracer.svg")):
            picture = images.to_pil(targets.target(file, side))
            page.paste(picture, (n % across * (3 * side + 16) + k * (side + 2), n // across * (side + 8)))
    return page


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("size", SIZES)
def test_drawings_of_other_people(size, tmp_path):
    rows = []
    for file in sorted(HERE.glob("*.svg")):
        rows.append(row(file, size, tmp_path / file.stem))
        print("\n", show.table(rows[-1:]), sep="", flush=True)
    page = settings.RUNS / f"drawings-of-others-{size}.png"
    page.parent.mkdir(exist_ok=True)
    compared([tmp_path / file.stem for file in sorted(HERE.glob("*.svg"))]).save(page)
    print(f"truth, fit and vtracer's, side by side: {page}")
    print("", show.table(rows, f"{size} pixels, one thread, one run"), sep="\n")
    count = lambda good: f"{sum(map(good, rows))} of {len(rows)}"
    print("at least 35 dB:", count(lambda r: r.get("dB", 0) >= 35))
    print("fewer bytes than vtracer:", count(lambda r: r.get("bytes", math.inf) < r["v. bytes"]))
    print("median dB:", *(f"{name} {median(r.get(key, 0) for r in rows):.1f}" for name, key in (("ours", "dB"), ("vtracer", "vtracer dB"))))
    bad = [r["drawing"] for r in rows if r["status"] or r.get("s", 0) > LONGEST]
    assert not bad, f"status or time: {bad}"
    good = sum(r["dB"] >= 35 for r in rows)
    assert 10 * good >= 9 * len(rows), f"{good} of {len(rows)} reach 35 dB, fewer than nine of ten"
