"""What several test files share: quiet plotting, no network, and a small course of one chapter to run the command line on."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import nbformat
import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("OMP_NUM_THREADS", "1")  # bit-identical means with the same number of threads, in every process; and tests are small
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"
os.environ["PYTHONUNBUFFERED"] = "1"
os.environ.setdefault("IMGGEN_FUZZ_SEED", time.strftime("%Y%m%d"))  # other inputs every day, the same in all workers
os.environ["PYTHONPATH"] = str(ROOT)  # what tests start imports this checkout, whatever is installed
hypothesis.settings.register_profile("course", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("course")

SETTINGS = """
[course]
device = cpu
precision = float32
seed = 0

[chapter demo]
number = 1
about = A chapter for the tests.
minutes_laptop = 0.1

[chapter later]
number = 2
about = A chapter that is still to come.

[demo.smoke]
steps = 2
"""

PARAMETERS = """
steps = 3
lr = 0.5
name = "plain"
loud = False
image_size = None
target = "data/dot.svg"
"""

BODY = """
import json, os, pathlib, time
from imggen_core.kit.settings import InputError
folder = pathlib.Path(os.environ["IMGGEN_RUN_DIR"])
def say(text):
    with (folder / "log.txt").open("a") as log:
        print(text, file=log)
say(f"steps {steps}, scale {os.environ['IMGGEN_SCALE']}")
if name == "bad input":
    raise InputError("demo: this input is bad — give a better one")
if name == "error":
    1 / 0
if name == "sleep":
    say(f"pid {os.getpid()}")
    time.sleep(600)
(folder / "drawing.svg").write_text("<svg/>")
(folder / "results.json").write_text(json.dumps({"steps": steps, "wait": os.environ.get("OMP_WAIT_POLICY")}))
say("drawing: drawing.svg · PSNR 51.2 dB")
"""

DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="24"><rect width="12" height="12"/></svg>'

MODULE = '''
"""The module of the tests' chapter."""

import os
from pathlib import Path
from typing import Annotated

import torch
from huggingface_hub import PyTorchModelHubMixin

from imggen_core.kit.parameters import LearningRate, Steps, Target, Words, validated
from imggen_core.kit.sampler import Sampler, Slider, generator
from imggen_core.kit.settings import InputError

CRITERIA = {"brightness": (">=", 0.5), "error": ("<=", 0.1)}


class Demo(torch.nn.Module, PyTorchModelHubMixin, Sampler):
    controls = {"dark_side": Slider(0.0, 0.0, 1.0, 0.1, "how dark")}

    def __init__(self, level: float = 0.6):
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor(level))

    def forward(self, x):
        return self.level * x

    def make(self, n, seed, first, dark_side):
        pictures = [torch.rand(3, 4, 6, generator=generator(seed, i)) for i in range(first, first + n)]
        return torch.stack(pictures) * self.level * (1 - dark_side)


@validated
def train(run, *, steps: Steps = 3, lr: LearningRate = 0.5, name: Annotated[str, Words("what it is called")] = "plain",
          target: Target = "data/dot.svg", image_size=None):
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if name == "bad input":
        raise InputError("demo: this input is bad — give a better one")
    if name == "error":
        raise RuntimeError("it broke")
    if name == "sleep":
        import time
        time.sleep(600)
    run.path(f"rank{rank}-of-{size}").write_text(f"{steps} {lr} {os.environ.get('OMP_WAIT_POLICY')}")
    net = Demo(0.1 * steps)
    if size > 1:
        net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), lr / 10))
        for step in run.steps(steps):  # each process has noise of its own, and its gradients are averaged with the others'
            run.step((net(torch.rand(8)) - 1).square().mean(), opt)
    return run.unwrap(net)


def evaluate(model):
    return {"brightness": float(model.level), "error": 0.05, "extra": float("nan")}
'''


def code(source: str, *tags: str):
    return nbformat.v4.new_code_cell(source.strip(), metadata={"tags": list(tags)} if tags else {})


def notebook(path: Path, *cells) -> Path:
    """A notebook of `cells` (code as text, or cells) at `path`."""
    made = nbformat.v4.new_notebook(cells=[code(cell) if isinstance(cell, str) else cell for cell in cells])
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(made, path)
    return path


SERVER = """
import json, os, sys, tempfile
from imggen_core import cli
answers = os.fdopen(os.dup(1), "w")
for line in sys.stdin:
    words, folder = json.loads(line)
    with tempfile.TemporaryFile("w+b") as out, tempfile.TemporaryFile("w+b") as err:
        os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2), os.chdir(folder)
        sys.argv = ["imggen", *words]
        try:
            cli.main()
        except SystemExit as end:
            status = end.code
        sys.stdout.flush(), sys.stderr.flush()
        texts = [file.seek(0) or file.read().decode() for file in (out, err)]
    print(json.dumps([status, *texts]), file=answers, flush=True)
"""


# In every process of the small course: what is not in it is missing, and not looked for in the installed package.
ALONE = """
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "Editable" not in getattr(finder, "__name__", "")]
"""


@dataclass
class Course:
    """A checkout with one chapter, `demo`, and this project's kit and command line."""

    root: Path
    server: subprocess.Popen | None = None

    def command(self, *words) -> list[str]:
        return [sys.executable, "-m", "imggen_core.cli", *map(str, words)]

    @property
    def environment(self) -> dict[str, str]:
        """As outside of the tests: how threads wait is not said."""
        own = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
        return own | {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}

    def imggen(self, *words, cwd=None, status=0) -> subprocess.CompletedProcess:
        """Run the command line (in one process for all, since torch takes seconds to import); fails when it ends with another status."""
        if self.server is None:
            command, pipe = [sys.executable, "-c", SERVER], subprocess.PIPE
            self.server = subprocess.Popen(command, env=self.environment, cwd=self.root, stdin=pipe, stdout=pipe, text=True)
        print(json.dumps([[*map(str, words)], str(cwd or self.root)]), file=self.server.stdin, flush=True)
        ended, out, err = json.loads(self.server.stdout.readline())
        assert ended == status, f"{words}: status {ended}\n{out}\n{err}"
        assert "Traceback" not in out + err
        return subprocess.CompletedProcess(words, ended, out, err)

    def refused(self, *words, cwd=None) -> str:
        """The one line with which the command line refuses `words`."""
        lines = self.imggen(*words, cwd=cwd, status=2).stderr.strip().splitlines()
        assert len(lines) == 1, lines
        return lines[0]


@pytest.fixture(scope="session")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    shutil.copytree(ROOT / "imggen_core" / "kit", root / "imggen_core" / "kit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "cli.py", "doctor.py"):
        shutil.copy(ROOT / "imggen_core" / name, root / "imggen_core" / name)
    (root / "imggen_core" / "demo.py").write_text(MODULE)
    (root / "sitecustomize.py").write_text(ALONE)
    (root / "settings.ini").write_text(SETTINGS)
    (root / "data").mkdir()
    (root / "data" / "dot.svg").write_text(DOT)
    notebook(root / "nbs" / "01_demo.ipynb", code(PARAMETERS, "parameters"), BODY)
    made = Course(root)
    yield made
    if made.server:
        made.server.communicate()


def pytest_collection_modifyitems(items):
    """With several workers, the tests of a file stay together, because they share fixtures; those of a notebook are a group."""
    for item in items:
        path = getattr(item, "callspec", None) and item.callspec.params.get("path")
        if not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(path.stem if isinstance(path, Path) else item.path.stem))


def pytest_terminal_summary(terminalreporter):
    seed = os.environ["IMGGEN_FUZZ_SEED"]
    terminalreporter.write_line(f"fuzz: seed {seed}; IMGGEN_FUZZ_SEED={seed} tries the same inputs again")


@pytest.fixture(scope="session")
def smoke(tmp_path_factory, worker_id):
    """Runs a notebook headless at smoke scale, once however many tests and workers ask; returns its run folder."""
    from imggen_core.kit import notebooks, settings

    base = tmp_path_factory.getbasetemp()
    base = (base if worker_id == "master" else base.parent) / "smoke"

    def run(path: Path) -> Path:
        folder = base / path.relative_to(ROOT).with_suffix("")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not (done := folder.with_suffix(".done")).exists():
                chapter = path.stem.split("_", 1)[1]
                own = notebooks.parameters_of(path)
                parameters = {name: value for name, value in settings.scale_parameters(chapter, "smoke").items() if name in own}
                shutil.rmtree(folder, ignore_errors=True)  # of a run that failed
                folder.mkdir()
                notebooks.run_notebook(path, folder, parameters, "smoke", timeout=280, echo=lambda line: None)
                done.touch()
        return folder

    return run
