"""Files and folders are written whole or not at all, and found where they are."""

import os
import shutil
import socket

import pytest

from imggen_core.kit import files
from imggen_core.kit.folder import claim
from imggen_core.kit.history import History, read_rows
from imggen_core.kit.settings import InputError


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


def standing(folder) -> dict:
    """One of each kind of thing that is no regular file, by what it is called."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
    (folder / "mine.txt").write_text("mine")
    (folder / "link").symlink_to("mine.txt")
    return {f"is a {name}": folder / name for name in ("folder", "pipe", "socket", "link")}


def test_nothing_but_a_regular_file_is_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's name must be short
    for what, path in standing(tmp_path.relative_to(tmp_path)).items():
        before = path.lstat()
        with pytest.raises(InputError, match=what):
            files.write(path, "new")
        assert os.path.samestat(path.lstat(), before)
    assert (tmp_path / "mine.txt").read_text() == "mine" and len(names(tmp_path)) == 5


def test_a_file_that_a_person_names_is_looked_at_before_the_work(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    things = standing(tmp_path.relative_to(tmp_path))
    assert files.named(things.pop("is a link")) == tmp_path / "mine.txt", "a link of his own is followed"
    assert files.named("new.txt") == files.Path("new.txt")
    wrong = {str(path): what for what, path in things.items()} | {
        "/dev/full": "is a device", "/dev/null": "is a device", "no/such": "its folder does not exist", "mine.txt/below": "its folder",
        "/proc/x": "cannot be written", "~nosuch/x": "no such user", "x" * 300: "File name too long", "x" * 255: "File name too long",
    }  # fmt: skip
    for name, what in wrong.items():
        if name.startswith(("/dev", "/proc")) and not os.path.exists(os.path.dirname(name) if name == "/proc/x" else name):
            continue  # another system
        with pytest.raises(InputError) as caught:
            files.named(name, "--json")
        assert what in str(caught.value) and str(caught.value).startswith(f"--json {name}")
    with open("mine.txt", "a") as stream:
        before = os.dup(1)
        try:
            os.dup2(stream.fileno(), 1)
            with pytest.raises(InputError, match="own output"):
                files.named("/dev/stdout")
        finally:
            os.dup2(before, 1)
    assert (tmp_path / "mine.txt").read_text() == "mine" and len(names(tmp_path)) == 5


def test_what_lies_under_a_temporary_name_is_not_written_through(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a").write_text("mine")
    (tmp_path / ".part-a").symlink_to(tmp_path / "mine" / "a")
    (tmp_path / ".model-new").symlink_to(tmp_path / "mine")
    (tmp_path / ".model-old").symlink_to(tmp_path / "mine")
    files.write(tmp_path / "a", "new")
    for _ in range(2):
        with files.whole_folder(tmp_path / "model") as new:
            (new / "a").write_text("new")
    assert names(tmp_path) == ["a", "mine", "model"] and (tmp_path / "mine" / "a").read_text() == "mine"
    shutil.rmtree(tmp_path / "model")
    (tmp_path / "model").symlink_to(tmp_path / "mine")
    with pytest.raises(InputError, match="is a link"), files.whole_folder(tmp_path / "model"):
        pass
    (tmp_path / "model").unlink()
    (tmp_path / "model").write_text("a file")
    with pytest.raises(InputError, match="is a file"), files.whole_folder(tmp_path / "model"):
        pass
    assert names(tmp_path) == ["a", "mine", "model"] and names(tmp_path / "mine") == ["a"]


def test_a_run_folder_with_a_link_out_of_it_is_refused(tmp_path):
    run, mine = tmp_path / "run", tmp_path / "mine"
    (mine / "step-00000001").mkdir(parents=True)
    claim(run, "demo", "smoke", {})
    (run / "model").mkdir()
    (run / "newest").symlink_to("model")
    claim(run, "demo", "smoke", {})
    for path, what in ((run / "state", mine), (run / "model" / "log.txt", mine / "gone"), (run / "results.json", "/dev/null")):
        path.symlink_to(what)
        with pytest.raises(InputError, match=f"{path.name}: is a link that leads out of the folder"):
            claim(run, "demo", "smoke", {})
        path.unlink()
    os.mkfifo(run / "history.csv")
    with pytest.raises(InputError, match="is a pipe"):
        claim(run, "demo", "smoke", {})
    assert names(mine) == ["step-00000001"]
    (tmp_path / "named").symlink_to(run)
    (run / "history.csv").unlink()
    claim(tmp_path / "named", "demo", "smoke", {})  # the person's own link


def test_what_is_shown_is_one_line_that_cannot_steer_the_terminal(tmp_path):
    assert files.printable("a\nb\x1b[2J\x9b\u202e\udcff ü—×") == "a\\nb\\x1b[2J\\x9b\\u202e\\udcff ü—×"


@pytest.mark.parametrize("name", ["/proc/kmsg", "/proc/self/mem", "/dev/zero"])
def test_what_is_no_ordinary_file_is_not_read(name):
    if not os.path.exists(name):
        pytest.skip("this system has none")
    with pytest.raises(InputError, match="is not an ordinary file"):
        files.find(name)


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
    again = History(path, read_rows(path, 2)[0], write=True)
    assert again.rows == [{"step": 1, "a, b": 0.1}, {"step": 2}]
    assert path.read_bytes() == b'step,"a, b"\n1,0.1\n2,\n', "what does not count is gone"


def test_a_history_that_is_only_read_leaves_the_file_alone(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,a\n1,2\n2,3\n")
    history = History(path, read_rows(path, 1)[0], write=False)
    history.add({"step": 5})
    history.flush()
    assert path.read_text() == "step,a\n1,2\n2,3\n" and history.columns()["step"] == [1, 5]
