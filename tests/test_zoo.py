"""Models on disk: saved in one piece, loaded by name, and never by unpickling."""

import json
import os
import pickle
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file
from torch import nn

from imggen_core.kit import settings, zoo
from imggen_core.kit.settings import InputError


class Decoder(nn.Module, PyTorchModelHubMixin):
    """A small model with a buffer and tied weights."""

    def __init__(self, width: int, *, sizes: tuple[int, int] = (3, 4), gain: float = 1.0):
        super().__init__()
        self.sizes, self.gain = tuple(sizes), gain
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return self.norm(self.second(self.first(x))) * self.gain


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty checkpoints folder, and `Decoder` as if it were a chapter's."""
    monkeypatch.setattr(settings, "CHECKPOINTS", tmp_path / "checkpoints")
    module = types.ModuleType("imggen_core.decoder")
    module.Decoder, module.not_a_model, module.system = Decoder, dict, os.system
    monkeypatch.setitem(sys.modules, "imggen_core.decoder", module)
    monkeypatch.setattr(Decoder, "__module__", "imggen_core.decoder")
    return tmp_path / "checkpoints"


def made(seed=0, **options):
    torch.manual_seed(seed)
    model = Decoder(5, **options)
    model(torch.rand(8, 5))
    return model


def test_a_model_comes_back_by_name_and_by_path(shelf):
    model = made(sizes=(7, 9), gain=2.0)
    zoo.save(model, shelf / "decoder", "> Draws nothing yet.", torch.rand(4, 3, 6, 8))
    assert sorted(path.name for path in (shelf / "decoder").iterdir()) == ["README.md", "config.json", "model.safetensors", "samples.png"]
    x = torch.rand(3, 5)
    for loaded in (zoo.load("decoder"), zoo.load(shelf / "decoder"), Decoder.from_pretrained(str(shelf / "decoder"))):
        assert not loaded.training and loaded.sizes == (7, 9) and loaded.gain == 2.0
        assert torch.equal(loaded(x), model.eval()(x))
        assert loaded.second.weight is loaded.first.weight
    assert json.loads((shelf / "decoder/config.json").read_text()) == {
        "class": "imggen_core.decoder.Decoder", "width": 5, "sizes": [7, 9], "gain": 2.0}  # fmt: skip
    assert zoo.models() == {"decoder": "Draws nothing yet."}


def test_a_run_folder_is_a_path_to_its_model(shelf, tmp_path):
    zoo.save(made(), tmp_path / "run/model")
    assert zoo.load(tmp_path / "run").sizes == (3, 4)


def test_a_class_of_a_notebook_is_saved_under_its_module(shelf, tmp_path, monkeypatch):
    monkeypatch.setattr(Decoder, "__module__", "__main__")
    zoo.save(made(), tmp_path / "model", module="imggen_core.decoder")
    assert json.loads((tmp_path / "model/config.json").read_text())["class"] == "imggen_core.decoder.Decoder"


def test_the_card_and_the_line_about_it(shelf):
    for name, card, line in [
        ("a", "Plain words.\n\n> Quoted line.\n", "Quoted line."),
        ("b", "# Title\n\nFirst words.\nMore.", "First words."),
        ("c", "---\nlicense: mit\n---\n# Title\n\nAfter the front matter.", "After the front matter."),
        ("d", "", ""),
    ]:
        zoo.save(made(), shelf / name, card)
        assert zoo.models()[name] == line
    assert (shelf / "a/README.md").read_text().startswith("# a\n\nPlain words.")
    assert (shelf / "b/README.md").read_text().startswith("# Title\n\nFirst")


def test_an_unknown_name_gets_the_nearest(shelf):
    zoo.save(made(), shelf / "decoder")
    with pytest.raises(InputError, match="no model 'decodr' — did you mean 'decoder'?"):
        zoo.load("decodr")
    with pytest.raises(InputError, match="no model in this folder"):
        zoo.load(shelf)


def broken(folder, name, change):
    (folder / name).write_bytes(change((folder / name).read_bytes()))


@pytest.mark.parametrize(
    "name, change",
    [
        ("model.safetensors", lambda data: data[:-7]),
        ("model.safetensors", lambda data: data[:5]),
        ("model.safetensors", lambda data: b""),
        ("model.safetensors", lambda data: b"\xff" * len(data)),
        ("model.safetensors", lambda data: pickle.dumps({"first.weight": [1.0]})),
        ("config.json", lambda data: data[:10]),
        ("config.json", lambda data: b""),
        ("config.json", lambda data: b"[1]"),
        ("config.json", lambda data: b'{"width": 5}'),
        ("config.json", lambda data: data.replace(b'"width": 5', b'"width": 6')),
        ("config.json", lambda data: data.replace(b'"width": 5', b'"width": "x"')),
        ("config.json", lambda data: data.replace(b'"width": 5', b'"depth": 5')),
    ],
)
def test_a_damaged_or_foreign_folder_gets_one_line(shelf, name, change):
    zoo.save(made(), shelf / "decoder")
    broken(shelf / "decoder", name, change)
    with pytest.raises(InputError) as caught:
        zoo.load("decoder")
    assert str(shelf / "decoder") in str(caught.value) and "\n" not in str(caught.value) and " — " in str(caught.value)


def test_missing_weights_get_one_line(shelf):
    zoo.save(made(), shelf / "decoder")
    (shelf / "decoder/model.safetensors").unlink()
    with pytest.raises(InputError, match="damaged"):
        zoo.load("decoder")


@pytest.mark.parametrize(
    "name",
    ["os.system", "torch.nn.Linear", "imggen_core.decoder.system", "imggen_core.decoder.not_a_model", "imggen_core.nothing.X",
     "imggen_core.kit.run.nn", "imggen_core.kit.zoo.Path", "imggen_core/../x.Y", "imggen_core", "", "imggen_core.decoder.Decoder.forward"],
)  # fmt: skip
def test_only_models_of_the_library_are_built(shelf, name):
    zoo.save(made(), shelf / "decoder")
    broken(shelf / "decoder", "config.json", lambda data: json.dumps({**json.loads(data), "class": name}).encode())
    with pytest.raises(InputError, match="is no model of imggen_core"):
        zoo.load("decoder")


def test_what_could_not_be_rebuilt_is_not_saved(shelf):
    class Plain(nn.Linear):
        pass

    class Hungry(nn.Module, PyTorchModelHubMixin):
        def __init__(self, thing):
            super().__init__()

    with pytest.raises(TypeError, match="Plain cannot be saved — let it inherit PyTorchModelHubMixin"):
        zoo.save(Plain(2, 2), shelf / "plain")
    with pytest.raises(TypeError, match="Hungry cannot be saved: its argument 'thing'"):
        zoo.save(Hungry(object()), shelf / "hungry")
    assert not shelf.exists() or not list(shelf.iterdir())


def test_saving_again_replaces_the_whole_folder(shelf):
    zoo.save(made(0), shelf / "decoder", samples=torch.rand(2, 3, 4, 4))
    zoo.save(made(1), shelf / "decoder")
    assert not (shelf / "decoder/samples.png").exists()
    assert torch.equal(load_file(shelf / "decoder/model.safetensors")["first.bias"], made(1).first.bias)
    assert [path.name for path in shelf.iterdir()] == ["decoder"]


def test_a_failed_or_killed_save_leaves_the_old_model(shelf, monkeypatch):
    zoo.save(made(0), shelf / "decoder")
    with monkeypatch.context() as patched, pytest.raises(OSError):
        patched.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        zoo.save(made(1), shelf / "decoder")
    killed = (
        "import os, signal, test_zoo\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"test_zoo.zoo.save(test_zoo.made(1), {str(shelf / 'decoder')!r})"
    )
    done = subprocess.run([sys.executable, "-c", killed], cwd=Path(__file__).parent, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert torch.equal(zoo.load("decoder").first.bias, made(0).first.bias)
    assert list(zoo.models()) == ["decoder"]
    zoo.save(made(1), shelf / "decoder")
    assert [path.name for path in shelf.iterdir()] == ["decoder"]
