"""Chapter 07's figures: the shipped model against its criteria, bfloat16 against float32, waiting for data, and what the stem buys.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_abstractor.py
"""

import os
import time

import pytest
import torch

from imggen_core import abstractor as ab
from imggen_core import designs
from imggen_core.kit import show, timing, zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import bfloat16_units
from imggen_core.kit.training import adamw, cosine_factor, set_lr

BUDGET = float(os.environ.get("IMGGEN_BENCH_SECONDS", 90))  # CPU seconds of training for each row of the stem table


def test_the_shipped_model_against_its_criteria():
    begun = time.perf_counter()
    figures = ab.evaluate(zoo.load("abstractor"))
    rows = [{"figure": name, "measured": figures.get(name), "promised": f"{sign} {bound:g}"} for name, (sign, bound) in ab.CRITERIA.items()]
    print(f"\n{show.table(rows, f'1000 test designs, {time.perf_counter() - begun:.0f} s')!r}")
    for name, (sign, bound) in ab.CRITERIA.items():
        assert name in figures and (figures[name] >= bound if sign == ">=" else figures[name] <= bound), name


def test_bfloat16_and_channels_last_against_plain_float32():
    rows, (_, f, meta) = [], designs.Designs("valid", 64, 64)[list(range(64))]
    for width in (16, 32, 64):
        seconds = timing.step_seconds(lambda width=width: ab.Abstractor(width), f, lambda reading: ab.reading_loss(reading, meta), turns=7)
        rows.append({"width": width, "float32, ms": 1000 * seconds["float32"], "bfloat16 + channels-last, ms": 1000 * seconds["ours"],
                     "times": seconds["float32"] / seconds["ours"]})  # fmt: skip
    loading = timing.batch_seconds(designs.loader(designs.Designs("valid", 64, 1000), 64), 15)
    waiting = loading / (loading + rows[0]["bfloat16 + channels-last, ms"] / 1000)
    title = f"a step of 64 designs, {torch.get_num_threads()} threads, bfloat16 units: {bfloat16_units()}; waiting for data {waiting:.1%}"
    print(f"\n{show.table(rows, title)!r}")
    assert waiting < 0.05


@pytest.mark.timeout(0)
def test_what_the_stem_and_the_columns_buy(tmp_path):
    """The same CPU time for each: alignment is what parts them."""
    learn, valid = designs.Designs("train", 64, 20000), designs.Designs("valid", 64, 1000)
    rows = []
    for stem, width, cells in (("published", 32, 1), ("published", 32, 4), ("columns", 16, 1), ("columns", 16, 8)):
        torch.manual_seed(0)
        net, data = ab.Abstractor(width, cells, stem), designs.loader(learn, 64)
        run = Run("abstractor", {}, folder=tmp_path / f"{stem}-{cells}", quiet=True)
        run.clip = 5.0
        net, opt, data = run.prepare(net, adamw(net, 2e-3), data)
        begun = time.process_time()
        for _ in run.epochs(100):
            for _, f, meta in run.batches(data):
                progress = (time.process_time() - begun) / BUDGET
                set_lr(opt, 2e-3 * cosine_factor(progress))
                run.step(ab.reading_loss(net(ab.varied(f, 0.0)), meta), opt)
                if progress >= 1:
                    run.stop()
                    break
        figures = ab.figures_of(*ab.answers(net, valid))
        rows.append({"stem": stem, "width": width, "columns pooled to": cells, "designs seen": 64 * run.count}
                    | {f"{score} R²": figures[f"{score}_r2"] for score in designs.SCORES} | {"tone MAE": figures["tone_mae"]})  # fmt: skip
    print(f"\n{show.table(rows, f'{BUDGET:.0f} CPU seconds of training each, valid designs')!r}")
    assert rows[-1]["alignment R²"] > rows[0]["alignment R²"]
