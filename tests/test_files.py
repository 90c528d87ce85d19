"""Files and folders are written whole or not at all, and found where they are."""

import os

import pytest

from imggen_core.kit import files
from imggen_core.kit.history import History, read_rows


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path):
    path = files.write(tmp_path / "a.txt", "old — ä\n")
    assert path.read_bytes() == "old — ä\n".encode()
    with pytest.raises(KeyboardInterrupt), files.whole_file(path) as part:
        assert part.suffix == ".txt" and part.parent == tmp_path and part != path
        part.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text(encoding="utf-8") == "old — ä\n"
    files.write(path, b"new")
    assert path.read_bytes() == b"new" and names(tmp_path) == ["a.txt"]


def test_a_folder_is_replaced_whole_or_stays_as_it_was(tmp_path):
    folder = tmp_path / "deep" / "model"
    for content in ("old", "new"):
        with files.whole_folder(folder) as new:
            (new / content).write_text(content)
            (new / "inner").mkdir()
            (new / "inner" / "x").write_text("x")
        assert names(folder) == sorted([content, "inner"])
    with pytest.raises(ValueError), files.whole_folder(folder) as new:
        (new / "half").write_text("half")
        raise ValueError
    assert names(folder) == ["inner", "new"] and names(folder.parent) == ["model"]


def test_what_is_written_goes_through_to_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append("fsync"), sync(handle)))
    monkeypatch.setattr(os, "replace", lambda *given: (done.append("replace"), replace(*given)))
    files.write(tmp_path / "a", "a")
    assert done == ["fsync", "replace"]
    done.clear()
    with files.whole_folder(tmp_path / "b") as new:
        (new / "x").write_text("x")
        (new / "y").write_text("y")
    assert done[:3] == ["fsync", "fsync", "replace"]


def test_fresh_folders_have_names_of_their_own(tmp_path):
    folders = [files.fresh_folder(tmp_path / "runs", "toy") for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.is_dir() and folder.name.startswith("toy-2") for folder in folders)


def test_history_is_appended_to_while_its_columns_stay_and_written_anew_when_one_comes(tmp_path):
    path = tmp_path / "history.csv"
    history = History(path, [], write=True)
    history.add({"step": 1, "a, b": 0.1})
    history.flush()
    first = path.stat().st_ino
    history.add({"step": 2})
    history.flush()
    assert path.stat().st_ino == first, "the same file goes on"
    assert path.read_bytes() == b'step,"a, b"\n1,0.1\n2,\n'
    history.add({"step": 3, "late": 1e-7})
    history.flush()
    assert path.stat().st_ino != first
    assert path.read_bytes() == b'step,"a, b",late\n1,0.1,\n2,,\n3,,1e-07\n'
    again = History(path, read_rows(path, 2), write=True)
    assert again.rows == [{"step": 1, "a, b": 0.1}, {"step": 2}]
    assert path.read_bytes() == b'step,"a, b"\n1,0.1\n2,\n', "what does not count is gone"


def test_a_history_that_is_only_read_leaves_the_file_alone(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,a\n1,2\n2,3\n")
    history = History(path, read_rows(path, 1), write=False)
    history.add({"step": 5})
    history.flush()
    assert path.read_text() == "step,a\n1,2\n2,3\n" and history.columns()["step"] == [1, 5]
