"""Notebooks run headless by papermill, in a subprocess that can be killed; and the labs, made from their solutions."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat

from imggen_core.kit import files
from imggen_core.kit.files import shown
from imggen_core.kit.folder import writing
from imggen_core.kit.processes import MARK, kill_marked, new_mark
from imggen_core.kit.settings import ROOT, RUNS, InputError, chapter

LESSONS = ROOT / "lessons"
AGAIN = "run the same again, it goes on from the last saved state"
BEGIN, END, HOLE = "# BEGIN SOLUTION", "# END SOLUTION", "...  # your code here"


class RunFailed(RuntimeError):
    """A notebook did not run to its end; the message is one line."""


def read(path: Path) -> nbformat.NotebookNode:
    """The notebook at `path`, in the current format; InputError when it is missing or none."""
    try:
        return nbformat.read(path, as_version=4)
    except FileNotFoundError:
        raise InputError(f"{path}: no such notebook") from None
    except Exception as error:
        raise InputError(f"{path}: not a notebook ({first_line(error)})") from None


def write(notebook: nbformat.NotebookNode, path: Path) -> bool:
    """Write `notebook` atomically, always in the same form; returns whether the file changed."""
    text = nbformat.writes(notebook).rstrip("\n") + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write(path, text)
    return True


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def first_line(value) -> str:
    return next((line.strip() for line in str(value).splitlines() if line.strip()), type(value).__name__)


def parameters_of(notebook: Path) -> dict[str, object]:
    """Names and defaults of the cell tagged `parameters` (literals only, since papermill replaces them by literals)."""
    cells = [cell for cell in read(notebook).cells if cell.cell_type == "code" and "parameters" in tags(cell)]
    if len(cells) > 1:
        raise InputError(f"{shown(notebook)}: {len(cells)} cells are tagged `parameters`; one is wanted")
    found = {}
    for statement in ast.parse(cells[0].source).body if cells else []:
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        try:
            found[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError):
            raise InputError(f"{shown(notebook)}: `{ast.unparse(statement)}` in the parameters cell is not NAME = literal") from None
    return found


# ---- running ---------------------------------------------------------------------------------------------------------


def run_notebook(chapter_or_path, out_dir, parameters=None, scale="laptop", timeout=None, retries=1, echo=print) -> Path:
    """Run a chapter (by name) or a notebook (by path) into `out_dir`; returns the executed `out_dir/notebook.ipynb`.

    `timeout` is the wall-clock limit of one attempt in seconds: when it passes, every process of the notebook is killed. That, and a
    kernel that died, is tried again `retries` times (a `Run` in the notebook goes on after its last save); an error in a cell is not.
    `echo` gets the lines that the notebook adds to `out_dir/log.txt`. Raises RunFailed, or the InputError that a cell raised.
    """
    source = Path(chapter_or_path) if str(chapter_or_path).endswith(".ipynb") else notebook_of(chapter_or_path)
    read(source)
    out_dir = Path(out_dir).absolute()
    out_dir.mkdir(parents=True, exist_ok=True)
    job = {"source": str(source.absolute()), "result": str(out_dir / "notebook.ipynb"), "parameters": parameters or {}}
    for attempt in range(retries + 1):
        with writing(out_dir):
            failure = _attempt(job, out_dir, scale, timeout, echo)
        if failure is None:
            return out_dir / "notebook.ipynb"
        if attempt < retries and failure["kind"] != "cell":
            echo(f"{shown(source)}: {failure['message']} — trying once more")
            continue
        break
    if failure.get("ename") == "InputError":
        raise InputError(failure["message"])
    times = "" if failure["kind"] == "cell" or not retries else f", {retries + 1} times"
    where = f" — the executed notebook is {shown(job['result'])}" if Path(job["result"]).is_file() else ""
    again = f" — {AGAIN}" if failure["kind"] == "died" else ""
    raise RunFailed(f"{shown(source)}: {failure['message']}{times}{again or where}")


def notebook_of(name: str) -> Path:
    """The notebook of the chapter `name`; InputError while it is still to come."""
    found = chapter(name)
    if not found.ready:
        raise InputError(f"chapter {name}: its notebook is still to come — `imggen chapters` lists those that are there")
    return found.notebook


def _attempt(job: dict, out_dir: Path, scale: str, timeout: float | None, echo) -> dict | None:
    """Run `job` once in a process of its own; None, or what went wrong: {"kind": "cell"|"limit"|"died", "message", "ename"}."""
    mark = new_mark()
    environment = os.environ | {
        MARK: mark,
        "IMGGEN_HEADLESS": "1",
        "IMGGEN_RUN_DIR": str(out_dir),
        "IMGGEN_SCALE": scale,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PYTHONUNBUFFERED": "1",
    }
    outcome, pipe = os.pipe()  # not a file: the disk may be full
    with tempfile.TemporaryDirectory(prefix="imggen-") as folder, open(outcome, "rb") as answer:
        errors = Path(folder, "stderr.txt")
        with open(pipe, "wb"), errors.open("wb") as stderr:
            Path(folder, "job.json").write_text(json.dumps(job | {"outcome": pipe}))
            tail = Tail(out_dir, echo)
            process = subprocess.Popen(
                [sys.executable, "-m", "imggen_core.kit.notebooks", "--job", str(Path(folder, "job.json"))],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                pass_fds=[pipe],
                start_new_session=True,
            )
        limit = time.monotonic() + timeout if timeout else None
        try:
            while process.poll() is None and (limit is None or time.monotonic() < limit):
                time.sleep(0.1)
                tail.read()
            late = process.poll() is None
        finally:
            kill_marked(mark, process)
            tail.read()
            clean_result(Path(job["result"]))
        if late:
            return {"kind": "limit", "message": f"stopped after the limit of {timeout:g} s"}
        if said := answer.read():
            return json.loads(said)
        if (status := process.returncode) < 0:
            return {"kind": "died", "message": f"the process that ran it was killed ({signal.Signals(-status).name})"}
        reason = first_line("\n".join(reversed(errors.read_text(errors="replace").splitlines())))
        return {"kind": "died", "message": f"the process that ran it ended by status {status} ({reason})"}


class Tail:
    """Hands on the whole lines that are added after this moment to a run folder's log.txt, and to those of its parts."""

    def __init__(self, folder: Path, echo):
        self.folder, self.echo = folder, echo
        self.at = {path: path.stat().st_size for path in self.logs()}

    def logs(self) -> list[Path]:
        return [*self.folder.glob("log.txt"), *sorted(self.folder.glob("parts/*/log.txt"))]

    def read(self) -> None:
        for path in self.logs():
            with path.open("rb") as file:
                file.seek(self.at.get(path, 0))
                whole, newline, _ = file.read().rpartition(b"\n")
            self.at[path] = self.at.get(path, 0) + len(whole) + len(newline)
            part = "" if path.parent == self.folder else f"{path.parent.name} · "
            for line in whole.decode(errors="replace").splitlines():
                self.echo(part + line)


PROGRESS = re.compile(r"\d+%\|.*\||\d+it \[|\r|\x1b\[A|^\s*$")  # a tqdm bar, or what wipes it away or moves between nested ones


def clean_result(path: Path) -> None:
    """Take widget state, papermill's own notes and absolute paths out of an executed notebook."""
    try:
        notebook = nbformat.read(path, as_version=4)
    except Exception:
        return  # killed before or while it was written: there is nothing to clean
    for key in ("widgets", "papermill"):
        notebook.metadata.pop(key, None)
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "outputs" in cell:  # progress bars are for the moment, not for the page
            cell.outputs = [o for o in cell.outputs if not (o.get("name") == "stderr" and PROGRESS.search(o.get("text", "")))]
        for output in cell.get("outputs", []):
            if "text" in output:
                output["text"] = relative(output["text"])
            if "traceback" in output:
                output["traceback"] = [relative(line) for line in output["traceback"]]
            for kind, value in output.get("data", {}).items():
                if isinstance(value, str) and not kind.startswith("image/p"):
                    output["data"][kind] = relative(value)
    write(notebook, path)


def relative(text: str) -> str:
    """`text` without this machine's folders: the project's are named from its root, the person's from `~`."""
    return text.replace(f"{ROOT}{os.sep}", "").replace(str(ROOT), ".").replace(str(Path.home()), "~")


def refresh(source: Path, scale="laptop") -> None:
    """Execute the notebook `source` from scratch in `runs/FOLDER-STEM` and keep the new outputs: how committed notebooks get theirs."""
    folder = RUNS / f"{source.resolve().parent.name}-{source.stem}"
    shutil.rmtree(folder, ignore_errors=True)
    write(read(run_notebook(source, folder, scale=scale)), source)


def _child(job: dict) -> None:
    """In the subprocess: execute the job with papermill, and write to the pipe `outcome` what stopped it (null: nothing)."""
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    source = Path(job["source"])
    try:
        with writing(Path(job["result"]).parent):  # the notebook is written after every cell
            papermill.execute_notebook(
                source, job["result"], job["parameters"], kernel_name="python3", language="python",
                progress_bar=False, cwd=source.parent, start_timeout=120,
            )  # fmt: skip
        failure = None
    except InputError as error:
        failure = {"kind": "cell", "ename": "InputError", "message": str(error)}
    except PapermillExecutionError as error:
        where = "" if error.ename == "InputError" else f"cell {error.exec_count} (`{failing_line(error)}`): {error.ename}: "
        failure = {"kind": "cell", "ename": error.ename, "message": relative(where + first_line(error.evalue or error.ename))}
    except (DeadKernelError, RuntimeError) as error:
        failure = {"kind": "died", "message": f"the kernel died ({first_line(error)})"}
    os.write(job["outcome"], json.dumps(failure and failure | {"message": failure["message"][:4000]}).encode())


def failing_line(error) -> str:
    """The line of the cell at which a PapermillExecutionError arose (the first arrow in its traceback)."""
    arrow = re.search(r"^-+> *\d+ (.*)$", re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error.traceback)), re.MULTILINE)
    return arrow[1].strip() if arrow else first_line(error.source)


# ---- labs ------------------------------------------------------------------------------------------------------------


def make_lab(source: Path) -> nbformat.NotebookNode:
    """The learner's notebook of the author's `source`: solutions become holes, only outputs of cells tagged `expected` stay."""
    lab = read(source)
    for key in ("widgets", "papermill"):
        lab.metadata.pop(key, None)
    for number, cell in enumerate(lab.cells, 1):
        if cell.cell_type == "markdown":
            for old, new in (("../../", "../"), ("../solutions/", "solutions/")):  # a lab lies one folder higher than its solution
                cell.source = cell.source.replace(f"]({old}", f"]({new}")
        elif cell.cell_type == "code":
            cell.source = make_hole(cell.source, f"{shown(source)}, cell {number}")
            cell.execution_count = None
            if "expected" in tags(cell):
                for output in cell.outputs:
                    output.pop("execution_count", None) if output.output_type != "execute_result" else output.update(execution_count=None)
            else:
                cell.outputs = []
    return lab


def make_hole(code: str, where: str) -> str:
    """`code` with what stands between the solution marks replaced by one `...` line, indented like the mark."""
    lines, inside = [], False
    for line in code.split("\n"):
        mark = line.strip()
        if mark in (BEGIN, END):
            if inside is (mark == BEGIN):
                raise InputError(f"{where}: `{mark}` without its `{END if inside else BEGIN}`")
            inside = not inside
            if inside:
                lines.append(re.match(r"\s*", line)[0] + HOLE)
        elif not inside:
            lines.append(line)
    if inside:
        raise InputError(f"{where}: `{BEGIN}` without its `{END}`")
    return "\n".join(lines)


def make_labs(lessons: Path = LESSONS) -> list[Path]:
    """Make every lab anew from `lessons/solutions`; returns those that changed."""
    sources = sorted((lessons / "solutions").glob("*.ipynb"))
    return [lessons / source.name for source in sources if write(make_lab(source), lessons / source.name)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        _child(json.loads(Path(sys.argv[2]).read_text()))
    elif not sys.argv[1:]:
        sys.exit("usage: python -m imggen_core.kit.notebooks NOTEBOOK...   (execute each and keep the outputs in it)")
    else:
        for name in sys.argv[1:]:
            print(name, flush=True)
            refresh(Path(name))
