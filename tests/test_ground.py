"""The ground: metadata that agrees with itself, a Makefile that survives interruption, and the house's one rule about imports."""

import ast
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
COURSE = """wireframe strokes population designs unet wnet abstractor metrics ddpm designer vae gan wgan conditional stylegan text2image
style finetune innovation""".split()


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
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return found


def test_kit_imports_no_chapter():
    chapters = {f"imggen_core.{name}" for name in settings.chapters()}
    for path in (ROOT / "imggen_core" / "kit").glob("*.py"):
        assert not chapters & set(imported(path)), path.name


def test_a_chapter_imports_only_the_kit_and_earlier_chapters():
    for position, name in enumerate(COURSE):
        path = ROOT / "imggen_core" / f"{name}.py"
        if path.exists():
            later = {f"imggen_core.{other}" for other in COURSE[position:]}
            assert not later & set(imported(path)), path.name


def test_settings_hold_the_course_in_its_order():
    assert list(settings.chapters()) == COURSE
    assert [chapter.number for chapter in settings.chapters().values()] == list(range(1, 20))
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


# ---- the Makefile, with a stand-in for Python: `-m venv` copies it, `-m pip install` waits for permission ------------------

STAND_IN = """#!/bin/sh
case "$*" in
    *version_info*) echo {version} ;;
    *ensurepip*) exit 0 ;;
    "-m venv"*) mkdir -p .venv/bin; cp "$0" .venv/bin/python; echo "venv" >> calls ;;
    "-m pip --version") exit 0 ;;
    "-m pip install"*) echo "install $*" >> calls; [ -e may-install ] || {{ echo "ERROR: connection lost"; exit 1; }} ;;
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
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name != "PYTHON"}
    return subprocess.run(["make", *words], cwd=ground, env=clean, capture_output=True, text=True, timeout=60)


def calls(ground: Path) -> list[str]:
    return [line.split()[0] for line in (ground / "calls").read_text().splitlines()]


def test_interrupted_installation_goes_on_at_the_next_make(ground):
    first = make(ground, "test", "PYTHON=./python")
    assert first.returncode != 0 and "ERROR: connection lost" in first.stdout and "install.log" in first.stderr
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
    (ground / "may-install").touch()
    make(ground, "install", "PYTHON=./python")
    assert "-c constraints.txt -e .[test]" in (ground / "calls").read_text()


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
