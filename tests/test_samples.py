"""Pictures as files: a folder that goes on where it was stopped, its table, a ZIP, a sheet, an SVG."""

import csv
import dataclasses
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imggen_core.kit import files, images, samples
from imggen_core.kit.sampler import Choice, Sampler, Slider, noise
from imggen_core.kit.samples import BLOCK, Samples, write_folder, write_sheet, write_svg, write_zip
from imggen_core.kit.settings import InputError


class Clouds(Sampler):
    """Pictures that tell how many were made with them, as rounding does."""

    controls = {"wander": Slider(0.5, 0.0, 2.0, 0.1, "how far"), "sky": Choice("blue", ("blue", "grey, dark"), "which")}

    def __init__(self):
        self.made = []

    def make(self, n, seed, first, wander, sky):
        self.made.append(range(first, first + n))
        return 0.5 + wander * noise(n, seed, 3, 4, 5, first=first) / 4 + n / 255


def wanted(n: int = 20, seed: int = 7, first: int = 0, weights: str = "ab", **controls) -> Samples:
    return Samples(Clouds(), "clouds", weights, n, seed, first, {"wander": 0.5, "sky": "grey, dark"} | controls)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupted(few: Samples) -> Samples:
    """These, with a Ctrl-C when the second block is about to be made."""
    make = few.model.make

    def once(n, seed, first, **controls):
        if first:
            raise KeyboardInterrupt
        return make(n, seed, first, **controls)

    few.model.make = once
    return few


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The 20 pictures, made without a stop."""
    folder = tmp_path_factory.mktemp("whole")
    write_folder(wanted(), folder)
    return content(folder)


def test_a_folder_has_a_file_for_each_picture_and_a_row_that_makes_it_again(whole, tmp_path):
    assert sorted(whole) == [*(f"{i:05d}.png" for i in range(20)), "samples.json", "table.csv"]
    rows = list(csv.DictReader(whole["table.csv"].decode().splitlines()))
    assert rows[19] == {"file": "00019.png", "seed": "7", "index": "19", "wander": "0.5", "sky": "grey, dark"}
    for row in rows[::6]:
        name, seed, index = (row.pop(key) for key in ("file", "seed", "index"))
        (tmp_path / name).write_bytes(whole[name])
        again = images.to_uint8(Clouds().sample(1, seed, first=index, **row)[0]).astype(int)
        assert np.abs(np.asarray(Image.open(tmp_path / name)) - again).max() <= BLOCK - 1, "but for the rounding of its block"


@pytest.mark.parametrize("last", [1, 2, 9, 15, 22])
def test_a_folder_killed_at_any_file_goes_on_and_ends_with_the_same_bytes(whole, last, tmp_path, monkeypatch):
    child = os.fork()
    if not child:
        written = iter(range(1, 100))
        monkeypatch.setattr(files, "sync", lambda path: os.kill(os.getpid(), signal.SIGKILL) if next(written) == last else None)
        write_folder(wanted(), tmp_path)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert any(path.name.startswith(".part-") for path in tmp_path.iterdir()), "it died while it wrote a file"
    write_folder(wanted(), tmp_path)
    assert content(tmp_path) == whole


def test_a_stopped_folder_has_a_table_of_what_is_there(whole, tmp_path):
    few = interrupted(wanted())
    with pytest.raises(KeyboardInterrupt):
        write_folder(few, tmp_path)
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 1 + len(list(tmp_path.glob("*.png"))) == 1 + BLOCK


def test_what_is_there_is_not_made_again(tmp_path):
    write_folder(wanted(), tmp_path)
    (tmp_path / "00009.png").unlink()
    for again, made in ((wanted(), [range(8, 16)]), (wanted(), []), (wanted(n=21), [range(16, 21)])):
        write_folder(again, tmp_path)
        assert again.model.made == made


def test_more_pictures_and_parts_end_as_all_at_once(whole, tmp_path):
    for few in (wanted(n=5), wanted(n=6, first=14), wanted()):
        write_folder(few, tmp_path)
    assert content(tmp_path) == whole
    assert max(map(len, few.model.made)) <= BLOCK, "memory is bounded"


@pytest.mark.parametrize(
    "other, line",
    [
        (wanted(seed=8), "seed 7 there, 8 now"),
        (wanted(wander=1.0), "wander 0.5 there, 1.0 now"),
        (wanted(weights="cd"), "model clouds (ab) there, clouds (cd) now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_folder_of_other_samples_is_refused_and_nothing_is_lost(whole, other, line, tmp_path):
    for name, data in whole.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as refused:
        write_folder(other, tmp_path)
    assert f"holds other samples ({line})" in str(refused.value) and content(tmp_path) == whole
    write_folder(dataclasses.replace(wanted(), name="elsewhere/clouds"), tmp_path)  # the same weights: the same model


def test_nothing_is_written_or_removed_through_a_link(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "00000.png").symlink_to(mine / "thesis.txt")
    (tmp_path / "a.zip.unfinished").symlink_to(mine)
    for write, name in ((write_folder, "out"), (write_zip, "a.zip")):
        with pytest.raises(InputError, match="is a link"):
            write(wanted(n=1), tmp_path / name)
    assert content(mine) == {"thesis.txt": b"mine"}


def test_a_folder_of_other_files_and_a_damaged_one_are_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other files, and no samples"):
        write_folder(wanted(), tmp_path)
    for text in ("{", "[]", "{}", '{"model": 1}'):
        (tmp_path / "samples.json").write_text(text)
        with pytest.raises(InputError, match="damaged"):
            write_folder(wanted(), tmp_path)
    assert sorted(content(tmp_path)) == ["samples.json", "thesis.txt"]


def test_a_zip_is_the_folder_whole_and_the_same_each_time(whole, tmp_path):
    for name in ("a.zip", "b.zip"):
        write_zip(wanted(), tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == whole
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


def test_a_stopped_zip_leaves_the_old_one_and_goes_on(whole, tmp_path):
    out = tmp_path / "a.zip"
    out.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        write_zip(interrupted(wanted(n=30)), out)
    assert out.read_bytes() == b"old"
    on = wanted()
    write_zip(on, out)
    assert on.model.made == [range(8, 16), range(16, 20)]
    with zipfile.ZipFile(out) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == whole
    assert list(tmp_path.iterdir()) == [out]


def test_a_sheet_has_all_pictures_and_refuses_too_many(tmp_path):
    write_sheet(wanted(n=9), tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (3 * 7 + 2, 3 * 6 + 2)
    with pytest.raises(InputError, match="n=5000: too many for one sheet.*DIR/"):
        write_sheet(wanted(n=5000), tmp_path / "b.png")


def test_an_svg_is_one_picture_of_a_generator_that_draws_vectors(tmp_path):
    with pytest.raises(InputError, match="Clouds: draws pixels"):
        write_svg(wanted(n=1), tmp_path / "a.svg")
    with pytest.raises(InputError, match="n=2: an .svg holds one picture"):
        write_svg(wanted(n=2), tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())
    vectors = wanted(n=1, first=3)
    vectors.model.make_svg = lambda seed, index, **controls: f"<svg><!-- {seed} {index} {controls} --></svg>"
    write_svg(vectors, tmp_path / "a.svg")
    assert (tmp_path / "a.svg").read_text() == "<svg><!-- 7 3 {'wander': 0.5, 'sky': 'grey, dark'} --></svg>"


def test_the_name_says_the_kind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    kinds = {"a.PNG": write_sheet, "a.jpg": write_sheet, "a.svg": write_svg, "a.zip": write_zip, "new/": write_folder,
             "a.zip/": write_folder, "there": write_folder, "there/a.png": write_sheet}  # fmt: skip
    assert {out: samples.writer(out)[0] for out in kinds} == kinds
    for out, line in (("a.gif", "ends in .png, .jpg, .svg or .zip"), ("new", "new/"), ("no/a.png", "its folder does not exist")):
        with pytest.raises(InputError, match=line):
            samples.writer(out)


def test_a_folder_has_one_writer_and_is_left_without_a_lock(tmp_path):
    few = wanted(3)
    write_folder(few, tmp_path)
    program = "import sys; from pathlib import Path; from imggen_core.kit.folder import hold\n"
    program += "with hold(Path(sys.argv[1]), '.lock'): print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, tmp_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with pytest.raises(InputError, match=f"process {other.pid} has been at work here"):
            write_folder(wanted(5), tmp_path)
    write_folder(wanted(5), tmp_path)
    assert sorted(content(tmp_path)) == [*(f"{i:05d}.png" for i in range(5)), "samples.json", "table.csv"]
