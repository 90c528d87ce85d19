"""Chapter 05's figures: training steps against a plain float32 loop, time spent waiting for data, and what ships under harder pictures.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_unet.py
"""

from functools import partial

import pytest

from imggen_core import designs, unet
from imggen_core.kit import show, timing, zoo
from imggen_core.kit.settings import bfloat16_units


def seconds(size: int, batch: int, turns: int = 5) -> dict[str, float]:
    """Seconds of a training step of the U-Net of chapter 05, plain and ours."""
    pictures, f_tensor, _ = designs.Designs("valid", size, batch)[list(range(batch))]
    return timing.step_seconds(lambda: unet.UNet(16), pictures, lambda output: unet.composite_loss(output, f_tensor), turns)


def test_a_training_step_is_twice_as_fast_as_plain_float32():
    sizes = ((64, 16), (64, 32), (128, 8), (256, 4))
    rows = []
    for size, batch in sizes:
        step = seconds(size, batch, turns=7)
        rows.append({"size": size, "batch": batch} | {name: batch / value for name, value in step.items()}
                    | {"times faster": step["float32"] / step["ours"]})  # fmt: skip
    print(f"\n{show.table(rows, 'images per second')!r}")
    if bfloat16_units():
        assert max(row["times faster"] for row in rows) >= 2


@pytest.mark.parametrize("batch", [16, 32])
def test_training_does_not_wait_for_data(batch):
    batches = designs.loader(designs.Designs("train", 64, 2048), batch)
    loading, step = timing.batch_seconds(batches), seconds(64, batch)["ours"]
    waiting = loading / (loading + step)
    print(f"\n{1000 * loading:.2f} ms to load a batch of {batch}, {1000 * step:.0f} ms to train on it: {100 * waiting:.1f} % waiting")
    assert waiting < 0.05


def test_what_ships_on_harder_pictures():
    net, data = zoo.load("unet"), designs.Designs("test", 64, 512)
    ways = {"as drawn": {}, **{f"noise {sigma}": {"change": partial(unet.noisy, sigma=sigma)} for sigma in (0.02, 0.05, 0.1, 0.15)},
            **{f"JPEG {quality}": {"change": partial(unet.jpeg, quality=quality)} for quality in (90, 75, 50, 30)}}  # fmt: skip
    rows = [{"": name} | unet.measure(net, data, **given) for name, given in ways.items()]
    rows += [{"": f"{scale:.0%}"} | unet.measure(net, unet.Rescaled("test", 64, 512, scale)) for scale in (0.9, 0.95, 1.05, 1.1)]
    rows += [{"": goal} | unet.measure(net, data.of(goal)) for goal in designs.GOALS]
    print(f"\n{show.table(rows)!r}")
    assert rows[0]["text_iou"] > 0.9 and rows[0]["image_iou"] > 0.85
