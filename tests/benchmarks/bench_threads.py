"""What a busy machine does to a training step and to a slider: on one thread, and on one a core that spin or sleep while they wait.

make bench, or: python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_threads.py
"""

import os
import statistics
import subprocess
import sys
import time

from imggen_core.kit import settings, show

ROUNDS = 7
OURS = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}  # settings.thread_environment, unless this machine's owner sets them
# torch comes first, so that what the parent said counts, and not what `import imggen_core` sets.
WORK = """
import sys, time
import torch
from imggen_core import unet
from imggen_core.kit import zoo
net, designer, x = unet.UNet(16), zoo.load("designer"), torch.rand(16, 3, 64, 64)
opt = torch.optim.Adam(net.parameters())
def step():
    net(x).square().mean().backward()
    opt.step(), opt.zero_grad()
def slider():
    designer.sample(1, steps=5)
step(), slider()
print(torch.get_num_threads(), flush=True)
for line in sys.stdin:
    begun = time.perf_counter()
    {"step": step, "slider": slider}[line.strip()]()
    print(time.perf_counter() - begun, flush=True)
"""
BUSY = "import time; end = time.monotonic() + 600\nwhile time.monotonic() < end: pass"


class Worker:
    """A process that takes a step, or moves a slider, when it is asked to."""

    def __init__(self, **environment: str):
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "MKL_"))}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, "-c", WORK], env=outside | environment, **pipes)
        assert self.process.stdout.readline().strip() == environment["OMP_NUM_THREADS"]

    def seconds(self, what: str) -> float:
        print(what, file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def measured(workers: dict[str, Worker]) -> dict[tuple[str, str], list[float]]:
    """Seconds of ROUNDS steps and slider moves of each worker, taken in turn, so that whatever else the machine does slows all of them."""
    seconds = {(name, what): [] for name in workers for what in ("step", "slider")}
    for _ in range(ROUNDS):
        for name, what in seconds:
            seconds[name, what].append(workers[name].seconds(what))
    return seconds


def test_threads_that_sleep_while_they_wait_bear_a_busy_machine():
    cores = settings.cores()
    workers = {"1 thread": Worker(OMP_NUM_THREADS="1"), f"{cores} threads, spinning (OpenMP's default)": Worker(OMP_NUM_THREADS=str(cores)),
               f"{cores} threads, sleeping": Worker(OMP_NUM_THREADS=str(cores), OMP_WAIT_POLICY="passive"),
               f"{cores} threads, sleeping soon (ours)": Worker(OMP_NUM_THREADS=str(cores), **OURS)}  # fmt: skip
    load, loops = os.getloadavg()[0], []
    try:
        quiet = measured(workers)
        loops = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(cores)]
        time.sleep(1)
        busy = measured(workers)
    finally:
        for process in [*loops, *(worker.process for worker in workers.values())]:
            process.kill()
    rows = [{"": name} | {f"{what}, {state}": f"{statistics.median(times[name, what]):.2f} s (worst {max(times[name, what]):.2f})"
                          for what in ("step", "slider") for state, times in (("alone", quiet), ("beside loops", busy))}
            for name in workers]  # fmt: skip
    print(f"\n{show.table(rows, f'medians of {ROUNDS}; {cores} cores, as many busy loops; load {load:.1f} before')!r}")
    _, spinning, _, ours = workers
    assert statistics.median(busy[ours, "slider"]) < statistics.median(busy[spinning, "slider"])
