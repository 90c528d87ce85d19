"""`imggen ...`: the command line. Exit status 0 done, 1 a run or a criterion failed, 2 the input was wrong."""

from __future__ import annotations

import contextlib
import errno
import importlib
import inspect
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import Annotated

import typer

from imggen_core.kit.settings import ROOT, RUNS, SCALES, InputError, nearest

# torch takes seconds to import, and so does what stands on it: every command imports what it needs.

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Build every kind of 2D image generator by hand: the course's chapters, their runs and their models.",
)

ChapterName = Annotated[str, typer.Argument(metavar="CHAPTER", help="A chapter's name, as `imggen chapters` lists them.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name, as `imggen models` lists them, or its folder.")]
Scale = Annotated[str, typer.Option(metavar="smoke|laptop|full", help="How big: for CI, for two cores, for a GPU.")]
Pairs = Annotated[list[str] | None, typer.Option("-p", metavar="NAME VALUE", help="Set a parameter; may be given again.")]
Out = Annotated[
    Path | None, typer.Option(metavar="DIR", help="The run folder; the same one again goes on. Default: a fresh one in runs/.")
]

CAIRO_HINT = (
    "the cairo library is missing — install it: `apt install libcairo2` (Debian, Ubuntu), `brew install cairo` (macOS) "
    "or `conda install cairo`"
)


class Stopped(BaseException):
    """Ctrl-C, or a polite request to end, while a run that can go on was under way; the message says how."""


# ---- run and train ---------------------------------------------------------------------------------------------------


@app.command()
def run(
    chapter: ChapterName,
    scale: Scale = "laptop",
    p: Pairs = None,
    out: Out = None,
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="Kill the run after this long, and try once more.")] = None,
):
    """Run a chapter's notebook, by papermill, into a run folder."""
    from imggen_core.kit import notebooks

    if timeout is not None and not timeout > 0:
        raise InputError(f"--timeout {timeout:g}: wants a number of seconds above 0")
    notebook = notebooks.notebook_of(chapter)
    parameters = checked_parameters(chapter, notebooks.parameters_of(notebook), scale, p)
    folder = run_folder(chapter, out)
    claim(folder, chapter, scale, parameters)
    start = time.monotonic()
    try:
        notebooks.run_notebook(notebook, folder, parameters, scale, timeout, echo=say)
    except KeyboardInterrupt:
        raise Stopped(f"stopped — to go on: {again('run', chapter, scale, p, folder)}") from None
    closing(chapter, folder, time.monotonic() - start)


@app.command()
def train(
    chapter: ChapterName,
    processes: Annotated[int, typer.Option(metavar="N", help="How many processes, one per GPU where there are GPUs.")] = 1,
    scale: Scale = "laptop",
    p: Pairs = None,
    out: Out = None,
):
    """Run a chapter's train() alone, by torchrun, in one or several processes."""
    from imggen_core.kit import notebooks

    if processes < 1:
        raise InputError(f"--processes {processes}: wants a whole number of at least 1")
    notebook = notebooks.notebook_of(chapter)
    function = chapter_function(chapter, "train")
    known = [name for name in inspect.signature(function).parameters if name != "run"]
    defaults = {name: value for name, value in notebooks.parameters_of(notebook).items() if name in known}
    parameters = checked_parameters(chapter, defaults, scale, p)
    folder = run_folder(chapter, out)
    claim(folder, chapter, scale, parameters)
    job = {"chapter": chapter, "scale": scale, "parameters": parameters, "folder": str(folder)}
    start = time.monotonic()
    try:
        torchrun(job, processes)
    except KeyboardInterrupt:
        raise Stopped(f"stopped — to go on: {again('train', chapter, scale, p, folder, processes)}") from None
    closing(chapter, folder, time.monotonic() - start)


def torchrun(job: dict, processes: int) -> None:
    """Run `train_worker` in `processes` processes; raises what a worker reported."""
    from imggen_core.kit.notebooks import TOKEN, RunFailed, first_line, kill_all

    token = uuid.uuid4().hex
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // processes))
    with tempfile.TemporaryDirectory(prefix="imggen-") as scratch:
        path, failure, noise = (Path(scratch, name) for name in ("job.json", "failure.json", "torchrun.txt"))
        path.write_text(json.dumps(job | {"failure": str(failure)}))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        with noise.open("wb") as stderr:  # torchrun's own tracebacks; the workers say what went wrong in `failure`
            process = subprocess.Popen(
                command + ["-m", "imggen_core.cli", "train-worker", str(path)],
                env=os.environ | {TOKEN: token, "OMP_NUM_THREADS": threads, "TORCH_CPP_LOG_LEVEL": "ERROR"},
                stderr=stderr,
                start_new_session=True,
            )
            try:
                status = process.wait()
            finally:
                kill_all(process, token)
        if failure.exists():
            report = json.loads(failure.read_text())
            raise InputError(report["message"]) if report["input"] else RunFailed(report["message"])
        if status:
            last = first_line("\n".join(reversed(noise.read_text(errors="replace").splitlines())))
            raise RunFailed(f"{job['chapter']}: torchrun ended with status {status} ({last})")


@app.command(hidden=True)
def train_worker(job: Path):
    """One process of `imggen train`."""
    from imggen_core.kit.run import Run

    todo = json.loads(job.read_text())
    sys.stderr = sys.stdout  # torchrun's own stderr is not shown
    if int(os.environ.get("RANK", 0)):
        sys.stdout = sys.stderr = open(os.devnull, "w")
    try:
        training = Run(todo["chapter"], todo["parameters"], folder=todo["folder"], scale=todo["scale"])
        model = chapter_function(todo["chapter"], "train")(training, **todo["parameters"])
        if hasattr(model, "save_pretrained") and not (Path(todo["folder"]) / "model").exists():
            training.keep(model)
    except Exception as error:
        message = str(error) if isinstance(error, InputError) else f"{todo['chapter']}: {described(error)}"
        part = Path(todo["failure"] + os.environ.get("RANK", "0"))
        part.write_text(json.dumps({"input": isinstance(error, InputError), "message": message}))
        part.replace(todo["failure"])
        raise SystemExit(1) from None


def chapter_function(name: str, function: str):
    try:
        module = importlib.import_module(f"imggen_core.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"imggen_core.{name}":
            raise
        raise InputError(f"chapter {name}: there is no imggen_core.{name} — export its notebook: make export") from None
    if not hasattr(module, function):
        raise InputError(f"chapter {name}: nothing in it to {function} — `imggen run {name}` runs its notebook")
    return getattr(module, function)


def checked_parameters(chapter: str, defaults: dict, scale: str, pairs: list[str] | None) -> dict:
    """The notebook's `defaults`, changed by the scale and by -p, with names and types checked and file names made absolute."""
    from imggen_core.kit import settings

    if scale not in SCALES:
        raise InputError(f"--scale {scale}: wants smoke, laptop or full — {nearest(scale, SCALES)}")
    given = {}
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"-p {pair}: wants a name and a value, as in -p seed 1")
        if name not in defaults:
            raise InputError(f"chapter {chapter} has no parameter {name!r} — {nearest(name, defaults)}")
        given[name] = typed(name, text, defaults[name])
    by_scale = {name: value for name, value in settings.scale_parameters(chapter, scale).items() if name in defaults}
    parameters = defaults | by_scale | given
    if "target" in given:
        parameters["target"] = file_name(given["target"])
    if {"target", "image_size"} & given.keys() and "target" in parameters:
        from imggen_core.kit import targets

        targets.target(ROOT / parameters["target"], parameters.get("image_size"))
    return parameters


def typed(name: str, text: str, default):
    """`text` as a value of the kind that `default` has; a default of None takes anything."""
    from imggen_core.kit.settings import parse

    value = parse(text)
    if isinstance(default, bool):
        value = {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), value)
        if not isinstance(value, bool):
            raise InputError(f"-p {name} {text}: wants true or false")
    elif isinstance(default, int):
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise InputError(f"-p {name} {text}: wants a whole number, as in {default}")
    elif isinstance(default, float):
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value - value != 0:
            raise InputError(f"-p {name} {text}: wants a number, as in {default:g}")
        value = float(value)
    elif isinstance(default, str):
        value = text
    elif isinstance(default, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            raise InputError(f"-p {name} {text}: wants a list, as in '{list(default)}'")
        value = list(value)
    elif default is not None and not isinstance(value, type(default)):
        raise InputError(f"-p {name} {text}: wants a value such as {default!r}")
    return value


def file_name(text: str) -> str:
    """A file the user named: from the root of the project when it lies there, otherwise absolute."""
    path = Path(text).expanduser()
    path = Path(os.path.abspath(path if path.exists() or not (ROOT / path).exists() else ROOT / path))
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else str(path)


def run_folder(chapter: str, out: Path | None) -> Path:
    folder = Path(os.path.abspath(out.expanduser())) if out else fresh(RUNS / f"{chapter}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"--out {out}: is a file, or lies in one — name a folder") from None
    except OSError as error:
        raise InputError(f"--out {out or folder}: cannot be written ({error.strerror}) — name another folder") from None
    return folder


def fresh(folder: Path) -> Path:
    names = [folder] + [folder.with_name(f"{folder.name}-{number}") for number in range(2, 100)]
    return next(name for name in names if not name.exists())


def claim(folder: Path, chapter: str, scale: str, parameters: dict) -> None:
    """Write params.json, or refuse a folder that belongs to another chapter, scale or other parameters."""
    path = folder / "params.json"
    wanted = json.loads(json.dumps({"chapter": chapter, "scale": scale, "parameters": parameters}))
    if not path.exists():
        if any(folder.iterdir()):
            raise InputError(f"--out {shown(folder)}: holds other files, and no run — name a new or an empty folder")
        part = path.with_name("params.json.part")
        part.write_text(json.dumps(wanted, indent=2) + "\n")
        part.replace(path)
        return
    try:
        saved = json.loads(path.read_text())
        there = {"chapter": saved["chapter"], "scale": saved["scale"]} | saved["parameters"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        raise InputError(f"{shown(path)}: damaged — name another folder with --out, or delete this one") from None
    here = {"chapter": chapter, "scale": scale} | wanted["parameters"]
    different = [f"{name} {there[name]!r} there, {here[name]!r} now" for name in here if name in there and there[name] != here[name]]
    if different:
        raise InputError(
            f"{shown(folder)} holds another run ({'; '.join(different)}) — name another folder with --out, or give the same parameters"
        )


def again(command: str, chapter: str, scale: str, pairs: list[str] | None, folder: Path, processes: int = 1) -> str:
    import shlex

    words = ["imggen", command, chapter] + (["--processes", str(processes)] if processes > 1 else [])
    words += ["--scale", scale] if scale != "laptop" else []
    for pair in pairs or []:
        words += ["-p", *pair.split("=", 1)]
    return shlex.join(words + ["--out", shown(folder)])


def closing(chapter: str, folder: Path, seconds: float) -> None:
    """The last lines of a run: how long, the drawing with its PSNR, the run folder."""
    say(f"{chapter} · done in {duration(seconds)}")
    try:
        results = json.loads((folder / "results.json").read_text())
    except (OSError, ValueError):
        results = {}
    for drawing in sorted(folder.glob("*.svg")):
        psnr = results.get("svg_psnr_db")
        say(f"drawing: {shown(drawing)}" + (f" · PSNR {psnr:.1f} dB (as CairoSVG renders it)" if psnr is not None else ""))
    say(f"run folder: {shown(folder)}")


# ---- models ----------------------------------------------------------------------------------------------------------


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def sample(
    context: typer.Context,
    model: ModelName,
    n: Annotated[int, typer.Option("-n", help="How many pictures.")] = 16,
    seed: Annotated[int, typer.Option(help="The same seed, the same pictures.")] = 0,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: MODEL-SEED.png in this folder.")] = None,
):
    """Draw pictures from a trained model; --CONTROL VALUE sets one of its controls."""
    from imggen_core.kit import images, sampler

    if not 1 <= n <= 1024:
        raise InputError(f"-n {n}: wants a number of pictures from 1 to 1024")
    generator = load(model)
    if not hasattr(generator, "controls"):
        raise InputError(f"{model}: draws no samples")
    own = {name.replace("_", "-") for name in generator.controls}
    given = controls(context.args, [f"--{name}" for name in own] + ["--seed", "--out", "-n"])
    sampler.checked(generator.controls, given)
    out = Path(out or f"{Path(model).name}-{seed}.png").expanduser()
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(f"--out {out}: wants a name that ends in .png or .jpg")
    if not out.absolute().parent.is_dir() or out.is_dir():
        raise InputError(
            f"--out {out}: {'is a folder' if out.is_dir() else 'its folder does not exist'} — name a file in a folder that is there"
        )
    pictures = sampler.pictures(generator, n, seed, **given)
    images.save_image(images.sheet(pictures), out)
    height, width = pictures.shape[-2:]
    say(f"{shown(out)}: {n} picture{'s' if n > 1 else ''} of {width}x{height} from {model}, seed {seed}")


def load(model: str):
    """The trained model called so; the hub's own remarks stay off the screen."""
    from imggen_core.kit import zoo

    with contextlib.redirect_stdout(io.StringIO()):
        return zoo.load(model)


def controls(words: list[str], known: list[str]) -> dict[str, str]:
    """`--name value` and `--name=value` pairs as a dictionary."""
    given, words = {}, list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if not name.startswith("--"):
            raise InputError(f"{word}: wants options as in --seed 7")
        if name not in known:
            raise InputError(f"no option {name!r} — {nearest(name, known)}")
        if not equals and not words:
            raise InputError(f"{name}: wants a value")
        given[name[2:].replace("-", "_")] = value if equals else words.pop(0)
    return given


@app.command()
def evaluate(
    model: ModelName,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the figures here, too.")] = None,
):
    """A model's figures against its chapter's criteria: pass or fail."""
    if json_file and (json_file.is_dir() or not json_file.absolute().parent.is_dir()):
        raise InputError(f"--json {json_file}: {'is a folder' if json_file.is_dir() else 'its folder does not exist'} — name a file")
    loaded = load(model)
    chapter = type(loaded).__module__.rpartition(".")[2]
    figures = {name: float(value) for name, value in chapter_function(chapter, "evaluate")(loaded).items()}
    criteria = getattr(importlib.import_module(f"imggen_core.{chapter}"), "CRITERIA", {})
    passed = {name: met(figures.get(name), *criterion) for name, criterion in criteria.items()}
    width = max(map(len, [*figures, *criteria, "figure"]))
    say(f"{'figure':<{width}}  {'value':>10}  criterion")
    for name in dict.fromkeys([*figures, *criteria]):
        value = f"{figures[name]:.4g}" if name in figures else "missing"
        verdict = f"{criteria[name][0]} {criteria[name][1]:g}  {'pass' if passed[name] else 'FAIL'}" if name in criteria else ""
        say(f"{name:<{width}}  {value:>10}  {verdict}".rstrip())
    if json_file:
        finite = {name: value if value - value == 0 else None for name, value in figures.items()}
        report = {"model": model, "figures": finite, "criteria": criteria, "passed": passed}
        part = json_file.with_name(json_file.name + ".part")
        part.write_text(json.dumps(report, indent=1) + "\n")
        part.replace(json_file)
    if not all(passed.values()):
        raise typer.Exit(1)


def met(value: float | None, sign: str, bound: float) -> bool:
    return value is not None and (value >= bound if sign == ">=" else value <= bound)


@app.command()
def models():
    """The trained models that ship, with one line each."""
    from imggen_core.kit import zoo

    there = zoo.models()
    for name, about in there.items():
        say(f"{name:<{max(map(len, there))}}  {about}")
    if not there:
        say("none yet: `imggen run CHAPTER` trains one into its run folder")


@app.command()
def fetch_weights():
    """Download what a bare FID needs: Inception-V3, 95 MB, into data/weights. Nothing is ever downloaded unasked."""
    there = chapter_function("metrics", "inception_weights")()
    say(f"{shown(there or chapter_function('metrics', 'fetch_weights')())}: {'was there already' if there else 'fetched'}")


@app.command()
def chapters():
    """The course's chapters, with one line each."""
    from imggen_core.kit import settings

    for chapter in settings.chapters().values():
        minutes = chapter.minutes.get("laptop")
        about = "to come" if not chapter.ready else f"about {minutes:g} min" if minutes else ""
        say(f"{chapter.number:02d}  {chapter.name:<11}  {about:<12}  {chapter.about}")


# ---- labs and the machine --------------------------------------------------------------------------------------------


@app.command()
def labs():
    """Make the labs anew from their solutions."""
    from imggen_core.kit import notebooks

    changed = notebooks.make_labs()
    for path in changed:
        say(f"made {shown(path)}")
    if not changed:
        say("labs: nothing changed")


@app.command()
def lab(port: Annotated[int, typer.Option(help="The first port to try.")] = 8888):
    """Open JupyterLab on the labs."""
    from imggen_core.kit import notebooks

    say("JupyterLab opens in your browser; Ctrl-C here ends it")
    arguments = [sys.executable, "-m", "jupyterlab", str(notebooks.LESSONS), f"--ServerApp.port={port}"]
    arguments += [f"--ServerApp.root_dir={ROOT}", "--LabApp.extension_manager=readonly", "--log-level=WARN"]
    arguments[3:4] = [f"--LabApp.default_url=/lab/tree/{notebooks.LESSONS.name}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    sys.stdout.flush()
    os.execve(sys.executable, arguments, os.environ | lab_environment(RUNS / ".jupyterlab"))


def lab_environment(folder: Path) -> dict[str, str]:
    """The environment of a JupyterLab that asks no server for news or updates; its settings are kept in `folder`."""
    news = folder / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    if not news.exists():
        news.parent.mkdir(parents=True, exist_ok=True)
        news.write_text('{"fetchNews": "false", "checkForUpdates": false}\n')
    return {"JUPYTERLAB_SETTINGS_DIR": str(folder), "JUPYTER_PREFER_ENV_PATH": "1"}


@app.command()
def doctor():
    """Is this machine ready? One line for each thing that matters."""
    ready = True
    for good, name, text in examine():
        ready &= good is not False
        say(f"{'ok  ' if good else 'NO  ' if good is False else 'note'}  {name:<10}  {text}")
    say("ready" if ready else "not ready: see the lines that say NO")
    if not ready:
        raise typer.Exit(1)


def examine():
    """Yields (True ok, None worth knowing, False blocking; name; what was found and what to do)."""
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info < (3, 14)
    yield fits, "Python", version if fits else f"{version} — needs 3.11 to 3.13: make PYTHON=python3.12 install"
    yield from examine_cairo()
    yield from examine_kernel()
    yield from examine_disk()
    try:
        import torch
        import torchvision
    except Exception as error:
        yield False, "torch", f"{described(error)} — install it: make install"
        return
    from imggen_core.kit import settings

    yield True, "torch", f"{torch.__version__}, torchvision {torchvision.__version__}"
    device = settings.choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads, {os.cpu_count()} cores"
    yield True, "device", f"{device.type} ({name})"
    units = bfloat16_units(device)
    yield (True if units else None), "bfloat16", f"{units or 'no units for it'}: training runs in {settings.choose_precision(device)}"
    speed = {kind: conv_speed(device, getattr(torch, kind)) for kind in ("float32", "bfloat16")}
    enough = speed["float32"] >= 10
    text = " · ".join(f"{kind} {value:.0f} GFLOP/s" for kind, value in speed.items())
    yield (True if enough else None), "speed", text if enough else f"{text}: slow, expect several times the stated minutes"


def examine_cairo():
    try:
        import cairosvg

        cairosvg.svg2png(bytestring=b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')
        yield True, "cairo", f"CairoSVG {cairosvg.__version__}, cairo {cairo_version()}"
    except Exception as error:
        yield False, "cairo", CAIRO_HINT if is_cairo(error) else described(error)


def cairo_version() -> str:
    import cairocffi

    return cairocffi.cairo_version_string()


def examine_kernel():
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
        # Jupyter replaces a bare "python" by the Python that asks.
        same = command.startswith("python") or Path(command).parent.resolve() == Path(sys.executable).parent.resolve()
        text = "python3" if same else f"python3 runs {command}, not this Python — `{sys.executable} -m ipykernel install --sys-prefix`"
        yield (True if same else False), "kernel", text
    except Exception as error:
        yield False, "kernel", f"{described(error)} — `{sys.executable} -m ipykernel install --sys-prefix`"


def examine_disk():
    free = shutil.disk_usage(ROOT).free / 1e9
    text = f"{free:.1f} GB free"
    yield (free >= 0.5 and (True if free >= 3 else None)), "disk", text if free >= 3 else f"{text}: runs want 3 GB, make room"


def bfloat16_units(device) -> str:
    """The processor's bfloat16 arithmetic by name, or ""."""
    import torch

    if device.type == "cuda":
        return "tensor cores" if torch.cuda.get_device_capability(device) >= (8, 0) else ""
    probes = {"_is_amx_tile_supported": "AMX", "_is_avx512_bf16_supported": "AVX-512 BF16"}
    found = [name for probe, name in probes.items() if getattr(torch.cpu, probe, bool)()]
    if platform.machine().lower() in ("arm64", "aarch64"):
        cpuinfo = Path("/proc/cpuinfo")
        if cpuinfo.exists() and " bf16" in cpuinfo.read_text():
            found.append("Arm BF16")
        elif sys.platform == "darwin":
            asked = subprocess.run(["sysctl", "-n", "hw.optional.arm.FEAT_BF16"], capture_output=True, text=True)
            found += ["Arm BF16"] if asked.stdout.strip() == "1" else []
    return " and ".join(found)


def conv_speed(device, dtype, seconds: float = 0.8) -> float:
    """GFLOP/s of a 3x3 convolution, 64 channels, 8 images of 64x64, forward and backward."""
    import torch

    convolution = torch.nn.Conv2d(64, 64, 3, padding=1).to(device, dtype).to(memory_format=torch.channels_last)
    images = torch.randn(8, 64, 64, 64, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()

    def once() -> None:
        convolution(images).sum().backward()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()

    once()
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        once()
        count += 1
    return count * 3 * 2 * 8 * 64 * 64 * 64 * 64 * 9 / spent / 1e9


# ---- errors ----------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(text, flush=True)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def shown(path: Path) -> str:
    from imggen_core.kit.notebooks import shown

    return shown(path)


def is_cairo(error: BaseException) -> bool:
    return isinstance(error, OSError) and "cairo" in str(error) and "library" in str(error)


def described(error: BaseException) -> str:
    """An error nobody foresaw, in one line."""
    if is_cairo(error):
        return CAIRO_HINT
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full{f' ({error.filename})' if error.filename else ''} — make room; the same command goes on"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def pair_up(words: list[str]) -> list[str]:
    """`-p NAME VALUE` as `-p NAME=VALUE`: Typer has no option that takes two words and may be repeated."""
    words, paired = list(words), []
    if words[:1] not in (["run"], ["train"]):
        return words
    while words:
        word = words.pop(0)
        paired.append(word)
        if word == "-p" and words:
            name = words.pop(0)
            paired.append(f"{name}={words.pop(0)}" if words and "=" not in name else name)
    return paired


def main() -> None:
    """The entry point: runs the command, and turns every error into one line and an exit status."""
    for name in ("SIGTERM", "SIGHUP"):  # ends as Ctrl-C does, so that no kernel stays behind
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    debug = bool(os.environ.get("IMGGEN_DEBUG"))
    if not debug:
        warnings.simplefilter("ignore")
    try:
        status = app(pair_up(sys.argv[1:]), prog_name="imggen", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except (KeyboardInterrupt, Stopped, typer.Abort) as stop:
        message, status = str(stop) if isinstance(stop, Stopped) else "stopped", 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except Exception as error:
        if debug:
            raise
        message, status = verdict(error)
    if message:
        print(f"imggen: {message}", file=sys.stderr)
    sys.exit(status)


def verdict(error: Exception) -> tuple[str, int]:
    """The line and the exit status of an error."""
    if hasattr(error, "format_message"):  # Typer's own: a missing argument, an unknown option or command
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message())
            return "", 2
        options = [option for option in getattr(error, "possibilities", None) or [] if option]
        text = " ".join(error.format_message().split())
        hint = f" — did you mean `{options[0]}`?" if options and "mean" not in text else ""
        return f"{text.rstrip('.')}{hint}", 2
    if isinstance(error, InputError):
        return str(error), 2
    if type(error).__name__ == "RunFailed":
        return str(error), 1
    known = isinstance(error, OSError)
    return described(error) + ("" if known else " (IMGGEN_DEBUG=1 shows where)"), 1


if __name__ == "__main__":
    main()
