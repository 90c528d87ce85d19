"""What chapter 01 costs: CPU seconds to 30 and 40 dB of each network on one thread, per target; and what optimize_memory trades."""

import json
import os
import subprocess
import sys

import pytest

from imggen_core.kit import show
from imggen_core.kit.settings import ROOT

TARGETS = ("wireframe", "dashboard", "curves")
RUN = """
import sys
from imggen_core import wireframe
from imggen_core.kit.run import Run
run = Run("wireframe", folder=sys.argv[2], device="cpu", precision="float32", seed=int(sys.argv[3]), quiet=True)
wireframe.train(run, target=sys.argv[1], progress_every=10**9)
"""
COST = """
import json, sys
from imggen_core import wireframe
from imggen_core.kit import svg
image = targets.target("data/wireframe.svg", int(sys.argv[1]))
net = wireframe.WireframeDecoder(image.shape[2], image.shape[1], optimize_memory=sys.argv[2] == "True")
print(json.dumps(wireframe.step_cost(net, image)))
"""
ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1", "IMGGEN_HEADLESS": "1"}


def python(code: str, *words) -> str:
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, env=ONE_THREAD, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.timeout(3600)
def test_seconds_to_30_and_40_db(tmp_path):
    rows = []
    for target in TARGETS:
        for seed in (0, 1):
            folder = tmp_path / f"{target}-{seed}"
            python(RUN, f"data/{target}.svg", folder, seed)
            results = json.loads((folder / "results.json").read_text())
            rows += [{"target": target, "seed": seed, "network": name} | results[name] for name in ("naive", "grid", "fourier", "siren")]
    print("", show.table(rows), sep="\n")
    for row in rows:
        if row["network"] in ("naive", "grid"):
            assert row["cpu_seconds_to_40_db"] is not None, row
    for target in TARGETS:
        seconds = {name: [row["cpu_seconds_to_40_db"] for row in rows if (row["target"], row["network"]) == (target, name)]
                   for name in ("naive", "grid")}  # fmt: skip
        assert sum(seconds["grid"]) < 0.25 * sum(seconds["naive"]), target


@pytest.mark.timeout(600)
def test_what_optimize_memory_trades():
    rows = [{"longer side": side, "optimize_memory": optimize} | json.loads(python(COST, side, optimize))
            for side in (256, 1024) for optimize in (False, True)]  # fmt: skip
    print("", show.table(rows), sep="\n")
    for plain, optimized in zip(rows[::2], rows[1::2], strict=True):
        assert optimized["activations_mb"] < plain["activations_mb"]
