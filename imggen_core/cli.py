"""`imggen ...`: the command line. Exit status 0 done, 1 a run or a criterion failed, 2 the input was wrong."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from imggen_core.doctor import described, examine
from imggen_core.kit import files
from imggen_core.kit.files import shown
from imggen_core.kit.folder import claim
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


NAME_ERRORS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


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
    defaults = notebooks.parameters_of(notebook)
    parameters = chosen(chapter, schema_of(chapter, defaults), defaults, scale, p)
    folder = run_folder(chapter, out)
    start = time.monotonic()
    try:
        with claim(folder, chapter, scale, parameters):
            notebooks.run_notebook(notebook, folder, parameters, scale, timeout, echo=say)
    except KeyboardInterrupt:
        raise Stopped(f"stopped — to go on: {again('run', chapter, scale, p, folder)}") from None
    closing(chapter, folder, time.monotonic() - start)


@app.command()
def train(
    chapter: ChapterName,
    processes: Annotated[int, typer.Option(metavar="N", help="How many processes on this machine, one per GPU where there are GPUs.")] = 1,
    nodes: Annotated[int, typer.Option(metavar="N", help="How many machines; each is given this same command.")] = 1,
    node_rank: Annotated[int | None, typer.Option(metavar="K", help="Which of them this is: 0 is the one that writes.")] = None,
    rendezvous: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where they meet: a free port of machine 0.")] = None,
    scale: Scale = "laptop",
    p: Pairs = None,
    out: Out = None,
):
    """Run a chapter's train() alone, by torchrun, in one or several processes, on one or several machines."""
    from imggen_core.kit import notebooks
    from imggen_core.kit.torchrun import Machines, torchrun

    machines = Machines(processes, nodes, node_rank, rendezvous)
    notebook = notebooks.notebook_of(chapter)
    schema = schema_of_train(chapter)
    if not schema:
        chapter_function(chapter, "train")  # says what is missing
    parameters = chosen(chapter, schema, notebooks.parameters_of(notebook), scale, p)
    folder = run_folder(chapter, out) if machines.first else None
    if nodes > 1:
        say(f"{chapter} · machine {node_rank} of {nodes} (0 to {nodes - 1}) · they meet at {rendezvous}")
    job = {"chapter": chapter, "scale": scale, "parameters": parameters, "folder": folder and str(folder)}
    start = time.monotonic()
    try:
        with claim(folder, chapter, scale, parameters) if folder else contextlib.nullcontext():
            torchrun(job, machines)
    except KeyboardInterrupt:
        raise Stopped(f"stopped — to go on: {again('train', chapter, scale, p, folder, machines.options)}") from None
    closing(chapter, folder, time.monotonic() - start)


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
        if training.main and hasattr(model, "save_pretrained") and not training.path("model").exists():
            training.keep(model)
    except Exception as error:
        lost = re.search("(closed|reset) by peer|remote process exited", str(error))  # as gloo says it, and NCCL
        what = "another of its processes ended — what that one said tells why; the same command goes on" if lost else described(error)
        message = str(error) if isinstance(error, InputError) else f"{todo['chapter']}: {what}"
        part = Path(todo["failure"] + os.environ.get("RANK", "0"))
        part.write_text(json.dumps({"input": isinstance(error, InputError), "message": message}))
        if not Path(todo["failure"]).exists():  # what the other processes report after that is that this one is gone
            part.replace(todo["failure"])
        raise SystemExit(1) from None


def chapter_module(name: str):
    try:
        return importlib.import_module(f"imggen_core.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"imggen_core.{name}":
            raise
        raise InputError(f"chapter {name}: there is no imggen_core.{name} — export its notebook: make export") from None


def chapter_function(name: str, function: str):
    if not hasattr(chapter_module(name), function):
        raise InputError(f"chapter {name}: nothing in it to {function} — `imggen run {name}` runs its notebook")
    return getattr(chapter_module(name), function)


def schema_of_train(chapter: str) -> dict:
    """What the parameters of the chapter's `train` may be; {} where there is none."""
    from imggen_core.kit import parameters

    module = Path(__file__).with_name(f"{chapter}.py")
    try:
        return parameters.declared(module) if module.exists() else {}
    except Exception:  # an annotation that only an import can work out
        return parameters.of(chapter_function(chapter, "train"))


def schema_of(chapter: str, defaults: dict) -> dict:
    """What a notebook's parameters may be: by the schema of the chapter's `train`, else like their `defaults`."""
    from imggen_core.kit import parameters

    declared = schema_of_train(chapter)
    return {name: declared.get(name) or parameters.like(default) for name, default in defaults.items()}


def chosen(chapter: str, schema: dict, defaults: dict, scale: str, pairs: list[str] | None) -> dict:
    """The notebook's `defaults` of what is in `schema`, changed by the scale and by -p; InputError for a name or a value outside of it,
    before anything starts."""
    from imggen_core.kit import settings

    if scale not in SCALES:
        raise InputError(f"--scale {scale}: wants smoke, laptop or full — {nearest(scale, SCALES)}")
    values = {name: value for name, value in defaults.items() if name in schema}
    for name, value in settings.scale_parameters(chapter, scale).items():
        if name in schema:  # the others are the lab's
            try:
                schema[name].read(name, value)
            except InputError as error:
                raise settings.in_settings(f"{chapter}.{scale}", str(error)) from None
            values[name] = value
    for pair in pairs or []:
        name, equals, text = pair.partition("=")
        if not equals:
            raise InputError(f"-p {pair}: wants a name and a value, as in -p seed 1")
        if name not in schema:
            raise InputError(f"chapter {chapter} has no parameter {name!r} — {nearest(name, schema)}")
        values[name] = schema[name].typed(name, text)
    for name in values if pairs else ():
        schema[name].look(name, values)
    return values


def run_folder(chapter: str, out: Path | None) -> Path:
    """The folder `out`, or else a fresh one in runs/; InputError where nothing can be written."""
    try:
        folder = Path(os.path.abspath(files.typed(out, "--out"))) if out else files.fresh_folder(RUNS, chapter)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"--out {out}: is a file, or lies in one — name a folder") from None
    except OSError as error:
        raise InputError(f"--out {out or RUNS}: cannot be written ({error.strerror}) — name another folder") from None
    return folder


def again(command: str, chapter: str, scale: str, pairs: list[str] | None, folder: Path | None, options: Sequence[str] = ()) -> str:
    words = ["imggen", command, chapter, *options]
    words += ["--scale", scale] if scale != "laptop" else []
    for pair in pairs or []:
        words += ["-p", *pair.split("=", 1)]
    return shlex.join(words + (["--out", shown(folder)] if folder else []))


def closing(chapter: str, folder: Path | None, seconds: float) -> None:
    """The last lines; what a run has to say of its own stands in its log, which was shown as it grew."""
    say(f"{chapter} · done in {duration(seconds)}")
    say(f"run folder: {shown(folder) if folder else 'on machine 0'}")


# ---- models ----------------------------------------------------------------------------------------------------------


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def sample(
    context: typer.Context,
    model: ModelName,
    n: Annotated[int | None, typer.Option("-n", help="How many pictures. Default: 16, and 1 as an .svg.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed, the same pictures.")] = 0,
    first: Annotated[int, typer.Option(help="The index of the first picture, among those of the seed.")] = 0,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|DIR/",
            help="A sheet (.png, .jpg), one drawing (.svg), or a file for each picture and a table of them: "
            "a folder, which goes on where it was stopped, or a .zip. Default: MODEL-SEED.png in this folder.",
        ),
    ] = None,
):
    """Draw pictures from a trained model; --CONTROL VALUE sets one of its controls."""
    from imggen_core.kit import progress, sampler, samples, zoo
    from imggen_core.kit.parameters import Whole

    generator = load(model)
    if not hasattr(generator, "controls"):
        raise InputError(f"{model}: draws no samples")
    own = {name.replace("_", "-") for name in generator.controls}
    given = controls(context.args, [f"--{name}" for name in own] + ["--seed", "--first", "--out", "-n"])
    write, path = samples.writer(out or f"{Path(model).name}-{seed}.png")
    n = Whole(1, 10**6).read("n", (1 if write is samples.write_svg else 16) if n is None else n)
    seed, first = sampler.read_seed(seed), sampler.read_index("first", first)
    wanted = samples.Samples(generator, model, zoo.fingerprint(model), n, seed, first, sampler.checked(generator.controls, given))
    if write is samples.write_folder:
        run_folder(model, path)
    try:
        with progress.shown():
            what = write(wanted, path)
    except KeyboardInterrupt:
        if write not in (samples.write_folder, samples.write_zip):
            raise
        raise Stopped(f"stopped — to go on: {shlex.join(['imggen', *sys.argv[1:]])}") from None
    say(f"{shown(path)}: {what} from {model}, seed {seed}")


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
    from imggen_core.kit import progress

    json_file = json_file and files.named(json_file, "--json")
    loaded = load(model)
    chapter = type(loaded).__module__.rpartition(".")[2]
    measure = chapter_function(chapter, "evaluate")
    with progress.shown():
        figures = {name: float(value) for name, value in measure(loaded).items()}
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
        files.write(json_file, json.dumps(report, indent=1) + "\n")
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
    from imggen_core.kit import inception

    there = inception.inception_weights()
    say(f"{shown(there or inception.fetch_weights())}: {'was there already' if there else 'fetched'}")


@app.command()
def chapters(name: Annotated[str | None, typer.Argument(metavar="[CHAPTER]", help="Show what this one can be given with -p.")] = None):
    """The course's chapters with one line each, or one chapter's parameters."""
    from imggen_core.kit import notebooks, settings

    if name is None:
        for chapter in settings.chapters().values():
            minutes = chapter.minutes.get("laptop")
            about = "to come" if not chapter.ready else f"about {minutes:g} min" if minutes else ""
            say(f"{chapter.number:02d}  {chapter.name:<11}  {about:<12}  {chapter.about}")
        return
    defaults = notebooks.parameters_of(notebooks.notebook_of(name))
    schema = schema_of(name, defaults)
    rows = [("name", "laptop", "must be", "unit", "meaning")]
    rows += [(key, str(defaults[key]), kind.wants, kind.unit, kind.meaning) for key, kind in schema.items()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        say("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())


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
        files.write(news, '{"fetchNews": "false", "checkForUpdates": false}\n')
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


# ---- errors ----------------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    print(files.printable(text), flush=True)


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def fitted(text: str, most: int = 200) -> str:
    """An error in at most `most` characters: long words (a path, a value) lose their middle, then the text; its end says what to do."""
    if len(text) > most:
        text = " ".join(word if len(word) <= 60 else f"{word[:29]}…{word[-30:]}" for word in text.split(" "))
    end = text[text.rfind(" — ") :] if " — " in text else ""
    end = end if 0 < len(end) <= most // 2 else text[-most // 2 :]
    return text if len(text) <= most else f"{text[: most - len(end) - 1]}…{end}"


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


def check_folder() -> None:
    try:
        os.getcwd()
    except OSError:
        raise InputError("the working folder was deleted — go to one that is there: cd") from None


def main() -> None:
    """The entry point: runs the command, and turns every error into one line and an exit status."""
    for name in ("SIGTERM", "SIGHUP"):  # ends as Ctrl-C does, so that no kernel stays behind
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed: the next file that is opened would get its number
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
        elif name != "stdin" and hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")  # whatever the terminal's encoding lacks
    debug = bool(os.environ.get("IMGGEN_DEBUG"))
    if not debug:
        warnings.simplefilter("ignore")
    try:
        check_folder()
        status = app(pair_up(sys.argv[1:]), prog_name="imggen", standalone_mode=False)
        if status == 130:  # how Typer hands on a Ctrl-C
            raise KeyboardInterrupt
        sys.exit(status if isinstance(status, int) else 0)
    except (KeyboardInterrupt, Stopped, typer.Abort) as stop:
        message, status = files.printable(str(stop)) if isinstance(stop, Stopped) else "stopped", 130
    except BrokenPipeError:
        message, status = "", 1
    except Exception as error:
        if debug:
            raise
        message, status = verdict(error)
        message = fitted(files.printable(message))
    with contextlib.suppress(OSError):
        if message:
            print(f"imggen: {message}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads it any more, or its disk is full: Python would try again, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if status == 130:  # at once: beside busy programs Python needs many seconds to take torch apart
        os._exit(status)
    sys.exit(status)


def verdict(error: Exception) -> tuple[str, int]:
    """The line and the exit status of an error."""
    if hasattr(error, "format_message"):  # Typer's own: a missing argument, an unknown option or command
        if type(error).__name__ == "NoArgsIsHelpError":
            with contextlib.suppress(OSError):  # nobody reads it: main() sees to that
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
    if isinstance(error, OSError) and error.filename and error.errno in NAME_ERRORS:
        return f"{error.filename}: cannot be used ({error.strerror}) — give another name", 2
    known = isinstance(error, OSError)
    return described(error) + ("" if known else " (IMGGEN_DEBUG=1 shows where)"), 1


if __name__ == "__main__":
    main()
