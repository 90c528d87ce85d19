"""Chapter 03's figures: a loop against one batched computation, what processes cost, and the equal-compute table.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_population.py
"""

import time

import pytest
import torch

from imggen_core import population as pop
from imggen_core.kit import processes, show, targets
from imggen_core.kit.settings import ROOT

SIZE = {"boxes": 48, "height": 48, "width": 64}
LR, SEEDS = 0.005, range(6)


@pytest.fixture(scope="module")
def goal():
    return targets.target(ROOT / "data/wireframe.svg", (SIZE["width"], SIZE["height"]))


def race(model_class, goal, count, steps=20, turns=7, **size) -> float:
    """CPU seconds of a loop over CPU seconds of the batched computation, the best of interleaved turns each."""
    models, population = [pop.seeded(model_class, k, **size) for k in range(count)], pop.populate(model_class, range(count), LR, **size)
    times = []
    for _ in range(turns):
        clock = [time.process_time()]
        for model in models:
            pop.train_alone(model, goal, steps, LR)
        clock.append(time.process_time())
        pop.descend(population, goal, steps)
        clock.append(time.process_time())
        times.append((clock[1] - clock[0], clock[2] - clock[1]))
    loop, batched = (min(column) for column in zip(*times, strict=True))
    return loop / batched


def test_batched_training_is_faster_than_a_loop(goal):
    models_of = {"boxes": (pop.Boxes, SIZE), "pixel network": (pop.PixelNet, {"height": 48, "width": 64})}
    rows = [{"model": name} | {f"K={count}": race(model_class, goal, count, **size) for count in (1, 2, 4, 8, 16, 32, 64)}
            for name, (model_class, size) in models_of.items()]  # fmt: skip
    print(f"\n{show.table(rows, 'times faster than a loop, CPU seconds on one thread')!r}")
    assert rows[0]["K=8"] >= 1.5


def test_what_processes_cost_and_give(goal):
    rows = []
    for workers in (0, 1, 2):
        population = pop.populate(pop.Boxes, range(4 * pop.BATCH), LR, **SIZE)
        begun = time.perf_counter()
        with processes.spawned(workers) as pool:
            started = processes.wake(pool, workers, "imggen_core.population")
            ready = time.perf_counter()
            loss = pop.advance(population, goal, 300, pool)
            rows.append({"workers": workers, "wall seconds to start": ready - begun, "CPU seconds to start": sum(started.values()),
                         "wall seconds, 128 × 300 steps": time.perf_counter() - ready, "best dB": pop.psnr_db(loss.min())})  # fmt: skip
    print(f"\n{show.table(rows)!r}")
    assert len({float(row["best dB"]) for row in rows}) == 1


@pytest.mark.parametrize("budget", [2300, 8050, 23000])
def test_equal_compute(goal, budget):
    finals = {"one long run": pop.long_runs(pop.Boxes, goal, SEEDS, [budget], LR, **SIZE)[budget]}
    for way, rounds in pop.schedules(budget).items():
        finals[way] = torch.tensor([pop.tournament(pop.Boxes, goal, seed, rounds, LR, **SIZE) for seed in SEEDS])
    rows = [{"way": way, "mean dB": values.mean(), "spread dB": values.std(), "worst dB": values.min()} for way, values in finals.items()]
    print(f"\n{show.table(rows, f'{budget} gradient steps in total, {len(SEEDS)} seeds')!r}")
    assert finals["20, keep 10 %, then 1"].std() < finals["one long run"].std() or budget < 8000, "selection must narrow the spread"
