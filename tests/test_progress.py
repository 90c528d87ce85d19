"""The progress bar: seen where it is asked for, one at a time, and readable without a terminal."""

import fcntl
import os
import pty
import select
import struct
import sys
import termios

import pytest
import torch

from imggen_core import cli
from imggen_core.kit import cache, features, progress, settings
from imggen_core.kit.sampler import generate


@pytest.fixture
def lines(monkeypatch, capsys):
    """What was said to a stderr that is no terminal, where every state is a line."""
    monkeypatch.setattr(progress, "LINES_EVERY", 0.0)
    return lambda: capsys.readouterr().err.splitlines()


def blank(n: int = 6):
    return generate(lambda draw, rows: draw(), n, 0, 3, 2, 2, batch=2)


def test_long_work_counts_itself_where_it_is_to_be_seen_and_is_silent_elsewhere(lines, tmp_path):
    work = {
        "pictures made": blank,
        "pictures read": lambda: features.features_of(torch.rand(6, 3, 2, 2), torch.nn.Flatten(), batch=2),
        "drawing": lambda: cache.rows(tmp_path / "rows", ("a",), 6, lambda i: (torch.full((2,), i).numpy(),), 1),
    }
    for label, do in work.items():
        with progress.shown():
            do()
        said = lines()
        assert all(line.startswith(label) for line in said) and any("/6" in line and "100%" in line for line in said), label
    blank()
    assert lines() == []


def test_work_inside_counted_work_is_silent(lines):
    with progress.shown(), progress.counted(2, "outer") as done:
        for _ in range(2):
            blank()
            done.update()
    said = lines()
    assert said and all(line.startswith("outer") for line in said)


def test_a_bar_in_a_bar_of_a_training_is_lines_too(lines):
    for total in (2, None):
        with progress.bar(2, "epochs", 0, True) as epochs, progress.bar(total, "epoch 1", 0, True) as batches:
            batches.update()
            epochs.update()
    said = lines()
    assert said and all(line.startswith("epoch") and "\x1b" not in line for line in said)


def test_without_a_terminal_there_is_a_line_now_and_then(capsys):
    with progress.shown():
        blank(2000)
    assert capsys.readouterr().err == "", "nothing that takes less than LINES_EVERY seconds says a word"


def test_on_a_terminal_one_line_moves_and_is_gone_at_the_end(monkeypatch):
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with progress.bar(4, "steps", 1, True) as one:
            one.delay = 0
            one.refresh()
        terminal.flush()
        said = ""
        while select.select([reader], [], [], 0.5)[0]:
            said += os.read(reader, 4096).decode()
    os.close(reader)
    assert "steps:  25%" in said and "1/4" in said and "\n" not in said
    assert said.endswith("\r") and not said.split("\r")[-2].strip()


def test_evaluate_shows_its_progress(monkeypatch, capsys):
    from imggen_core import strokes

    seen = []
    monkeypatch.setattr(cli, "load", lambda name: strokes.StrokeDrawing(4, 4, 0))
    figures = {name: bound for name, (_, bound) in strokes.CRITERIA.items()}
    monkeypatch.setattr(strokes, "evaluate", lambda model: seen.append(progress._shown) or figures)
    cli.evaluate("strokes", None)
    assert seen == [True] and not progress._shown and "FAIL" not in capsys.readouterr().out


def test_a_run_in_a_browser_has_jupyters_bar(monkeypatch):
    monkeypatch.setattr(settings, "headless", lambda: False)
    assert progress.bar(3, "steps", 0, False).disable
