"""What a run notes on its way: the rows of history.csv, and the time that its training took."""

import collections
import contextlib
import csv
import io
import math
import time
from pathlib import Path

from . import files


class Clock:
    """Wall-clock and processor seconds while running."""

    def __init__(self, wall: float = 0.0, cpu: float = 0.0, running: bool = True):
        self.wall, self.cpu, self.running = wall, cpu, False
        if running:
            self.start()

    def start(self) -> None:
        if not self.running:
            self.wall, self.cpu, self.running = self.wall - time.perf_counter(), self.cpu - time.process_time(), True

    def stop(self) -> bool:
        """Stop; True if it was running."""
        was = self.running
        self.wall, self.cpu = self.read()
        self.running = False
        return was

    def read(self) -> tuple[float, float]:
        return (self.wall + time.perf_counter(), self.cpu + time.process_time()) if self.running else (self.wall, self.cpu)


class History:
    """The rows of history.csv, in memory and, when flushed, in the file; opened with those that `read_rows` found.

    write: whether this process is the one that writes.
    """

    def __init__(self, path: Path, rows: list[dict[str, float]], write: bool):
        self.path, self.write, self.rows, self.unwritten = path, write, rows, None
        self.names = list(dict.fromkeys(name for row in rows for name in row))
        if write and path.is_file():
            self.flush()

    def add(self, row: dict[str, float]) -> None:
        """One row; names that are new become columns."""
        self.rows.append(row)
        if new := [name for name in row if name not in self.names]:
            self.names += new
            self.unwritten = None  # the header has changed: the whole file is written anew
        elif self.unwritten is not None:
            self.unwritten += 1

    def flush(self) -> None:
        """Bring the file up to date: rows are appended while the header stays."""
        if not self.write or self.unwritten == 0 or not (self.rows or self.path.is_file()):
            return
        if self.unwritten is None:
            files.write(self.path, self.text(self.rows, header=True))
        else:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self.text(self.rows[-self.unwritten :]))
        self.unwritten = 0

    def text(self, rows: list[dict[str, float]], header: bool = False) -> str:
        """`rows` as CSV, an empty cell where a row has no value."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.names, lineterminator="\n")
        if header and self.names:
            writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def columns(self) -> dict[str, list[float]]:
        """Every column, NaN where a row has no value."""
        return {name: [row.get(name, math.nan) for row in self.rows] for name in self.names}


def read_rows(path: Path, known: list[int] | int) -> tuple[list[dict[str, float]], str]:
    """The rows of a history.csv that a saved state knows, and in words which of them are gone ("": none).

    known: the steps of these rows, or, in a state of an earlier version, their number. What stands after them was written after
    the save and does not count: it may be cut off, as a power cut leaves it.
    """
    rows = []
    if path.is_file():
        with contextlib.suppress(csv.Error), open(path, newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                with contextlib.suppress(ValueError, AttributeError, TypeError):  # not a number, too few cells, too many
                    rows.append({name: cell(value) for name, value in row.items() if value != ""})
    if isinstance(known, int):
        return rows[:known], f"{known - len(rows)} of its {known} rows are lost or unreadable" if len(rows) < known else ""
    where = collections.defaultdict(list)
    for i, row in enumerate(rows):
        where[row.get("step")].append(i)
    found, lost, at = [], [], 0
    for step in known:
        i = next((i for i in where[step] if i >= at), None)
        if i is None:
            lost.append(step)
        else:
            found.append(rows[i])
            at = i + 1
    return found, f"{len(lost)} of its {len(known)} rows are lost or unreadable ({steps(lost)})" if lost else ""


def steps(lost: list[int]) -> str:
    """Some steps in words."""
    return f"step{'s'[: len(lost) > 1]} {', '.join(map(str, lost))}" if len(lost) < 6 else f"steps {lost[0]} to {lost[-1]}"


def keep_file(path: Path) -> Path:
    """A copy of the file that will stay: NAME.bak, or NAME.bak-2 and so on where there is one."""
    names = (path.with_name(f"{path.name}.bak{end}") for end in ("", *(f"-{i}" for i in range(2, 1000))))
    return files.write(next(name for name in names if not name.exists()), path.read_bytes())


def number(name: str, value) -> float:
    """`value` as a Python number, NaN for None; TypeError names what is none."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return value
    if value is None:
        return math.nan
    raise TypeError(f"log: {name} is a {type(value).__name__}, not a number")


def cell(text: str) -> float:
    """A number as history.csv has it."""
    try:
        return int(text)
    except ValueError:
        return float(text)
