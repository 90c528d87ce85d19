"""The command line, run as a person runs it: what it does, what it refuses in one line, and that a stopped run leaves nothing."""

import contextlib
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from imggen_core import cli
from imggen_core.kit import settings
from imggen_core.kit.torchrun import Machines


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_the_small_course_stands_alone(course, tmp_path):
    program = "from imggen_core import doctor; from imggen_core.kit import run\n"
    program += "print(doctor.__file__, run.__file__)\nimport imggen_core.unet"
    done = subprocess.run([sys.executable, "-c", program], env=course.environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [str(course.root / "imggen_core" / name) for name in ("doctor.py", "kit/run.py")]
    assert "No module named 'imggen_core.unet'" in done.stderr


@pytest.fixture(scope="module")
def model(course, tmp_path_factory):
    """A model that `imggen train` left, trained in two processes."""
    folder = tmp_path_factory.mktemp("train") / "out"
    course.imggen("train", "demo", "--processes", 2, "-p", "steps", 6, "--out", folder)
    return folder / "model"


# ---- run -------------------------------------------------------------------------------------------------------------


def test_run_shows_what_the_run_says_and_ends_by_naming_its_folder(course):
    lines = course.imggen("run", "demo").stdout.splitlines()
    assert lines[0] == "steps 3, scale laptop" and lines[1] == "drawing: drawing.svg · PSNR 51.2 dB"
    assert lines[2].startswith("demo · done in ") and len(lines) == 4
    folder = course.root / lines[-1].removeprefix("run folder: ")
    assert json.loads((folder / "results.json").read_text()) == {"steps": 3, "wait": "passive"}, "the kernel's threads wait asleep"
    assert (folder / "drawing.svg").exists() and (folder / "notebook.ipynb").exists()


def test_same_folder_again_goes_on_and_other_parameters_are_refused(course, out):
    course.imggen("run", "demo", "--scale", "smoke", "-p", "lr", "1e-3", "--out", out)
    saved = json.loads((out / "params.json").read_text())
    assert saved == {
        "chapter": "demo",
        "scale": "smoke",
        "parameters": {"steps": 2, "lr": 0.001, "name": "plain", "loud": False, "image_size": None, "target": "data/dot.svg"},
    }
    course.imggen("run", "demo", "--scale", "smoke", "-p", "lr", "0.001", "--out", out)
    refusal = course.refused("run", "demo", "--scale", "smoke", "-p", "lr", "0.01", "--out", out)
    assert "lr 0.001 there, 0.01 now" in refusal and "--out" in refusal
    assert "scale 'smoke' there, 'laptop' now" in course.refused("run", "demo", "-p", "lr", "0.001", "--out", out)
    params = json.loads((out / "params.json").read_text())
    (out / "params.json").write_text(json.dumps(params | {"chapter": "strokes"}))
    assert "chapter 'strokes' there, 'demo' now" in course.refused("run", "demo", "--scale", "smoke", "-p", "lr", "1e-3", "--out", out)
    (out / "params.json").write_text('{"chapter": ')
    assert "damaged" in course.refused("run", "demo", "--out", out)


def test_target_is_found_from_the_persons_own_folder(course, tmp_path):
    (tmp_path / "my.svg").write_text((course.root / "data" / "dot.svg").read_text())
    course.imggen("run", "demo", "-p", "target", "my.svg", "--out", "out", cwd=tmp_path)
    assert json.loads((tmp_path / "out" / "params.json").read_text())["parameters"]["target"] == str(tmp_path / "my.svg")


def test_train_takes_what_only_its_signature_has_and_draws_the_target_first(course, tmp_path):
    assert "missing.svg: no such file" in course.refused("train", "demo", "-p", "target", "missing.svg", cwd=tmp_path)
    assert "image_size" in course.refused("train", "demo", "-p", "image_size", "0")


def test_a_chapter_that_trains_nothing_says_so():
    with pytest.raises(settings.InputError, match="chapter designs: nothing in it to train"):
        cli.chapter_function("designs", "train")
    assert callable(cli.chapter_function("strokes", "train"))


MACHINES = ["--nodes", "2", "--node-rank", "1", "--rendezvous"]


@pytest.mark.parametrize(
    "words, hint",
    [
        (["run", "demi"], "did you mean 'demo'"),
        (["run", "later"], "still to come"),
        (["run"], "CHAPTER"),
        (["rum", "demo"], "Did you mean 'run'"),
        (["run", "demo", "--scael", "smoke"], "--scale"),
        (["run", "demo", "--scale", "smoek"], "did you mean 'smoke'"),
        (["run", "demo", "-p", "stpes", "3"], "did you mean 'steps'"),
        (["run", "demo", "-p", "steps"], "wants a name and a value"),
        (["run", "demo", "-p"], "-p"),
        (["run", "demo", "-p", "steps", "three"], "steps='three': must be a whole number from 0"),
        (["run", "demo", "-p", "steps", "2.5"], "steps=2.5: must be a whole number"),
        (["run", "demo", "-p", "steps", "-1"], "steps=-1: must be a whole number"),
        (["run", "demo", "-p", "lr", "0"], "lr=0: must be a number above 0"),
        (["run", "demo", "-p", "lr", "True"], "lr=True: must be a number above 0"),
        (["run", "demo", "-p", "lr", "1e999"], "lr=inf: must be a number above 0"),
        (["run", "demo", "-p", "loud", "3"], "loud=3: must be true or false"),
        (["run", "demo", "--timeout", "0"], "above 0"),
        (["run", "demo", "--timeout", "nan"], "above 0"),
        (["run", "demo", "--timeout", "soon"], "--timeout"),
        (["run", "demo", "-p", "target", "missing.svg"], "missing.svg"),
        (["run", "demo", "-p", "target", "empty.svg"], "empty.svg"),
        (["run", "demo", "-p", "target", "binary.svg"], "binary.svg"),
        (["run", "demo", "-p", "target", "."], "folder"),
        (["run", "demo", "-p", "image_size", "0"], "image_size"),
        (["run", "demo", "-p", "image_size", "-1"], "image_size"),
        (["run", "demo", "-p", "image_size", "1000000"], "image_size"),
        (["run", "demo", "-p", "image_size", "big"], "image_size"),
        (["run", "demo", "-p", "lr", "1e308"], "lr=1e+308, more than a float32 can hold: must be a number above 0"),
        (["run", "demo", "-p", "target", "tall.svg"], "is 1 × 10000 pixels, and the longer side must be 16 to 4096"),
        (["run", "demo", "-p", "target", "a\nb\x1b[2J.svg"], "a\\nb\\x1b[2J.svg: no such file"),
        (["run", "demo", "-p", "target", "~nosuch/a.svg"], "no such file"),
        (["run", "demo", "-p", "target", "x" * 300], "not a usable path"),
        (["run", "demo", "-p", "target", "/proc/kmsg"], "not an ordinary file"),
        (["run", "demo", "-p", "name"], "wants a name and a value"),
        (["run", "demo", "--out", "x" * 300], "cannot be used (File name too long) — give another name"),
        (["run", "demo", "--out", "x/" * 3000], "cannot be used (File name too long) — give another name"),
        (["run", "demo", "--out", "~nosuch/x"], "cannot be used (no such user)"),
        (["run", "demo", "--out", "/proc/x"], "--out /proc/x: cannot be written"),
        (["run", "demo", "--out", "/dev/null"], "name a folder"),
        (["run", "demo", "--out", "odd"], "params.json: damaged, or no run's"),
        (["run", "demo", "--out", "empty.svg"], "name a folder"),
        (["run", "demo", "--out", "empty.svg/below"], "name a folder"),
        (["run", "demo", "--out", "filled"], "holds other files"),
        (["train", "demo", "--processes", "0"], "--processes 0"),
        (["train", "demo", "--nodes", "0"], "--nodes 0"),
        (["train", "demo", "--node-rank", "0"], "say how many there are with --nodes"),
        (["train", "demo", "--rendezvous", "host:1"], "say how many there are with --nodes"),
        (["train", "demo", "--nodes", "2", "--rendezvous", "host:1"], "--node-rank 0 on the first"),
        (["train", "demo", "--nodes", "2", "--node-rank", "0"], "--rendezvous HOST:PORT"),
        (["train", "demo", *MACHINES, "host:1", "--node-rank", "2"], "the first is 0 and the last 1"),
        (["train", "demo", *MACHINES, "host:1", "--node-rank", "-1"], "the first is 0 and the last 1"),
        (["train", "demo", *MACHINES, "host"], "wants HOST:PORT"),
        (["train", "demo", *MACHINES, "host:http"], "wants HOST:PORT"),
        (["train", "demo", *MACHINES, "host:65536"], "wants HOST:PORT"),
        (["train", "demo", *MACHINES, "a b:1"], "wants HOST:PORT"),
        (["train", "demo", *MACHINES, "no-such-host.invalid:1"], "cannot be found from here"),
        (["train", "demo", "-p", "loud", "true"], "no parameter 'loud'"),
        (["train", "later"], "still to come"),
        (["sample", "wirefarme"], "no model 'wirefarme'"),
        (["evaluate", "nothing"], "no model 'nothing'"),
        (["evaluate", "x", "--json", "no/such/folder.json"], "does not exist"),
        (["evaluate", "x", "--json", "odd"], "--json odd: is a folder — name a file"),
        (["evaluate", "x", "--json", "pipe"], "--json pipe: is a pipe — name a file"),
        (["evaluate", "x", "--json", "/proc/x"], "--json /proc/x: cannot be written"),
        (["evaluate", "x" * 300], "no model 'xxx"),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_wrong_input_is_refused_in_one_line(course, tmp_path, words, hint):
    if "/proc" in " ".join(words) and not os.path.exists("/proc/kmsg"):
        pytest.skip("this system has none")
    (tmp_path / "empty.svg").touch()
    (tmp_path / "binary.svg").write_bytes(bytes(range(256)))
    (tmp_path / "tall.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="1" height="10000"/>')
    (tmp_path / "odd" / "params.json").mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "thesis.txt").write_text("mine")
    before = len(list(course.root.glob("runs/*")))
    refusal = course.refused(*words, cwd=tmp_path)
    assert hint in refusal and len(refusal.removeprefix("imggen: ")) <= 200
    assert len(list(course.root.glob("runs/*"))) == before, "a refused run leaves no folder"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written_is_refused(course, tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in course.refused("run", "demo", "--out", tmp_path / "out")


def test_failing_cell_ends_with_status_1_and_wrong_input_in_a_cell_with_2(course, out, tmp_path):
    failed = course.imggen("run", "demo", "-p", "name", "error", "--out", out, status=1)
    assert "(`1 / 0`): ZeroDivisionError" in failed.stderr and len(failed.stderr.splitlines()) == 1
    assert course.refused("run", "demo", "-p", "name", "bad input", "--out", tmp_path / "b") == (
        "imggen: demo: this input is bad — give a better one"
    )


def test_timeout_ends_with_status_1(course, out):
    failed = course.imggen("run", "demo", "-p", "name", "sleep", "--timeout", "4", "--out", out, status=1)
    assert "stopped after the limit of 4 s" in failed.stderr


def started(course, command: str, out, *options) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """`imggen COMMAND demo` that sleeps forever, and every process it started."""
    process = subprocess.Popen(
        course.command(command, "demo", "-p", "name", "sleep", "--out", out, *options),
        env=course.environment,
        cwd=course.root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not (out / "log.txt").exists() and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.5)
    below = psutil.Process(process.pid).children(recursive=True)
    assert process.poll() is None and len(below) >= 2
    return process, below


@pytest.mark.parametrize("command, stop", [("run", signal.SIGINT), ("run", signal.SIGTERM), ("train", signal.SIGINT)])
def test_stopped_run_says_how_to_go_on_and_leaves_no_process(course, out, command, stop):
    process, below = started(course, command, out)
    process.send_signal(stop)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == f"imggen: stopped — to go on: imggen {command} demo -p name sleep --out {out}\n"
    left, alive = psutil.wait_procs(below, timeout=5)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("command, options", [("run", ()), ("train", ("--processes", 2))])
def test_a_command_is_alone_in_its_folder_and_killed_leaves_no_process(course, out, command, options):
    process, below = started(course, command, out, *options)
    for other in ("run", "train"):
        said = course.refused(other, "demo", "-p", "name", "sleep", "--out", out)
        assert re.search(rf": process {process.pid} has been at work here for \d+ s — wait for it, end it \(kill {process.pid}\), or", said)
    marks = {each.environ()["IMGGEN_COMMAND"] for each in below}
    process.kill()
    end = time.monotonic() + 20
    while left := [each for each in below if alive(each)] + [each for each in psutil.process_iter() if mark_of(each) in marks]:
        assert time.monotonic() < end, left
        time.sleep(0.1)


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def mark_of(process: psutil.Process) -> str | None:
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get("IMGGEN_COMMAND")


def test_when_one_of_its_processes_is_killed_a_training_says_to_run_the_same_again(course, out):
    process, below = started(course, "train", out, "--processes", 2)
    worker = next(each for each in below if each.environ().get("RANK") == "1")
    worker.kill()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    line = "imggen: demo: one of its processes was killed (SIGKILL) — run the same again, it goes on from the last saved state\n"
    assert said == line


# ---- train, sample, evaluate -------------------------------------------------------------------------------------------


def test_train_runs_in_several_processes_and_keeps_the_model(model):
    assert (model.parent / "rank0-of-2").read_text() == (model.parent / "rank1-of-2").read_text() == "6 0.5 passive"
    assert json.loads((model.parent / "params.json").read_text())["parameters"]["steps"] == 6
    assert (model / "model.safetensors").exists()


def free_port() -> int:
    """A port below those that the system hands out by itself, so that no other connection takes it meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def test_two_machines_end_with_the_weights_of_two_processes(course, model, out):
    address = f"127.0.0.1:{free_port()}"
    before, command = set(course.root.glob("runs/*")), course.command("train", "demo", "-p", "steps", 6, *MACHINES[:3])
    machines = [
        subprocess.Popen(
            [*command, rank, "--rendezvous", address, *(["--out", out] if rank == "0" else [])],
            env=course.environment, cwd=course.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in "01"
    ]  # fmt: skip
    (first, _), (second, wrong) = (machine.communicate(timeout=240) for machine in machines)
    assert [machine.returncode for machine in machines] == [0, 0], wrong
    one, two = (load_file(folder / "model.safetensors") for folder in (model, out / "model"))
    assert torch.equal(one["level"], two["level"]) and one["level"] != 0.6
    assert first.splitlines()[-1] == f"run folder: {out}" and (out / "rank1-of-2").exists()
    met, done, folder = second.splitlines()
    assert met == f"demo · machine 1 of 2 (0 to 1) · they meet at {address}"
    assert done.startswith("demo · done in ") and folder == "run folder: on machine 0"
    assert set(course.root.glob("runs/*")) == before, "the others write no folder"


def test_the_line_that_says_how_to_go_on_names_the_machines(tmp_path):
    machines = Machines(4, 2, 1, "node1:29500")
    line = "imggen train demo --processes 4 --nodes 2 --node-rank 1 --rendezvous node1:29500 -p lr 1"
    assert cli.again("train", "demo", "laptop", ["lr=1"], None, machines.options) == line
    assert cli.again("train", "demo", "laptop", ["lr=1"], tmp_path, machines.options) == f"{line} --out {tmp_path}"


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A process of a training that fails with `error`: what it leaves of that for the person."""
    failure = tmp_path / "failure.json"
    job = {"chapter": "demo", "parameters": {}, "scale": "smoke", "folder": str(tmp_path / "run"), "failure": str(failure)}
    (tmp_path / "job.json").write_text(json.dumps(job))
    monkeypatch.setattr(sys, "stderr", sys.stderr)

    def report(error: Exception) -> dict:
        def broken(run):
            raise error

        monkeypatch.setattr(cli, "chapter_function", lambda *names: broken)
        with pytest.raises(SystemExit):
            cli.train_worker(tmp_path / "job.json")
        return json.loads(failure.read_text())

    return report


def test_the_process_that_fails_first_says_why(failing):
    assert failing(settings.InputError("no such thing")) == {"input": True, "message": "no such thing"}
    assert failing(RuntimeError("later")) == {"input": True, "message": "no such thing"}


def test_a_process_that_lost_the_others_says_so(failing):
    said = "[/gloo/transport/tcp/pair.cc:561] Connection closed by peer [10.0.0.2]:55995. This is typically caused by a remote crash."
    assert failing(RuntimeError(said))["message"].startswith("demo: another of its processes ended — ")


SRUN = """#!/bin/sh
shift
for rank in 0 1; do SLURM_NODEID=$rank "$@"; done
"""


def test_the_batch_script_gives_each_machine_its_command(tmp_path):
    script = (settings.ROOT / "CLUSTER.md").read_text().split("## Slurm")[1].split("```sh\n")[1].split("```")[0]
    (tmp_path / "bin").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    stubs = {"bin/srun": SRUN, "bin/scontrol": "#!/bin/sh\necho node7\necho node8\n", ".venv/bin/imggen": '#!/bin/sh\necho "$@"\n'}
    for name, text in stubs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_ID": "123", "SLURM_NNODES": "2", "SLURM_CPUS_PER_TASK": "32"}
    environment = os.environ | slurm | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-eu"], input=script, env=environment, cwd=tmp_path, capture_output=True, text=True)
    for rank, line in enumerate(done.stdout.splitlines()):
        options = Machines(4, 2, rank, "node7:20123").options
        assert line == f"train designer --scale full {' '.join(options)} --out runs/designer-full"
    assert rank == 1 and not done.stderr


def test_train_reports_what_broke(course, out, tmp_path):
    failed = course.imggen("train", "demo", "-p", "name", "error", "--out", out, status=1)
    assert failed.stderr == "imggen: demo: RuntimeError: it broke\n"
    assert "this input is bad" in course.refused("train", "demo", "-p", "name", "bad input", "--out", tmp_path / "b")


def test_sample_is_decided_by_its_seed(course, model, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        course.imggen("sample", model, "-n", 3, "--seed", seed, "--dark-side=0.5", "--out", tmp_path / f"{name}.png")
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b != c
    course.imggen("sample", model, "-n", 1, "--out", tmp_path / "one.png")
    assert Image.open(tmp_path / "one.png").size == (6, 4)
    for out, first in (("many/", 0), ("many.zip", 0), ("one-by-one/", 2)):
        said = course.imggen("sample", model, "-n", 3 - first, "--first", first, "--out", out, "--dark-side", "0.5", cwd=tmp_path).stdout
    assert said == f"one-by-one: 1 picture and table.csv from {model}, seed 0\n"
    row = "00002.png,0,2,0.5\n"
    assert (tmp_path / "one-by-one" / "table.csv").read_text() == "file,seed,index,dark_side\n" + row
    assert (tmp_path / "many" / "table.csv").read_text().endswith(row) and (tmp_path / "many.zip").exists()
    assert (tmp_path / "many" / "00002.png").read_bytes() == (tmp_path / "one-by-one" / "00002.png").read_bytes()
    assert "dark_side 0.5 there, 0.0 now" in course.refused("sample", model, "--out", "many", cwd=tmp_path)


def test_stopped_sampling_says_how_to_go_on_and_does(course, model, tmp_path):
    words = ["sample", str(model), "-n", "1000000", "--out", "many/"]
    process = subprocess.Popen(course.command(*words), env=course.environment, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (tmp_path / "many" / "00008.png").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == f"imggen: stopped — to go on: imggen {' '.join(words)}\n"
    assert process.returncode == 130
    made = len(list((tmp_path / "many").glob("0*.png")))
    said = course.imggen(*words[:2], "-n", made + 8, "--out", "many/", cwd=tmp_path).stdout
    assert f"{made + 8} pictures and table.csv, " in said and " of them made now" in said


@pytest.mark.parametrize(
    "words, hint",
    [
        (["--drak-side", "0.5"], "did you mean '--dark-side'"),
        (["--dark-side", "5"], "dark_side"),
        (["--dark-side", "much"], "dark_side"),
        (["--dark-side"], "wants a value"),
        (["extra"], "extra"),
        (["-n", "0"], "n=0: must be a whole number from 1 to 1000000"),
        (["-n", "4097"], "too many for one sheet"),
        (["--first", "-1"], "first=-1: must be a whole number from 0"),
        (["--out", "a.svg"], "Demo: draws pixels, and has no SVG"),
        (["--out", "data/"], "holds other files"),
        (["--out", "nbs"], "holds other files"),
        (["-n", "many"], "-n"),
        (["--out", "no/such/a.png"], "does not exist"),
        (["--out", "a.gif"], "ends in .png"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_sample_options_are_refused_in_one_line(course, model, words, hint):
    assert hint in course.refused("sample", model, *words)


def test_evaluate_passes_or_fails_by_the_criteria(course, model, tmp_path):
    passed = course.imggen("evaluate", model, "--json", tmp_path / "figures.json")
    rows = {line.split()[0]: line.split()[1:] for line in passed.stdout.splitlines()}
    assert rows["brightness"][1:] == [">=", "0.5", "pass"] and rows["error"] == ["0.05", "<=", "0.1", "pass"]
    report = json.loads((tmp_path / "figures.json").read_text())
    assert report["passed"] == {"brightness": True, "error": True} and report["figures"]["extra"] is None
    shutil.copytree(model, tmp_path / "weak")
    save_file({"level": torch.tensor(0.3)}, tmp_path / "weak" / "model.safetensors")
    assert "FAIL" in course.imggen("evaluate", tmp_path / "weak", status=1).stdout


# ---- the rest --------------------------------------------------------------------------------------------------------


def test_help_is_fast_because_nothing_imports_torch():
    program = "import sys; from imggen_core import cli; sys.argv = ['imggen', '--help']\ntry: cli.main()\nexcept SystemExit as end: "
    program += "print('torch' in sys.modules, end.code)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False 0"
    assert all(f"\n  {name} " in done.stdout for name in "run train sample evaluate models chapters labs lab doctor".split())
    assert "train-worker" not in done.stdout


def test_chapters_and_models_are_listed_with_one_line_each(course):
    listed = course.imggen("chapters").stdout.splitlines()
    assert listed[0].split()[:3] == ["01", "demo", "about"] and "to come" in listed[1]
    assert "no chapter 'demi' — did you mean 'demo'" in course.refused("chapters", "demi")
    assert course.imggen("models").stdout.startswith("none yet")


def test_a_chapters_parameters_are_listed_in_columns(course):
    head, *rows = course.imggen("chapters", "demo").stdout.splitlines()
    starts = [head.index(title) for title in ("name", "laptop", "must be", "unit", "meaning")]
    cells = [[row[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)] for row in rows]
    assert cells == [
        ["steps", "3", "a whole number from 0 to 1000000000", "batches", "how many batches are learnt from"],
        ["lr", "0.5", "a number above 0", "", "how far one step moves the weights"],
        ["name", "plain", "a text", "", "what it is called"],
        ["loud", "False", "true or false", "", ""],
        ["image_size", "None", "anything", "", ""],
        ["target", "data/dot.svg", "the name of an SVG or of a picture file", "", "the picture that is learnt"],
    ]


def test_lab_asks_no_server_for_news(tmp_path):
    environment = cli.lab_environment(tmp_path)
    file = tmp_path / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    assert json.loads(file.read_text()) == {"fetchNews": "false", "checkForUpdates": False}
    assert environment["JUPYTERLAB_SETTINGS_DIR"] == str(tmp_path)
    file.write_text("{}")
    cli.lab_environment(tmp_path)
    assert file.read_text() == "{}", "a learner's own settings stay"


def test_lab_gives_its_kernels_the_policy_for_threads(monkeypatch):
    given = []
    monkeypatch.setattr(os, "execve", lambda *words: given.append(words[2]))
    cli.lab()
    assert given[0]["OMP_WAIT_POLICY"] == os.environ["OMP_WAIT_POLICY"]


def test_doctor_finds_this_machine_ready():
    done = subprocess.run([sys.executable, "-m", "imggen_core.cli", "doctor"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    names = [line.split()[1] for line in lines[:-1]]
    assert names == ["Python", "cairo", "kernel", "disk", "torch", "device", "bfloat16", "speed"]
    assert lines[-1] == "ready" and "GFLOP/s" in lines[-2]


WITHOUT_CAIRO = """
import ctypes.util, sys
import cffi
def no_cairo(self, name, *flags):
    raise OSError(f"cannot load library '{name}': no library called cairo was found")
cffi.FFI.dlopen = no_cairo
from imggen_core import cli
sys.argv = ["imggen", *sys.argv[1:]]
cli.main()
"""


def test_missing_cairo_library_is_one_clear_line_and_not_ready(course, tmp_path):
    (tmp_path / "without_cairo.py").write_text(WITHOUT_CAIRO)
    command = [sys.executable, str(tmp_path / "without_cairo.py")]
    done = subprocess.run([*command, "doctor"], env=course.environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout.splitlines()[-1].startswith("not ready")
    line = next(line for line in done.stdout.splitlines() if " cairo " in line)
    assert line.startswith("NO") and "apt install libcairo2" in line and "brew install cairo" in line


def test_a_long_error_loses_its_middle_and_keeps_its_end():
    line = f"{'/deep' * 40}: holds another run (lr 1 there, 2 now) — name another folder"
    assert cli.fitted(line) == f"{line[:29]}…{line[171:200]}: holds another run (lr 1 there, 2 now) — name another folder"
    line = f"{'word ' * 100}— {'do ' * 10}"
    assert len(cli.fitted(line)) == 200 and cli.fitted(line).endswith(f"…{line[499:]}")
    assert len(cli.fitted("word " * 100)) == 200 and cli.fitted("short") == "short"


def test_a_deleted_working_folder_is_one_line_in_every_command(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(settings.ROOT)}
    program = "import os, sys; os.rmdir(os.getcwd()); from imggen_core import cli; sys.argv = ['imggen', *sys.argv[1:]]; cli.main()"
    for number, words in enumerate((["run", "strokes"], [])):
        (tmp_path / str(number)).mkdir()
        command = [sys.executable, "-P", "-c", program, *words]
        done = subprocess.run(command, cwd=tmp_path / str(number), env=environment, capture_output=True, text=True)
        assert done.stderr == "imggen: the working folder was deleted — go to one that is there: cd\n" and done.returncode == 2


@pytest.mark.parametrize(
    "line, status, said",
    [
        ("run nosuch", 2, "imggen: no chapter 'nosuch' \\u2014 there is demo, later"),  # in an encoding that has no dash
        ("chapters <&- >&-", 0, ""),
        ("run nosuch 2>&-", 2, ""),
        ("chapters > /dev/full", 1, "imggen: the disk is full — make room; the same command goes on"),
        ("> /dev/full", 2, ""),
        ("chapters | true", None, ""),
    ],
    ids=["ascii", "closed", "closed errors", "full", "full help", "pipe"],
)
def test_output_that_cannot_be_written_is_no_traceback(course, line, status, said):
    if "/dev/full" in line and not os.path.exists("/dev/full"):
        pytest.skip("this system has none")
    command = ["bash", "-c", f"set -o pipefail; {' '.join(course.command())} {line}"]
    environment = course.environment | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, env=environment, cwd=course.root, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.stderr.strip() == said.replace("—", "\\u2014") and status in (done.returncode, None)


def test_full_disk_is_one_clear_line():
    error = OSError(28, "No space left on device", "/runs/x")
    assert cli.verdict(error) == ("the disk is full (/runs/x) — make room; the same command goes on", 1)


def test_unforeseen_error_is_one_line_too():
    assert cli.verdict(KeyError("a\nb")) == ("KeyError: 'a\\nb' (IMGGEN_DEBUG=1 shows where)", 1)


def test_ctrl_c_is_said_in_every_command(monkeypatch, capfd):
    def interrupted():
        raise KeyboardInterrupt

    def left(status):
        raise SystemExit(status)

    monkeypatch.setattr(cli, "examine", interrupted)
    monkeypatch.setattr(sys, "argv", ["imggen", "doctor"])
    monkeypatch.setattr(os, "_exit", left)
    monkeypatch.setattr(signal, "signal", lambda *given: None)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130 and "imggen: stopped" in capfd.readouterr().err
