"""The ground: metadata that agrees with itself, a Makefile that survives interruption, and the house's one rule about imports."""

import ast
import functools
import graphlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from imggen_core.kit import settings
from imggen_core.kit.notebooks import parameters_of

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
COURSE = """wireframe strokes population designs unet wnet abstractor metrics ddpm designer upscale creatures vae gan wgan conditional
stylegan text2image style finetune innovation""".split()


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements() -> dict[str, Requirement]:
    project = PROJECT["project"]
    found = map(Requirement, project["dependencies"] + project["optional-dependencies"]["test"])
    return {canonical(requirement.name): requirement for requirement in found}


def constraints() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pins = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert all(pins), f"not NAME==VERSION: {[line for line, pin in zip(lines, pins, strict=True) if not pin]}"
    return {canonical(pin[1]): pin[2] for pin in pins}


def test_package_has_lower_bounds_only():
    for name, requirement in requirements().items():
        assert [bound.operator for bound in requirement.specifier] == [">="], f"{name}: {requirement.specifier}"


def test_constraints_hold_every_requirement_within_its_bound():
    pins = constraints()
    assert {name for name in requirements() if name not in pins} == set()
    assert [name for name, requirement in requirements().items() if pins[name] not in requirement.specifier] == []


def test_constraints_pin_what_the_requirements_need_in_turn():
    pins, waiting, seen = constraints(), list(requirements()), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        assert name in pins, f"{name} is needed, but constraints.txt does not pin it"
        from importlib.metadata import requires

        for needed in map(Requirement, requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(canonical(needed.name))
    assert len(seen) > 100


def test_conda_environment_agrees_with_the_package():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = [item for item in environment if isinstance(item, str)] + next(i for i in environment if isinstance(i, dict))["pip"]
    renamed = {"pytorch": "torch"}
    conda = {}
    for item in listed:
        if item in ("pip", "cairo", "-e ."):
            continue
        requirement = Requirement(item)
        conda[renamed.get(requirement.name, canonical(requirement.name))] = requirement.specifier
    assert conda.pop("python") == SpecifierSet(PROJECT["project"]["requires-python"])
    assert conda == {name: requirement.specifier for name, requirement in requirements().items()}


def test_package_says_one_version():
    import imggen_core

    assert installed_version("imggen-core") == imggen_core.__version__


def test_tests_import_this_checkout():
    import imggen_core

    program = "import imggen_core; print(imggen_core.__file__)"
    started = subprocess.run([sys.executable, "-c", program], cwd="/", capture_output=True, text=True)
    assert imggen_core.__file__ == started.stdout.strip() == str(ROOT / "imggen_core" / "__init__.py")


def test_every_import_is_a_declared_dependency():
    names = {"pil": "pillow", "skimage": "scikit-image", "yaml": None, "packaging": None, "cairocffi": None, "jupyter_client": None}
    names |= {"nbclient": None, "matplotlib_inline": None, "ipython": None}  # each comes with a declared one that stands on it
    missing = set()
    for path in (ROOT / "imggen_core").rglob("*.py"):
        for module in imported(path):
            top = module.split(".")[0].lower()
            if top not in sys.stdlib_module_names and top not in ("imggen_core", "__future__", ""):
                needed = names.get(top, canonical(top))
                if needed and needed not in requirements():
                    missing.add(f"{path.name}: {top}")
    assert missing == set()


def imported(path: Path) -> list[str]:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return [target for target, _ in imports(name, path.read_text()) if target]


# ---- the house's one rule: who may import whom -----------------------------------------------------------------------

PLAIN = ("tracing", "worlds")  # plain packages beside the kit
# a chapter by the name a person gave, a model's class by its config, the module whose functions a spawned process is to run
LOAD_BY_NAME = ("imggen_core.cli", "imggen_core.kit.zoo", "imggen_core.kit.processes")


def sources() -> dict[str, str]:
    """The package's modules by name (a package as NAME.__init__), with their text."""
    paths = [path for path in (ROOT / "imggen_core").rglob("*.py") if path.name != "_modidx.py"]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text() for path in paths}


@functools.cache
def imports(name: str, text: str) -> tuple[tuple[str | None, int], ...]:
    """What module `name` imports anywhere in `text`, absolutely named, with the line; None for a name that only the running program knows.

    `from a import b` counts as `a` and `a.b`, since b may be a module. Seen are absolute and relative imports, also in functions, and
    calls of `import_module` and `__import__`, whatever they are called here.
    """
    found, package = [], name.rpartition(".")[0]
    tree = ast.parse(text)
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    importers = {"import_module", "__import__"} | {
        alias.asname or alias.name for node in froms for alias in node.names if alias.name in ("import_module", "__import__")
    }

    def absolute(level: int, module: str | None) -> str:
        base = package.split(".")[: len(package.split(".")) - level + 1] if level else []
        return ".".join([*base, *filter(None, [module])])

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = absolute(node.level, node.module)
            found += [(base, node.lineno), *((f"{base}.{alias.name}", node.lineno) for alias in node.names)]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) in importers:
            argument = node.args[0] if node.args else node.keywords[0].value
            target = argument.value if isinstance(argument, ast.Constant) else None
            dots = len(target) - len(target.lstrip(".")) if target else 0
            found.append((absolute(dots, target.lstrip(".")) if target else None, node.lineno))
    return tuple(found)


def room(module: str) -> str:
    """The part of the house that a module (or a name in it) belongs to: kit, tracing, worlds, cli, …, or a chapter's name."""
    return (module.split(".") + [""])[1]


def allowed(here: str, course: list[str]) -> set[str]:
    """The rooms that modules of the room `here` may import from."""
    plain = {"kit", *PLAIN}
    if here in course:
        return plain | set(course[: course.index(here) + 1])  # itself: a process that it starts imports it by name
    rooms = {"kit": {"kit"}, "doctor": {"kit", "cli"}, "cli": plain | {"doctor", "studio", *course}} | dict.fromkeys(PLAIN, plain)
    return rooms.get(here, {"kit"})


def offences(modules: dict[str, str]) -> list[str]:
    """Every import that the rule forbids, as `module:line imports target`."""
    course = list(settings.chapters())
    rooms = {room(name) for name in modules} | set(course)
    found = []
    for name, text in modules.items():
        for target, line in imports(name, text):
            if target is None:
                if name not in LOAD_BY_NAME:
                    found.append(f"{name}:{line} imports what only the running program knows")
            elif target.split(".")[0] == "imggen_core" and room(target) in rooms - {"__init__"} - allowed(room(name), course):
                found.append(f"{name}:{line} imports {target}")
    return found


def circle(modules: dict[str, str]) -> list[str]:
    """Modules that import each other in a circle, at their heads or in functions; [] when there is none."""
    graph = {}
    for name, text in modules.items():
        graph[name] = set()
        for target, _ in imports(name, text):
            known = [n for n in modules if target and f"{target}.".startswith(n.removesuffix("__init__").rstrip(".") + ".")]
            last = max(known, key=lambda n: len(n.removesuffix(".__init__")), default=name)
            graph[name] |= {last} - {name}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def test_nothing_in_the_house_imports_what_it_may_not():
    assert offences(sources()) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circle(sources()) == []


MUTANTS = {
    "kit to a chapter, absolute": ("kit.show", "from imggen_core.strokes import render"),
    "kit to a chapter, of the package": ("kit.show", "from imggen_core import strokes"),
    "kit to a chapter, plainly": ("kit.show", "import imggen_core.strokes"),
    "kit to a chapter, relative": ("kit.show", "from ..strokes import render"),
    "kit to a chapter, of the parent": ("kit.show", "from .. import strokes"),
    "kit to a chapter, in a function": ("kit.show", "def late():\n    from ..strokes import render"),
    "kit to a chapter, in a method": ("kit.show", "class A:\n    def late(self):\n        import imggen_core.ddpm as d"),
    "kit to a chapter, by name": ("kit.show", "import importlib\nimportlib.import_module('imggen_core.strokes')"),
    "kit to a chapter, by relative name": ("kit.show", "import importlib\nimportlib.import_module('..strokes', __package__)"),
    "kit to a chapter, by another name": ("kit.show", "from importlib import import_module as load\nload('imggen_core.strokes')"),
    "kit to a chapter, by __import__": ("kit.show", "__import__('imggen_core.strokes')"),
    "kit to a name nobody knows": ("kit.show", "import importlib\nimportlib.import_module(f'imggen_core.{name}')"),
    "kit to a plain package": ("kit.show", "from ..worlds import scenes"),
    "kit to the command line": ("kit.show", "from .. import cli"),
    "earlier to later chapter, as nbdev writes it": ("ddpm", "from .designer import Designer"),
    "earlier to later chapter, of the package": ("ddpm", "from . import designer"),
    "earlier to later chapter, absolute": ("ddpm", "from imggen_core.designer import Designer"),
    "earlier to later chapter, by name": ("ddpm", "from importlib import import_module\nimport_module('.designer', __package__)"),
    "earlier to later chapter, in a function": ("ddpm", "def late():\n    from .designer import Designer"),
    "a chapter to one that is still to come": ("ddpm", "from .vae import VAE"),
    "a chapter to the command line": ("ddpm", "from .cli import app"),
    "a chapter to a name nobody knows": ("ddpm", "__import__('imggen_core.' + name)"),
    "worlds to a chapter": ("worlds.__init__", "from ..designs import Designs"),
    "worlds to a chapter, of the parent": ("worlds.__init__", "from .. import designs"),
    "tracing to a chapter": ("tracing.__init__", "from imggen_core.strokes import render"),
    "doctor to a chapter": ("doctor", "from .unet import UNet"),
    "the package to a chapter": ("__init__", "from .unet import UNet"),
}


@pytest.mark.parametrize("name, line", MUTANTS.values(), ids=MUTANTS)
def test_a_forbidden_import_is_reported(name, line):
    modules = sources()
    module = f"imggen_core.{name}"
    found = offences(modules | {module: f"{modules[module]}\n{line}\n"})
    assert len({each.split()[0] for each in found}) == 1 and found[0].startswith(f"{module}:"), found


@pytest.mark.parametrize(
    "name, line",
    [
        ("kit.show", "from .images import psnr"),
        ("designer", "from .ddpm import DDPM"),
        ("designer", "from . import worlds"),
        ("worlds.__init__", "from ..kit.settings import ROOT"),
        ("worlds.__init__", "from ..tracing import chains"),
        ("cli", "from . import doctor, designer"),
        ("ddpm", "# from .designer import Designer\n'from .designer import Designer'"),
        ("ddpm", "import importlib.resources, designer"),
    ],
)
def test_an_import_within_the_rule_is_not_reported(name, line):
    modules = sources()
    assert offences(modules | {f"imggen_core.{name}": f"{modules[f'imggen_core.{name}']}\n{line}\n"}) == []


@pytest.mark.parametrize(
    "name, line",
    [
        ("files", "from . import svg"),
        ("files", "from .svg import read"),
        ("files", "def late():\n    from imggen_core.kit.svg import read"),
        ("settings", "def late():\n    import importlib\n    importlib.import_module('.sampler', __package__)"),
    ],
)
def test_a_circle_in_the_kit_is_reported(name, line):
    modules = sources()
    module = f"imggen_core.kit.{name}"
    assert module in circle(modules | {module: f"{modules[module]}\n{line}\n"})


def test_settings_hold_the_course_in_its_order():
    assert list(settings.chapters()) == COURSE
    assert [chapter.number for chapter in settings.chapters().values()] == list(range(1, len(COURSE) + 1))
    assert all(chapter.about.endswith(".") for chapter in settings.chapters().values())


READY = [name for name, chapter in settings.chapters().items() if chapter.ready]


@pytest.mark.parametrize("name", READY)
def test_scales_change_only_what_the_notebook_has(name):
    chapter = settings.chapter(name)
    solution = ROOT / "lessons" / "solutions" / chapter.notebook.name
    defaults = (parameters_of(solution) if solution.exists() else {}) | parameters_of(chapter.notebook)
    assert set(chapter.minutes) == set(settings.SCALES)
    assert chapter.minutes["laptop"] <= 15
    for scale in ("smoke", "full"):
        changed = settings.scale_parameters(chapter.name, scale)
        assert changed, f"{name}: {scale} scale changes nothing"
        for key, value in changed.items():
            assert key in defaults, f"[{name}.{scale}] {key} is not in a parameters cell"
            assert defaults[key] is None or isinstance(value, (type(defaults[key]), int)), f"{key}: {value!r} against {defaults[key]!r}"


def test_ruff_finds_nothing():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", "--no-cache", "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_ci_entry_runs_make_test():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert re.search(r"^make test\b", script.read_text(), re.MULTILINE)


# ---- the Makefile, with a stand-in for Python: `-m venv` copies it, `-m uv` and `-m pip install` wait for permission ----------

STAND_IN = """#!/bin/sh
case "$*" in
    *version_info*) echo {version} ;;
    *ensurepip*) exit 0 ;;
    "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "venv" >> calls ;;
    "-m pip --version") exit 0 ;;
    *"config list") cat pip-settings 2>/dev/null || true ;;
    *"install -q -c constraints.txt uv") [ -e has-uv ] ;;
    "-m uv"*) env | grep -E '^(UV_|SSL_|ALL_P)' > uv-settings; echo "uv $*" >> calls; [ -e may-uv ] ;;
    "-m pip"*" install"*) echo "install $*" >> calls; [ -e may-install ] || {{
        printf 'WARNING: Retrying (%s)\\n' 1 2; echo "  ERROR: connection lost"; exit 1; }} ;;
    *) echo "python $*" >> calls ;;
esac
"""


@pytest.fixture
def ground(tmp_path):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    stand_in(tmp_path, "3.12")
    return tmp_path


def stand_in(folder: Path, version: str) -> None:
    (folder / "python").write_text(STAND_IN.format(version=version))
    (folder / "python").chmod(0o755)


def make(ground: Path, *words: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not re.match("MAKE|PYTHON$|UV_|SSL_|ALL_PROXY", name)}
    return subprocess.run(["make", *words], cwd=ground, env=clean, capture_output=True, text=True, timeout=60)


def calls(ground: Path) -> list[str]:
    return [line.split()[0] for line in (ground / "calls").read_text().splitlines()]


def test_interrupted_installation_goes_on_at_the_next_make(ground):
    first = make(ground, "test", "PYTHON=./python")
    assert first.returncode != 0 and "ERROR: connection lost" in first.stdout and "install.log" in first.stderr
    assert first.stdout.count("does not answer") == 1 and "Retrying" in (ground / ".venv" / "install.log").read_text()
    assert calls(ground) == ["venv", "install"]
    (ground / "may-install").touch()
    assert make(ground, "test", "PYTHON=./python").returncode == 0
    assert calls(ground) == ["venv", "install", "install", "python"]
    assert make(ground, "test", "PYTHON=./python").returncode == 0
    assert calls(ground)[4:] == ["python"], "installed twice"


def test_changed_requirements_are_installed_again(ground):
    (ground / "may-install").touch()
    assert make(ground, "install", "PYTHON=./python").returncode == 0
    later = (ground / ".venv" / "installed").stat().st_mtime + 5
    os.utime(ground / "constraints.txt", (later, later))
    make(ground, "install", "PYTHON=./python")
    assert calls(ground) == ["venv", "install", "install"]


def test_installation_uses_the_tested_versions(ground):
    for name in ("may-install", "has-uv"):
        (ground / name).touch()
    assert "pip does" in make(ground, "install", "PYTHON=./python").stdout
    assert calls(ground) == ["venv", "uv", "install"]
    assert (ground / "calls").read_text().count("-c constraints.txt -e .[test]") == 2


def test_uv_installs_where_it_can(ground):
    for name in ("has-uv", "may-uv"):
        (ground / name).touch()
    done = make(ground, "install", "PYTHON=./python")
    assert (done.returncode, calls(ground)) == (0, ["venv", "uv"]), done.stderr
    assert make(ground, "install", "PYTHON=./python").returncode == 0
    assert calls(ground) == ["venv", "uv"], "installed twice"


def test_uv_goes_where_pip_is_told_to_go(ground):
    for name in ("has-uv", "may-uv"):
        (ground / name).touch()
    (ground / "pip-settings").write_text(
        ":env:.cert='/etc/our.pem'\nglobal.cert='/etc/old.pem'\nglobal.index-url='https://a/simple'\n"
        "global.extra-index-url='https://b/simple\\nhttps://c/simple'\ninstall.index-url='https://mirror/$x'\n"
    )
    assert make(ground, "install", "PYTHON=./python").returncode == 0
    told = dict(line.split("=", 1) for line in (ground / "uv-settings").read_text().splitlines())
    assert told["UV_DEFAULT_INDEX"] == "https://mirror/$x" and told["SSL_CERT_FILE"] == "/etc/our.pem"
    assert told["UV_EXTRA_INDEX_URL"] == "https://b/simple https://c/simple" and told["UV_INDEX_STRATEGY"] == "unsafe-best-match"


def test_no_index_is_left_to_pip(ground):
    for name in ("has-uv", "may-uv", "may-install"):
        (ground / name).touch()
    (ground / "pip-settings").write_text(":env:.no-index='1'\n")
    assert make(ground, "install", "PYTHON=./python").returncode == 0
    assert calls(ground) == ["venv", "install"]


@pytest.mark.parametrize("version", ["3.10", "3.14", "2.7"])
def test_other_pythons_are_refused_in_one_line(ground, version):
    stand_in(ground, version)
    done = make(ground, "install", "PYTHON=./python")
    first, *rest = done.stderr.splitlines()
    assert done.returncode != 0 and "needs Python 3.11, 3.12 or 3.13" in first and version in first
    assert not (ground / ".venv").exists() and all(line.startswith("make: ***") for line in rest)


def test_studio_says_not_yet(ground):
    done = make(ground, "studio")
    assert done.returncode == 0 and "not yet" in done.stdout and len(done.stdout.splitlines()) == 1
