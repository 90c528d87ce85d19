"""Chapter 04's figures: the judge against the formulas, how it stands spoilt pictures, what a design costs, and what a training waits for.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_designs.py
"""

import io
import time

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import nn

from imggen_core import designs
from imggen_core.kit import show

HELD_OUT = 500


@pytest.fixture(scope="module")
def layouts():
    return [designs.compose(designs.SPLITS["test"], index) for index in range(HELD_OUT)]


@pytest.fixture(scope="module")
def truth(layouts):
    return np.array([designs.grammar(layout) for layout in layouts])


def test_judge_against_formula(layouts, truth):
    rows = []
    for size in (48, 64, 96, 128, 256, (96, 160)):
        seen = np.array([designs.judge(designs.draw(layout, size)[0]) for layout in layouts])
        rows += [{"size": str(size)} | row for row in designs.agreement(truth, seen)]
    print(f"\n{show.table(rows, f'judge against formula, {HELD_OUT} test designs')!r}")
    assert all(row["R2"] > 0.9 and row["MAE"] < 0.05 for row in rows if row["size"] != "48")


def jpeg(image, subsampling):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=95, subsampling=subsampling)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("size", [64, 128])
def test_judge_of_spoilt_pictures(layouts, truth, size):
    noise = np.random.default_rng(0).normal(0, 1, (size, size, 3))
    spoils = {"noise 0.01": lambda image: image / 255 + 0.01 * noise, "noise 0.02": lambda image: image / 255 + 0.02 * noise,
              "noise 0.04": lambda image: image / 255 + 0.04 * noise,
              "blur 0.8": lambda image: ndimage.gaussian_filter(image, (0.8, 0.8, 0)),
              "JPEG 95": lambda image: jpeg(image, "4:2:0"), "JPEG 95, colour whole": lambda image: jpeg(image, "4:4:4")}  # fmt: skip
    rows = []
    for name, spoil in spoils.items():
        seen = np.array([designs.judge(spoil(designs.draw(layout, size)[0])) for layout in layouts[:200]])
        rows.append({"picture": name} | {row["score"]: row["R2"] for row in designs.agreement(truth[:200], seen)})
    print(f"\n{show.table(rows, f'R² of the judge at {size} pixels')!r}")


def test_what_a_design_costs(layouts):
    rows = []
    for size in (64, 128, 256):
        clock = [time.process_time()]
        images = [designs.make_design(2, index, size).image for index in range(60)]
        clock.append(time.process_time())
        for image in images:
            designs.judge(image)
        clock.append(time.process_time())
        rows.append({"size": size, "make_design, ms": (clock[1] - clock[0]) / 0.06, "judge, ms": (clock[2] - clock[1]) / 0.06})
    print(f"\n{show.table(rows, 'processor time')!r}")


@pytest.mark.parametrize("size", [64, 128])
def test_training_hardly_waits(size, tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
                        nn.Conv2d(32, 18, 3, padding=1))  # fmt: skip
    adam, data = torch.optim.Adam(net.parameters()), designs.loader(designs.Designs("train", size, 320, tmp_path), 32)
    rows = []
    for epoch in range(3):
        waited, begun, asked = 0.0, time.perf_counter(), time.perf_counter()
        for image, f_tensor, _ in data:
            waited += time.perf_counter() - asked
            masks, colour = net(image).split((2, 16), 1)
            loss = nn.functional.binary_cross_entropy_with_logits(masks, f_tensor[:, :2])
            loss = loss + nn.functional.cross_entropy(colour, f_tensor[:, 2].long())
            adam.zero_grad()
            loss.backward()
            adam.step()
            asked = time.perf_counter()
        rows.append({"size": size, "epoch": epoch, "% of the time waiting": 100 * waited / (time.perf_counter() - begun)})
    print(f"\n{show.table(rows)!r}")
    assert min(row["% of the time waiting"] for row in rows) < 5
