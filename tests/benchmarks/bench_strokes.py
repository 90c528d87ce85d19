"""Chapter 02's figures: the stroke fit against the naive decoder of chapter 01, the file that it writes, and a 512×512 target.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_strokes.py
BENCH_SEEDS=3 adds three random targets of each kind instead of one; BENCH_NAIVE=0 leaves the decoder out (a minute per target).
"""

import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET

import drawings
import pytest

from imggen_core.kit import show
from imggen_core.kit.settings import ROOT

SEEDS = range(int(os.environ.get("BENCH_SEEDS", 1)))
NAIVE = os.environ.get("BENCH_NAIVE", "1") != "0"
DATA = {"wireframe": "ui", "dashboard": "dashboard", "curves": "curves"}
LIMITS = {  # what the course promises, per kind
    "ui": {"30 dB ratio": 0.5, "40 dB ratio": 0.25, "SVG dB": 50, "elements/truth": 1.1},
    "dashboard": {"30 dB ratio": 0.5, "40 dB ratio": 0.3, "SVG dB": 45, "elements/truth": 1.25},
    "curves": {"30 dB ratio": 0.7, "40 dB ratio": 1.0, "SVG dB": 40, "elements/truth": 1.5},
}
AT_LEAST = ("SVG dB", "4x gain dB")
STROKES = """
import json, resource, sys
from imggen_core import strokes
from imggen_core.kit.run import Run
run = Run("strokes", folder=sys.argv[2], device="cpu", precision="float32", quiet=True)
strokes.train(run, target=sys.argv[1])
print(json.dumps({"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""
WIREFRAME = """
import sys
from imggen_core import wireframe
from imggen_core.kit.run import Run
run = Run("wireframe", folder=sys.argv[2], device="cpu", precision="float32", quiet=True)
wireframe.train(run, target=sys.argv[1], models=["naive"], goal_db=40, progress_every=10**9)
"""
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "IMGGEN_HEADLESS": "1"}


def python(code: str, *words) -> str:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=ONE_THREAD, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def fitted(file, folder) -> dict:
    """results.json of a fit in a process of its own, with its peak memory."""
    last = json.loads(python(STROKES, file, folder).splitlines()[-1])
    return json.loads((folder / "results.json").read_text()) | last


def decoded(file, folder) -> dict:
    """What the naive decoder of chapter 01 needs on one target: CPU seconds to 30 and 40 dB, and where it stopped."""
    python(WIREFRAME, file, folder)
    return json.loads((folder / "results.json").read_text())["naive"]


def truth(file) -> int:
    """How many elements an SVG draws on its background."""
    shapes = {"rect", "line", "path", "ellipse", "circle", "polyline", "polygon"}
    drawn = [node for node in ET.parse(file).iter() if node.tag.rpartition("}")[2] in shapes]
    first = drawn[0]
    return len(drawn) - (first.tag.endswith("rect") and float(first.get("x", 0)) == float(first.get("y", 0)) == 0)


def ratio(mine: float | None, other: float | None) -> float | None:
    return None if mine is None or other is None else mine / other


def row(name: str, kind: str, file, elements: int, folder) -> dict:
    """One line of the table."""
    r = fitted(file, folder / "strokes")
    naive = decoded(file, folder / "naive") if NAIVE else {}
    out = {"target": name, "kind": kind}
    for db in (30, 40):
        key = f"cpu_seconds_to_{db}_db"
        out |= {f"{db} dB s": r[key], f"naive {db} dB s": naive.get(key), f"{db} dB ratio": ratio(r[key], naive.get(key))}
    return out | {
        "SVG dB": r["svg_psnr_db"],
        "elements": r["primitives"],
        "truth": elements,
        "elements/truth": r["primitives"] / elements,
        "4x gain dB": r["svg_psnr_4x_db"] - r["bicubic_4x_db"],
        "useless": r["useless_elements"],
        "bytes": r["svg_bytes"],
        "CPU s": r["cpu_seconds"],
        "MB": r["peak_mb"],
    }


def missed(row: dict) -> list[str]:
    """Which promises a row does not keep. A decoder that never gets to a level has lost to a fit that does."""
    limits = LIMITS[row["kind"]] | {"4x gain dB": 4, "useless": 0}
    fails = lambda name: row[name] < limits[name] if name in AT_LEAST else row[name] > limits[name]
    bad = [name for name in limits if row[name] is not None and fails(name)]
    bad += [f"{db} dB" for db in (30, 40) if row[f"{db} dB s"] is None]
    return [f"{row['target']}: {name} {row.get(name)} (promised {limits.get(name)})" for name in bad]


@pytest.mark.timeout(7200)
def test_strokes_against_the_naive_decoder(tmp_path):
    todo = [(name, kind, ROOT / f"data/{name}.svg", truth(ROOT / f"data/{name}.svg")) for name, kind in DATA.items()]
    for kind in LIMITS:
        for seed in SEEDS:
            text, elements = drawings.make(kind, seed)
            file = tmp_path / f"{kind}-{seed}.svg"
            file.write_text(text)
            todo.append((f"random {kind} {seed}", kind, file, elements))
    rows = []
    for name, kind, file, elements in todo:
        rows.append(row(name, kind, file, elements, tmp_path / name))
        print("\n", show.table(rows[-1:]), sep="", flush=True)  # a minute each: show each when it is there
    print("", show.table(rows, "one thread, one run"), sep="\n")
    assert not [line for one in rows for line in missed(one)]


@pytest.mark.timeout(1800)
def test_a_512_by_512_target(tmp_path):
    r = fitted(ROOT / "data/large.svg", tmp_path / "large")
    names = {"30 dB s": "cpu_seconds_to_30_db", "40 dB s": "cpu_seconds_to_40_db", "SVG dB": "svg_psnr_db", "CPU s": "cpu_seconds",
             "elements": "primitives", "MB": "peak_mb", "useless": "useless_elements"}  # fmt: skip
    line = {name: r[key] for name, key in names.items()}
    print("", show.table([{"target": "large 512×512", "truth": truth(ROOT / "data/large.svg")} | line], "one thread, one run"), sep="\n")
    assert line["30 dB s"] <= 25 and line["SVG dB"] >= 45 and line["CPU s"] <= 120 and line["MB"] < 1500 and line["useless"] == 0
