"""Chapter 06's figures: the shipped model on all test scenes, how fast scenes are painted, what the soft N-cut costs, and bfloat16.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_wnet.py
"""

import pytest
import torch

from imggen_core import wnet
from imggen_core.kit import show, zoo
from imggen_core.kit.timing import fastest
from imggen_core.worlds.scenes import make_scene


def test_the_shipped_model_on_150_scenes():
    figures = wnet.evaluate(zoo.load("wnet"))
    rows = [{"figure": name, "measured": value, "promised": str(wnet.CRITERIA.get(name, ""))} for name, value in figures.items()]
    print(f"\n{show.table(rows)!r}")
    for name, (sign, bound) in wnet.CRITERIA.items():
        assert figures[name] >= bound if sign == ">=" else figures[name] <= bound, (name, figures[name])


def test_what_a_scene_costs():
    rows = [{"size": size, "ms": 100 * fastest(lambda size=size: [make_scene(0, i, size) for i in range(10)])}
            for size in (64, 96, 128, 256)]  # fmt: skip
    print(f"\n{show.table(rows)!r}")


@pytest.mark.parametrize("side", [24, 64])
def test_what_the_soft_n_cut_costs(side):
    p = torch.rand(8, 8, side, side).softmax(1).requires_grad_()
    images = torch.rand(8, 3, side, side)
    milliseconds = 1000 * fastest(lambda: wnet.soft_n_cut(p, images).backward())
    print(f"\nsoft N-cut, 8 pictures, 8 segments, {side} x {side}, value and gradient: {milliseconds:.1f} ms")


def test_what_bfloat16_and_channels_last_buy():
    images = torch.rand(32, 3, 64, 64)
    rows = []
    for name, precision, layout in (("float32", torch.float32, torch.contiguous_format), ("float32", torch.float32, torch.channels_last),
                                    ("bfloat16", torch.bfloat16, torch.channels_last)):  # fmt: skip
        net, x = wnet.UNet(3, 8).to(memory_format=layout), images.contiguous(memory_format=layout)

        def step(net=net, x=x, precision=precision):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision is torch.bfloat16):
                logits = net(x)
            logits.square().mean().backward()

        rows.append({"precision": name, "layout": str(layout).removeprefix("torch."), "ms per step of 32": 1000 * fastest(step)})
    print(f"\n{show.table(rows)!r}")
