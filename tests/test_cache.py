"""The cache of a data world: drawn once, whole or not at all, by one process at a time, whatever happens to its files."""

import os
import pickle
import resource
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from imggen_core.kit import cache
from imggen_core.kit.settings import ROOT, InputError

NAMES = ("pictures", "numbers")
VERSION = 7


def draw(index: int):
    rng = np.random.default_rng(index)
    return rng.integers(0, 256, (3, 8, 8), np.uint8).transpose(1, 2, 0), rng.random(2, np.float32)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "world" / "train-8x8"


@pytest.fixture
def drawn():
    """A drawing function that keeps the indices it was asked for."""

    def counted(index):
        counted.indices.append(index)
        return draw(index)

    counted.indices = []
    return counted


def same(arrays, n: int) -> bool:
    rows = [draw(index) for index in range(n)]
    return all(np.array_equal(array, np.stack(column)) for array, column in zip(arrays, zip(*rows, strict=True), strict=True))


def test_rows_are_what_the_function_draws(folder):
    arrays = cache.rows(folder, NAMES, 6, draw, VERSION)
    assert same(arrays, 6) and [array.dtype for array in arrays] == [np.uint8, np.float32]
    assert all(isinstance(array, np.memmap) and not array.flags.writeable for array in arrays)
    assert np.array_equal(np.load(folder / "pictures.npy"), arrays[0])


def test_what_is_there_is_not_drawn_again(folder, drawn):
    cache.rows(folder, NAMES, 6, drawn, VERSION)
    assert drawn.indices == [*range(6), 5]  # the last one once more, to compare
    assert same(cache.rows(folder, NAMES, 4, drawn, VERSION), 4) and drawn.indices[7:] == [5]
    assert same(cache.rows(folder, NAMES, 8, drawn, VERSION), 8) and drawn.indices[8:] == [5, 6, 7, 7]


def test_a_cache_grows_beyond_one_block_of_copies(folder):
    cache.rows(folder, NAMES, 1001, draw, VERSION)
    assert same(cache.rows(folder, NAMES, 2003, draw, VERSION), 2003)


def test_a_fingerprint_changes_with_any_row():
    rows = [draw(index) for index in range(4)]
    assert cache.fingerprint(rows) == cache.fingerprint(draw(index) for index in range(4)) != cache.fingerprint(rows[:3] + [draw(9)])


def cut(path, least: int = 0):
    path.write_bytes(path.read_bytes()[: least or -100])


WRONG = {
    "cut short": lambda folder: cut(folder / "pictures.npy"), "no numbers": lambda folder: (folder / "numbers.npy").unlink(),
    "empty": lambda folder: (folder / "pictures.npy").write_bytes(b""),
    "garbage": lambda folder: (folder / "pictures.npy").write_bytes(b"x" * 9999),
    "pickled": lambda folder: (folder / "numbers.npy").write_bytes(pickle.dumps([1, 2])),
    "objects": lambda folder: np.save(folder / "numbers.npy", np.array([None, {}]), allow_pickle=True),
    "another version": lambda folder: (folder / "version.json").write_text('{"fingerprint": 1}'),
    "no version": lambda folder: (folder / "version.json").write_text("[3]"),
    "no version at all": lambda folder: (folder / "version.json").unlink(),
    "half a version": lambda folder: cut(folder / "version.json", 9),
    "other shapes": lambda folder: np.save(folder / "pictures.npy", np.zeros((5, 3, 16, 16), np.uint8)),
    "other types": lambda folder: np.save(folder / "numbers.npy", np.load(folder / "numbers.npy").astype(np.float64)),
    "fewer in one": lambda folder: np.save(folder / "numbers.npy", np.zeros((2, 2), np.float32)),
    "none": lambda folder: [np.save(folder / f"{name}.npy", np.zeros((0, 2))) for name in NAMES],
    "one number": lambda folder: np.save(folder / "numbers.npy", np.float32(3)),
    "overwritten": lambda folder: np.save(folder / "pictures.npy", np.zeros((5, 8, 8, 3), np.uint8)),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_cache_is_said_and_drawn_again(what, folder, capsys):
    cache.rows(folder, NAMES, 5, draw, VERSION)
    WRONG[what](folder)
    assert same(cache.rows(folder, NAMES, 5, draw, VERSION), 5)
    said = capsys.readouterr().out.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("world: the cache train-8x8 ") and "drawing it again" in said[0]
    cache.rows(folder, NAMES, 5, draw, VERSION)
    assert capsys.readouterr().out == ""


PROGRAM = """
import sys, time
sys.path.insert(0, "tests")
from imggen_core.kit import cache
from test_cache import NAMES, VERSION, draw
def slow(index):
    print("drawn", flush=True)
    time.sleep({pause})
    return draw(index)
arrays = cache.rows({folder!r}, NAMES, 8, slow, VERSION)
print(int(arrays[0].sum()), flush=True)
"""


def builder(folder, pause: float):
    program = PROGRAM.format(folder=str(folder), pause=pause)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def folders(folder) -> list[str]:
    return [path.name for path in folder.parent.iterdir() if path.is_dir()]


def test_a_killed_build_leaves_nothing_half_and_two_at_once_end_well(folder):
    killed = builder(folder, 1)
    assert [killed.stdout.readline() for _ in range(2)] == ["drawn\n"] * 2
    half = folders(folder)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(half) == 1 and half[0].startswith(".train-8x8-") and not folder.exists()
    pair = [builder(folder, 0.02) for _ in range(2)]
    ends = [process.communicate(timeout=120)[0].split() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert ends[0][-1] == ends[1][-1] == str(int(cache.rows(folder, NAMES, 8, draw, VERSION)[0].sum()))
    assert sorted(len(words) for words in ends) == [2, 10]  # one drew all of them and compared the last, the other compared the last
    assert folders(folder) == ["train-8x8"]


def test_what_was_opened_stays_readable_when_the_cache_is_drawn_again(folder):
    before = cache.rows(folder, NAMES, 5, draw, VERSION)
    cache.rows(folder, NAMES, 9, draw, VERSION)
    assert same(before, 5)


def test_a_drawing_that_fails_leaves_the_old_cache(folder):
    cache.rows(folder, NAMES, 5, draw, VERSION)

    def failing(index):
        return draw(index) if index < 7 else 1 / 0

    with pytest.raises(ZeroDivisionError):
        cache.rows(folder, NAMES, 9, failing, VERSION)
    assert folders(folder) == ["train-8x8"] and same(cache.rows(folder, NAMES, 5, draw, VERSION), 5)


def test_a_place_that_cannot_be_written_is_one_line(folder):
    folder.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be written") as refusal:
        cache.rows(folder, NAMES, 2, draw, VERSION)
    assert "\n" not in str(refusal.value) and str(folder) in str(refusal.value)


def test_a_whole_cache_that_may_only_be_read_is_used(folder):
    cache.rows(folder, NAMES, 5, draw, VERSION)
    lock = folder.with_suffix(".lock")
    lock.unlink(missing_ok=True)
    lock.mkdir()  # refuses the lock to everybody, the administrator too
    os.chmod(folder.parent, 0o555)
    try:
        assert same(cache.rows(folder, NAMES, 5, draw, VERSION), 5)
        with pytest.raises(InputError, match="cannot be written"):
            cache.rows(folder, NAMES, 6, draw, VERSION)
    finally:
        os.chmod(folder.parent, 0o755)


def test_too_little_room_is_one_line_before_anything_is_written(folder, monkeypatch):
    cache.rows(folder, NAMES, 5, draw, VERSION)
    little = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: little)
    with pytest.raises(InputError, match="cannot be written") as refusal:
        cache.rows(folder, NAMES, 500, draw, VERSION)
    assert "500 rows need 0.1 MB" in str(refusal.value) and "\n" not in str(refusal.value)
    assert folders(folder) == ["train-8x8"] and same(cache.rows(folder, NAMES, 5, draw, VERSION), 5)


def test_a_disk_that_fills_up_while_writing_is_one_line_and_leaves_nothing(folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # a file may not grow beyond that: writing fails half-way
    try:
        with pytest.raises(InputError, match="cannot be written") as refusal:
            cache.rows(folder, NAMES, 400, draw, VERSION)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(refusal.value) and folders(folder) == []
    assert same(cache.rows(folder, NAMES, 400, draw, VERSION), 400)
