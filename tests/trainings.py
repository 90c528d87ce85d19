"""Trainings in processes of their own: one that is killed, and one that two processes share."""

import os
import signal
import subprocess
import sys
from pathlib import Path

KILLED = """
import os, signal, sys
from importlib import import_module
from imggen_core.kit.run import Run
chapter, folder, parameters, last = sys.argv[1:]
run = Run(chapter, {}, folder=folder, save_seconds=0, quiet=True, precision="float32")
step = run.step
def step_and_die(*given):
    step(*given)
    if run.count == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
run.step = step_and_die
import_module(f"imggen_core.{chapter}").train(run, **eval(parameters))
"""
SHARED = """
import sys, torch
from importlib import import_module
from imggen_core.kit.run import Run
chapter, folder, parameters = sys.argv[1:]
run = Run(chapter, {}, folder=folder, quiet=True)
net = import_module(f"imggen_core.{chapter}").train(run, **eval(parameters))
weights = torch.cat([p.detach().reshape(-1) for p in net.parameters()]).double()
print("weights", run.processes, weights.sum().item(), weights.abs().sum().item(), flush=True)
"""


def kill_in_step(last: int, chapter: str, folder: Path, parameters: dict) -> None:
    """Begin the chapter's training in `folder`, in single precision and saved after every step, and kill it in step number `last`."""
    command = [sys.executable, "-c", KILLED, chapter, str(folder), repr(parameters), str(last)]
    killed = subprocess.run(command, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def train_in_two_processes(chapter: str, tmp_path: Path, parameters: dict) -> Path:
    """Train the chapter in two processes, which must end with equal weights; returns the run's folder."""
    (tmp_path / "shared.py").write_text(SHARED)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(tmp_path / "shared.py")]
    command += [chapter, str(tmp_path / "run"), repr(parameters)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    said = [line.split() for line in done.stdout.splitlines() if line.startswith("weights")]
    assert done.returncode == 0 and len(said) == 2, done.stderr
    assert said[0] == said[1] and said[0][1] == "2"
    return tmp_path / "run"
