"""The settings file, the choice of device, precision and threads, seeding."""

import os
import random
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imggen_core.kit import settings
from imggen_core.kit.settings import InputError


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A settings.ini of the test's own: `course(text)`."""

    def make(text):
        (tmp_path / "settings.ini").write_text(text, encoding="utf-8")
        clear()

    def clear():
        settings.sections.cache_clear()
        settings.chapters.cache_clear()

    monkeypatch.setattr(settings, "ROOT", tmp_path)
    clear()
    yield make
    clear()


def test_all_chapters_are_listed_in_order():
    chapters = settings.chapters()
    assert [chapter.number for chapter in chapters.values()] == list(range(1, len(chapters) + 1))
    assert list(chapters)[:3] == ["wireframe", "strokes", "population"]
    for name, chapter in chapters.items():
        assert chapter.name == name and chapter.about and chapter.notebook.name == f"{chapter.number:02d}_{name}.ipynb"
        if chapter.ready:
            assert set(chapter.minutes) == {"smoke", "laptop", "full"} and all(minutes > 0 for minutes in chapter.minutes.values())


def test_chapters_and_scales_are_read(course, tmp_path):
    chapters = "[chapter b]\nnumber=2\nabout = two: 50 %\n[chapter a]\nnumber=1\nminutes_full=1.5\n"
    course(chapters + "[a.smoke]\nSteps=3\nlr=1e-4\nname=x\nsizes=(1, 2)\n")
    assert list(settings.chapters()) == ["a", "b"]
    assert settings.chapter("a").minutes == {"full": 1.5} and settings.chapter("b").about == "two: 50 %"
    assert not settings.chapter("a").ready
    (tmp_path / "nbs").mkdir()
    (tmp_path / "nbs/01_a.ipynb").touch()
    assert settings.chapter("a").ready
    assert settings.scale_parameters("a", "smoke") == {"Steps": 3, "lr": 1e-4, "name": "x", "sizes": (1, 2)}
    assert settings.scale_parameters("a", "laptop") == settings.scale_parameters("b", "full") == {}


@pytest.mark.parametrize(
    "name, hint", [("wirefram", "did you mean 'wireframe'?"), ("Stroke", "did you mean 'strokes'?"), ("qqq", "there is wireframe, ")]
)
def test_an_unknown_chapter_gets_the_nearest_name(name, hint):
    with pytest.raises(InputError) as caught:
        settings.chapter(name)
    assert str(caught.value).startswith(f"no chapter {name!r} — {hint}")


def test_an_unknown_scale_gets_the_nearest_name():
    with pytest.raises(InputError, match="no scale 'smoky' — did you mean 'smoke'?"):
        settings.scale_parameters("wireframe", "smoky")


@pytest.mark.parametrize("text", ["no section", "[a]\nx=1\n[a]\ny=1\n", "[a]\nx=1\nx=2\n"])
def test_a_malformed_settings_file_gets_one_line(course, text):
    course(text)
    with pytest.raises(InputError, match="settings.ini: cannot be read .*restore") as caught:
        settings.chapters()
    assert "\n" not in str(caught.value)


DEMO = "[chapter demo]\nnumber=1\n"


@pytest.mark.parametrize(
    "text, line",
    [
        ("device = cpu\n", "cannot be read (line 1 stands in no [section])"),
        ("[course]\ndevice\n", "cannot be read (line 2 is no `name = value`)"),
        ("[course]\na=1\na=2\n", "cannot be read (line 3: [course] a stands there a second time)"),
        ("[course]\n[course]\n", "cannot be read (line 2: [course] stands there a second time)"),
        (b"[course]\na=\xff\n", "cannot be read (line 2 is not UTF-8)"),
        (DEMO + "[demo.smok]\n", "[demo.smok]: no scale 'smok' — did you mean 'smoke'?"),
        (DEMO + "[demi.smoke]\n", "[demi.smoke]: no such section — there are [course]"),
        ("[chapter demo]\nnumber=one\n", "[chapter demo] number = 'one': must be a whole number"),
        ("[chapter demo]\n", "[chapter demo] number = '': must be a whole number"),
        (DEMO + "minutes_smoke = soon\n", "[chapter demo] minutes_smoke = 'soon': must be a number"),
        (DEMO + "minutes_smoke = nan\n", "[chapter demo] minutes_smoke = 'nan': must be a number"),
    ],
)
def test_nonsense_in_the_settings_is_named_by_line_section_and_key(course, tmp_path, text, line):
    course("")
    (tmp_path / "settings.ini").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        settings.chapters()
    assert line in str(caught.value) and str(tmp_path / "settings.ini") in str(caught.value) and "\n" not in str(caught.value)


def test_a_per_cent_sign_and_a_byte_order_mark_are_nothing_special(course):
    course("\ufeff" + DEMO + "about = 50 % of %(x)s\n")
    assert settings.chapter("demo").about == "50 % of %(x)s"


def test_what_the_settings_ask_for_in_vain_is_said_to_be_theirs(course):
    course("[course]\ndevice = gpu\nprecision = fp8\n")
    for choose in (settings.choose_device, lambda: settings.choose_precision(torch.device("cpu"))):
        with pytest.raises(InputError, match=r"settings.ini: \[course\] no (device|precision) '(gpu|fp8)'"):
            choose()


def test_a_missing_settings_file_gets_one_line(course):
    with pytest.raises(InputError, match="settings.ini: not found"):
        settings.chapters()


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.lists(st.integers())))
def test_a_value_is_parsed_as_it_is_written(value):
    assert settings.parse(repr(value)) == value and type(settings.parse(repr(value))) is type(value)


@given(st.text())
def test_parsing_any_text_never_fails(text):
    settings.parse(text)


def test_what_is_no_value_is_text():
    texts = ("data/logo.svg", "bf16", "#fff", "0if", "true", "None", "")
    with warnings.catch_warnings(action="error"):  # Python's own, of a number that runs into a word
        assert [settings.parse(text) for text in texts] == ["data/logo.svg", "bf16", "#fff", "0if", True, None, ""]


def test_the_device_is_the_asked_one_or_one_line():
    assert settings.choose_device("cpu").type == "cpu"
    assert settings.choose_device().type in ("cuda", "mps", "cpu")
    for name, there in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available())):
        if there:
            assert settings.choose_device(name).type == name
        else:
            with pytest.raises(InputError, match=f"device '{name}' was asked for, but this machine has none"):
                settings.choose_device(name)
    with pytest.raises(InputError, match="no device 'gpu' — choose auto, cuda, mps or cpu"):
        settings.choose_device("gpu")


def test_the_course_settings_decide_what_auto_means(course):
    course("[course]\ndevice=cpu\nprecision=float32\n")
    assert settings.choose_device().type == "cpu"
    assert settings.choose_precision(torch.device("cpu")) == "no"
    course("[course]\nprecision=bf16\n")
    assert settings.choose_precision(torch.device("cpu")) == "bf16"
    assert settings.choose_precision(torch.device("cpu"), "no") == "no"


def test_auto_precision_is_bfloat16_only_where_the_processor_has_it(course, monkeypatch):
    course("")
    for units in ("AMX", ""):
        monkeypatch.setattr(settings, "bfloat16_units", lambda device, units=units: units)
        assert settings.choose_precision(torch.device("cpu")) == ("bf16" if units else "no")


@pytest.mark.parametrize(
    "machine, probes, named",
    [
        ("x86_64", {"_is_amx_tile_supported": True, "_is_avx512_bf16_supported": True}, "AMX and AVX-512 BF16"),
        ("x86_64", {"_is_amx_tile_supported": False, "_is_avx512_bf16_supported": True}, "AVX-512 BF16"),
        ("AMD64", {"_is_amx_tile_supported": False, "_is_avx512_bf16_supported": False}, ""),
        ("aarch64", {"_is_mkldnn_bf16_supported": True}, "Arm BF16"),
        ("arm64", {"_is_mkldnn_bf16_supported": False}, ""),
    ],
)
def test_bfloat16_units_are_called_by_their_names(monkeypatch, machine, probes, named):
    monkeypatch.setattr(settings.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for probe, answer in probes.items():
        owner = torch.ops.mkldnn if "mkldnn" in probe else torch.cpu
        monkeypatch.setattr(owner, probe, lambda answer=answer: answer, raising=False)
    assert settings.bfloat16_units() == settings.bfloat16_units("cpu") == named
    assert settings.choose_precision("cpu", "auto") == ("bf16" if named else "no")
    assert settings.bfloat16_units("mps") == ""


@pytest.mark.parametrize("name, expected", [("float32", "no"), ("no", "no"), ("bfloat16", "bf16"), ("BF16", "bf16")])
def test_precisions_have_two_names(name, expected):
    assert settings.choose_precision(torch.device("cpu"), name) == expected


def test_an_unknown_precision_gets_one_line():
    with pytest.raises(InputError, match="no precision 'fp8' — choose auto, float32 or bfloat16"):
        settings.choose_precision(torch.device("cpu"), "fp8")


@pytest.mark.parametrize("seed", [0, 7, -1, 2**40])
def test_a_seed_fixes_every_generator(seed):
    def draw():
        settings.seed_everything(seed)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    first = draw()
    assert draw() == first
    settings.seed_everything(seed + 1)
    assert all(a != b for a, b in zip(first, (random.random(), float(np.random.rand()), float(torch.rand(()))), strict=True))


def test_headless_without_a_kernel_or_by_the_environment(monkeypatch):
    import IPython

    assert settings.headless()
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": object()})())
    monkeypatch.delenv("IMGGEN_HEADLESS", raising=False)
    assert not settings.headless()
    monkeypatch.setenv("IMGGEN_HEADLESS", "1")
    assert settings.headless()


def test_reading_the_settings_needs_no_torch():
    code = "import sys; from imggen_core.kit import settings; settings.chapters(); print('torch' in sys.modules, settings.ROOT)"
    done = subprocess.run([sys.executable, "-c", code], cwd="/", capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": str(settings.ROOT)})  # fmt: skip
    assert done.stdout.strip() == f"False {settings.ROOT}"


# ---- threads ---------------------------------------------------------------------------------------------------------


def test_processes_share_the_cores_and_what_a_person_set_stays(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(settings, "cores", lambda: 8)
    waiting = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
    assert settings.thread_environment() == waiting, "one process: as many threads as PyTorch chooses"
    assert [settings.thread_environment(n)["OMP_NUM_THREADS"] for n in (2, 3, 100)] == ["4", "2", "1"]
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert settings.thread_environment(2) == {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "7", "OMP_NUM_THREADS": "5"}
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert settings.thread_environment(2) == {"OMP_NUM_THREADS": "5"}, "who waits actively spins as long as OpenMP has it"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system allots no cores")
def test_only_the_allotted_cores_count():
    program = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
    program += "from imggen_core.kit import settings; print(settings.cores())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "1\n"


GOMP = next((Path(torch.__file__).parent / "lib").glob("libgomp*"), None)


@pytest.mark.skipif(GOMP is None, reason="this PyTorch brings another OpenMP")
@pytest.mark.parametrize("own, turns", [({}, "1000"), ({"OMP_WAIT_POLICY": "active"}, "30000000000"), ({"GOMP_SPINCOUNT": "77"}, "77")])
def test_pytorchs_openmp_hardly_spins_unless_a_person_says_so(own, turns):
    outside = {name: value for name, value in os.environ.items() if name not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    program = f"import imggen_core, ctypes; ctypes.CDLL({str(GOMP)!r})"  # as torch does, which would take seconds
    environment = outside | own | {"OMP_DISPLAY_ENV": "verbose"}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True).stderr
    assert f"GOMP_SPINCOUNT = '{turns}'" in said
