"""Notebooks run headless, limits that kill, labs made from solutions, and every notebook of the course held to the house's rules."""

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from conftest import ROOT, code, notebook
from hypothesis import given
from hypothesis import strategies as st

from imggen_core.kit import notebooks, settings
from imggen_core.kit.notebooks import BEGIN, END, HOLE, RunFailed, make_hole, make_lab, make_labs, parameters_of, run_notebook
from imggen_core.kit.settings import InputError

CHAPTERS = sorted((ROOT / "nbs").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "lessons" / "solutions").glob("*.ipynb"))
LABS = [ROOT / "lessons" / path.name for path in SOLUTIONS]
HOMES = re.compile(r"/(?:home|root|tmp|Users|var/folders|private|work|workspace)/[\w.-]")


def by_name(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: str(path.relative_to(ROOT)))


def gone(pid: int, seconds: float = 10) -> bool:
    """Whether the process ends within `seconds` (a zombie counts as ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


def source_of(cell) -> str:
    return "\n".join(line for line in cell.source.splitlines() if not line.startswith(("#|", "%")))


# ---- running ---------------------------------------------------------------------------------------------------------


def test_run_gets_parameters_scale_and_run_folder(tmp_path):
    body = "import os, pathlib\npathlib.Path(os.environ['IMGGEN_RUN_DIR'], 'seen').write_text(f\"{a} {b} {os.environ['IMGGEN_SCALE']}\")"
    body += "\nfrom imggen_core.kit.settings import headless\nassert headless()"
    source = notebook(tmp_path / "n.ipynb", code("a = 1\nb = 'x'", "parameters"), body)
    before = source.read_bytes()
    result = run_notebook(source, tmp_path / "out", {"b": "it's 1e-05"}, "smoke", timeout=60)
    assert (tmp_path / "out" / "seen").read_text() == "1 it's 1e-05 smoke"
    assert result == tmp_path / "out" / "notebook.ipynb" and source.read_bytes() == before


def test_result_keeps_neither_widget_state_nor_this_machines_folders(tmp_path):
    body = "import ipywidgets, imggen_core.kit.settings as s, pathlib\n"
    body += "print(s.ROOT / 'data' / 'x.svg', pathlib.Path.home() / 'y')\nipywidgets.IntSlider()"
    result = run_notebook(notebook(tmp_path / "n.ipynb", body), tmp_path / "out", timeout=60)
    made = nbformat.read(result, as_version=4)
    assert "widgets" not in made.metadata and "papermill" not in made.metadata
    assert made.cells[0].outputs[0].text == f"{Path('data/x.svg')} {Path('~/y')}\n"
    assert not any("papermill" in cell.metadata for cell in made.cells)


def test_error_in_a_cell_names_cell_line_and_error_and_is_not_tried_again(tmp_path):
    body = "import os\nwith open(os.environ['IMGGEN_RUN_DIR'] + '/tries', 'a') as f: f.write('x')\nnumber = 0\n1 / number"
    source = notebook(tmp_path / "n.ipynb", "pass", body)
    with pytest.raises(RunFailed) as failure:
        run_notebook(source, tmp_path / "out", timeout=60)
    message = str(failure.value)
    assert "cell 2 (`1 / number`): ZeroDivisionError: division by zero" in message and "\n" not in message
    assert (tmp_path / "out" / "tries").read_text() == "x"


def test_wrong_input_found_in_a_cell_arrives_as_wrong_input(tmp_path):
    body = "from imggen_core.kit.settings import InputError\nraise InputError('logo.svg: is empty — give another')"
    with pytest.raises(InputError, match="^logo.svg: is empty — give another$"):
        run_notebook(notebook(tmp_path / "n.ipynb", body), tmp_path / "out", timeout=60)


SLEEPER = """
import os, pathlib, subprocess, sys, time
folder = pathlib.Path(os.environ["IMGGEN_RUN_DIR"])
child = "import subprocess, sys, time; c = [sys.executable, '-c', 'import time; time.sleep(600)']; "
child += "print(subprocess.Popen(c, start_new_session=True).pid, flush=True); time.sleep(600)"
process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
with (folder / "pids").open("a") as file:
    print(os.getpid(), process.pid, process.stdout.readline().strip(), file=file)
time.sleep(600)
"""


def test_time_limit_kills_the_kernel_and_its_grandchildren_and_tries_once_more(tmp_path):
    said = []
    with pytest.raises(RunFailed, match="stopped after the limit of 10 s, 2 times"):
        run_notebook(notebook(tmp_path / "n.ipynb", SLEEPER), tmp_path / "out", timeout=10, echo=said.append)
    tries = [line.split() for line in (tmp_path / "out" / "pids").read_text().splitlines()]
    assert len(tries) == 2 and all(len(pids) == 3 for pids in tries)
    assert all(gone(int(pid)) for pids in tries for pid in pids)
    assert [line for line in said if "trying once more" in line] == said


def test_dead_kernel_is_tried_once_more_and_then_succeeds(tmp_path):
    body = "import os, pathlib, signal\nmark = pathlib.Path(os.environ['IMGGEN_RUN_DIR'], 'mark')\n"
    body += "if not mark.exists():\n    mark.touch()\n    os.kill(os.getpid(), signal.SIGKILL)"
    said = []
    run_notebook(notebook(tmp_path / "n.ipynb", body), tmp_path / "out", timeout=60, echo=said.append)
    assert len(said) == 1 and "the kernel died" in said[0] and "trying once more" in said[0]
    (tmp_path / "out" / "mark").unlink()
    with pytest.raises(RunFailed, match=r"the kernel died .*— run the same again, it goes on from the last saved state$"):
        run_notebook(tmp_path / "n.ipynb", tmp_path / "out", timeout=60, retries=0)


def test_nothing_stays_behind_when_the_caller_is_killed(tmp_path):
    source = notebook(tmp_path / "n.ipynb", SLEEPER)
    program = f"from imggen_core.kit.notebooks import run_notebook; run_notebook({str(source)!r}, {str(tmp_path / 'out')!r})"
    caller = subprocess.Popen([sys.executable, "-c", program])
    pids = tmp_path / "out" / "pids"
    while not (pids.exists() and pids.read_text().endswith("\n")):
        assert caller.poll() is None
        time.sleep(0.1)
    caller.send_signal(signal.SIGKILL)
    caller.wait()
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_logs_are_handed_on_in_whole_lines_and_parts_are_named(tmp_path):
    heard = []
    (tmp_path / "log.txt").write_text("of an earlier run\n")
    tail = notebooks.Tail(tmp_path, heard.append)
    (tmp_path / "parts" / "naive").mkdir(parents=True)
    (tmp_path / "parts" / "naive" / "log.txt").write_text("step 1\nst")
    with (tmp_path / "log.txt").open("a") as log:
        log.write("one")
        log.flush()
        tail.read()
        log.write(" line\n")
    with (tmp_path / "parts" / "naive" / "log.txt").open("a") as log:
        log.write("ep 2\n")
    tail.read()
    tail.read()
    assert heard == ["naive · step 1", "one line", "naive · step 2"]


def test_log_is_handed_on_while_the_notebook_runs(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "log.txt").write_text("of an earlier run\n")
    body = "import os, time\nfor i in range(2):\n    with open(os.environ['IMGGEN_RUN_DIR'] + '/log.txt', 'a') as f:\n"
    body += "        print('line', i, file=f)\n    time.sleep(1.5)"
    heard = []
    run_notebook(notebook(tmp_path / "n.ipynb", body), tmp_path / "out", timeout=60,
                 echo=lambda line: heard.append((line, time.monotonic())))  # fmt: skip
    assert [line for line, _ in heard] == ["line 0", "line 1"]
    assert heard[1][1] - heard[0][1] > 0.8


@pytest.mark.parametrize("content", ["", "no json", '{"cells": 3}', b"\xff\xfe\x00"])
def test_file_that_is_no_notebook_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "n.ipynb"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="not a notebook") as refusal:
        run_notebook(path, tmp_path / "out")
    assert "\n" not in str(refusal.value)


def test_a_notebook_that_names_no_kernel_runs_and_gets_its_parameters(tmp_path):
    source = notebook(tmp_path / "n.ipynb", code("a = 1", "parameters"), "print(a)")
    bare = nbformat.read(source, as_version=4)
    del bare.metadata["kernelspec"]
    nbformat.write(bare, source)
    made = nbformat.read(run_notebook(source, tmp_path / "out", {"a": 5}, timeout=120, retries=0), as_version=4)
    assert made.cells[-1].outputs[0].text == "5\n"


def test_parameters_are_read_without_running_the_cell(tmp_path):
    cell = code('steps = 3  # how many\nlr: float = 1e-3\nsizes = [8, 16]\nname = "x"\nsize = None', "parameters")
    assert parameters_of(notebook(tmp_path / "n.ipynb", cell)) == {"steps": 3, "lr": 1e-3, "sizes": [8, 16], "name": "x", "size": None}
    assert parameters_of(notebook(tmp_path / "m.ipynb", "a = 1")) == {}
    with pytest.raises(InputError, match="steps = f"):
        parameters_of(notebook(tmp_path / "k.ipynb", code("steps = f(3)", "parameters")))


# ---- labs ------------------------------------------------------------------------------------------------------------

line = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=12).filter(lambda text: text.strip() not in (BEGIN, END))


@given(st.lists(line, max_size=3), st.lists(line, max_size=4), st.lists(line, max_size=3), st.integers(0, 8))
def test_hole_takes_out_exactly_the_solution(before, solution, after, indent):
    text = "\n".join([*before, " " * indent + BEGIN, *solution, " " * indent + END, *after])
    assert make_hole(text, "here").split("\n") == [*before, " " * indent + HOLE, *after]


@given(st.lists(line))
def test_cell_without_marks_stays_as_it_is(lines):
    assert make_hole("\n".join(lines), "here").split("\n") == ("\n".join(lines)).split("\n")


@pytest.mark.parametrize("text", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n{END}\n{END}"])
def test_solution_marks_that_do_not_pair_are_named(text):
    with pytest.raises(InputError, match=r"here: `# (BEGIN|END) SOLUTION` without its `# (BEGIN|END) SOLUTION`"):
        make_hole(text, "here")


def test_lab_keeps_expected_outputs_only_and_points_one_folder_up(tmp_path):
    output = nbformat.v4.new_output("execute_result", {"text/plain": "42"}, execution_count=3)
    plain, expected = code(f"def f(x):\n    {BEGIN}\n    return x\n    {END}\nf(1)"), code("f(2)", "expected")
    for cell in (plain, expected):
        cell.outputs, cell.execution_count = [output], 3
    words = nbformat.v4.new_markdown_cell("[chapter](../../nbs/01_a.ipynb), [solution](01_a.ipynb), [it](../solutions/01_a.ipynb)")
    source = notebook(tmp_path / "solutions" / "01_a.ipynb", words, plain, expected)
    lab = make_lab(source)
    assert lab.cells[0].source == "[chapter](../nbs/01_a.ipynb), [solution](01_a.ipynb), [it](solutions/01_a.ipynb)"
    assert lab.cells[1].source == f"def f(x):\n    {HOLE}\nf(1)"
    assert lab.cells[1].outputs == [] and lab.cells[2].outputs[0].data["text/plain"] == "42"
    assert [cell.execution_count for cell in lab.cells[1:]] == [None, None]
    assert make_labs(tmp_path) == [tmp_path / "01_a.ipynb"]
    assert make_labs(tmp_path) == []


# ---- the course's notebooks ------------------------------------------------------------------------------------------


@pytest.mark.timeout(600)  # one that hangs is killed and tried again
@by_name(CHAPTERS)
def test_chapter_runs_headless_at_smoke_scale(path, smoke):
    folder = smoke(path)
    made = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert all(cell.execution_count for cell in made.cells if cell.cell_type == "code" and source_of(cell).strip())
    assert json.loads((folder / "results.json").read_text()), "a chapter leaves what it measured in results.json"
    assert json.loads((folder / "params.json").read_text())["chapter"] == path.stem.split("_", 1)[1]


def printed(path: Path) -> str:
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(str(output.get("text", output.get("data", {}).get("text/plain", ""))) for output in outputs)


@pytest.mark.timeout(600)
@by_name(SOLUTIONS)
def test_solution_passes_every_check(path, smoke):
    text = printed(smoke(path) / "notebook.ipynb")
    assert "✓" in text and "✗" not in text and "○" not in text, text


@pytest.mark.timeout(600)
@by_name(LABS)
def test_lab_runs_through_with_its_holes_unfilled(path, smoke):
    text = printed(smoke(path) / "notebook.ipynb")
    assert "○" in text and "✗" not in text, text


@by_name(LABS)
def test_lab_is_what_its_solution_makes(path):
    assert path.exists(), f"{path.name} was never made: imggen labs"
    made = nbformat.writes(make_lab(ROOT / "lessons" / "solutions" / path.name)).rstrip("\n") + "\n"
    assert path.read_text(encoding="utf-8") == made, f"{path.name} is stale, or was edited by hand: imggen labs"
    assert HOLE in made


@by_name(CHAPTERS)
def test_chapter_has_its_lab(path):
    assert (ROOT / "lessons" / path.name).exists()


def test_progress_bars_leave_no_trace_and_warnings_stay(tmp_path):
    bars = "\nepochs:  50%|█████     | 1/2 [00:01<00:01]\n", "\n", "\x1b[A", "\r\x1b[A", "epoch 1: 100%|███| 3/3\r", "epoch: 7it [00:30]\n"
    cell = nbformat.v4.new_code_cell("train()")
    cell.outputs = [nbformat.v4.new_output("stream", name="stderr", text=text) for text in (*bars, "UserWarning: look here\n")]
    cell.outputs.append(nbformat.v4.new_output("stream", name="stdout", text="\n"))
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    notebooks.clean_result(tmp_path / "a.ipynb")
    left = nbformat.read(tmp_path / "a.ipynb", as_version=4).cells[0].outputs
    assert [(output.name, output.text) for output in left] == [("stderr", "UserWarning: look here\n"), ("stdout", "\n")]


@by_name(CHAPTERS + SOLUTIONS + LABS)
def test_notebook_is_fit_to_be_published(path):
    text = path.read_text(encoding="utf-8")
    made = nbformat.reads(text, as_version=4)
    nbformat.validate(made)
    assert made.metadata.kernelspec.name == "python3"
    assert len(text) < 1_500_000
    assert "widgets" not in made.metadata and "papermill" not in made.metadata
    assert "application/vnd.jupyter.widget" not in text
    assert sum("parameters" in notebooks.tags(cell) for cell in made.cells) == 1
    assert parameters_of(path)
    assert "injected-parameters" not in text


@by_name(CHAPTERS + SOLUTIONS + LABS)
def test_outputs_show_no_error_and_no_folder_of_the_authors_machine(path):
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        for output in cell.get("outputs", []):
            assert output.output_type != "error", f"cell {number}"
            assert output.get("name") != "stderr", f"cell {number} wrote to stderr: {output.text}"
            words = [output.get("text", ""), *(v for k, v in output.get("data", {}).items() if k.startswith("text") or "svg" in k)]
            assert not any(HOMES.search(str(word)) for word in words), f"cell {number}: {words}"


@by_name(CHAPTERS + SOLUTIONS + LABS)
def test_links_lead_somewhere(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            for link in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", cell.source):
                assert (path.parent / link).exists(), link


@by_name(CHAPTERS + SOLUTIONS)
def test_notebook_was_executed_in_order(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code" and cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@by_name(CHAPTERS + SOLUTIONS)
def test_cells_are_small(path):
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        if cell.cell_type == "code" and len(cell.source.splitlines()) > 25:
            whole = ast.parse(source_of(cell)).body
            assert len(whole) == 1 and isinstance(whole[0], (ast.ClassDef, ast.FunctionDef)), f"cell {number} has more than 25 lines"


@by_name(CHAPTERS)
def test_export_names_its_module(path):
    cells = nbformat.read(path, as_version=4).cells
    assert any(re.search(r"^#\| *exporti?\b", cell.source, re.MULTILINE) for cell in cells)
    names = re.findall(r"^#\| *default_exp +(\S+)", "\n".join(cell.source for cell in cells), re.MULTILINE)
    assert names == [path.stem.split("_", 1)[1]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """A copy of the project without its generated modules, after nbdev-export."""
    copy = tmp_path_factory.mktemp("export")
    shutil.copy(ROOT / "pyproject.toml", copy)
    shutil.copytree(ROOT / "nbs", copy / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copytree(ROOT / "imggen_core", copy / "imggen_core", ignore=shutil.ignore_patterns("__pycache__"))
    for module in (copy / "imggen_core").glob("*.py"):
        if module.read_text().startswith(("# AUTOGENERATED", '"""')) and "AUTOGENERATED" in module.read_text()[:2000]:
            module.unlink()
    environment = {name: value for name, value in os.environ.items() if name != "IN_TEST"}
    command = [str(Path(sys.executable).parent / "nbdev-export")]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stdout + done.stderr
    return copy


@pytest.mark.skipif(not CHAPTERS, reason="there is no chapter yet")
def test_export_changes_nothing(exported):
    def modules(root: Path) -> dict[str, str]:
        return {str(path.relative_to(root)): path.read_text() for path in sorted((root / "imggen_core").rglob("*.py"))}

    assert modules(exported) == modules(ROOT)


def test_ready_chapters_are_those_of_the_settings():
    assert [chapter.notebook for chapter in settings.chapters().values() if chapter.ready] == CHAPTERS
