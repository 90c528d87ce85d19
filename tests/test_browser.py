"""Sliders moved as a learner moves them: a real JupyterLab, a real kernel and a real Chromium."""

import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import numpy as np
import psutil
import pytest
from PIL import Image

LAB = Path(__file__).parent.parent / "lessons" / "02_strokes.ipynb"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ERROR = '.jp-RenderedText[data-mime-type="application/vnd.jupyter.error"]'
TOY = """
import torch
from imggen_core.kit.sampler import Sampler, Slider
from imggen_core.kit.settings import InputError
from imggen_core.kit.widgets import explore

class Bars(Sampler):
    controls = {"strokes": Slider(8, 0, 8, 1, "how many bars stand"), "grey": Slider(0.2, 0.0, 1.0, 0.05, "how light they are")}
    def make(self, n, seed, first, strokes, grey):
        if strokes == 0:
            raise InputError("strokes=0: an empty picture shows nothing, take 1 or more")
        pictures = torch.ones(n, 3, 32, 64)
        for i in range(strokes):
            pictures[:, :, 4:28, 4 + 7 * i : 8 + 7 * i] = grey
        return pictures

explore(Bars(), name="bars")
"""


def unavailable(reason: str):
    """Without a browser these tests are skipped on a learner's machine; on CI one is installed, so there it is a failure."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"{reason}; on CI the browser tests must run", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("the playwright package is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        unavailable(f"no browser found (looked for {', '.join(BROWSERS)}): install Debian's package chromium")
    arguments = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run")
    quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*arguments, *quiet], timeout=60_000)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """The address (a function of the notebook's name) of a JupyterLab on a folder with the toy notebook and a copy of lab 02."""
    root = tmp_path_factory.mktemp("jupyter")
    (root / "work").mkdir()
    toy = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(TOY.strip())], metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )
    nbformat.write(toy, root / "work" / "toy.ipynb")
    if LAB.exists():
        lab = nbformat.read(LAB, as_version=4)
        for cell in lab.cells:  # as a learner gets it, so that what is on the page was drawn now
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(lab, root / "work" / LAB.name)
    quiet = root / "lab" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    places = {f"JUPYTER_{name}_DIR": str(root / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {
        "JUPYTERLAB_SETTINGS_DIR": str(root / "lab"),
        "JUPYTERLAB_WORKSPACES_DIR": str(root / "spaces"),
        "IPYTHONDIR": str(root / "ipython"),
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("IMGGEN_", "MPLBACKEND"))} | places
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root / 'work'}"]
    with open(root / "server.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        wait_for_server(server, f"http://127.0.0.1:{port}/api/status?token={token}", root / "server.log")
        yield lambda notebook: f"http://127.0.0.1:{port}/lab/tree/{notebook}?token={token}&reset"
    finally:
        end(server)


def wait_for_server(server: subprocess.Popen, address: str, log: Path, seconds: float = 90):
    limit = time.monotonic() + seconds
    while time.monotonic() < limit and server.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"JupyterLab did not answer within {seconds} s:\n{log.read_text()[-2000:]}", pytrace=False)


def end(server: subprocess.Popen):
    """End the server's process group and its kernels, which live in sessions of their own."""
    try:
        kernels = psutil.Process(server.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        kernels = []
    for number, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
        try:
            os.killpg(server.pid, number)
            server.wait(seconds)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass
    for process in kernels:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass
    psutil.wait_procs(kernels, timeout=5)


def run_all(page):
    """Choose Run All Cells until a cell is marked as running or run: before the kernel is connected, JupyterLab drops the command."""
    page.wait_for_selector(".jp-StatusBar-Widget :text('| Idle')")
    for _ in range(5):
        page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        for _ in range(60):
            if page.locator(r".jp-CodeCell .jp-InputPrompt:text-matches('[*\\d]')").count():
                return
            page.wait_for_timeout(100)
    pytest.fail("JupyterLab did not start to run the notebook", pytrace=False)


@pytest.fixture
def open_notebook(browser, jupyter, tmp_path):
    """Opens a notebook of the folder, runs all its cells and waits until the kernel rests; leaves a picture of each page in `tmp_path`."""
    pages = []

    def opened(notebook: str):
        page = browser.new_page(viewport={"width": 1200, "height": 1000})
        pages.append(page)
        page.set_default_timeout(120_000)
        page.goto(jupyter(notebook))
        page.wait_for_selector('.jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator[data-status="idle"]')
        run_all(page)
        page.wait_for_selector(f".imggen-strokes .noUi-handle, {ERROR}")
        assert page.locator(ERROR).all_inner_texts() == []
        page.wait_for_selector('.jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator[data-status="idle"]')
        return page

    yield opened
    for i, page in enumerate(pages):
        page.screenshot(path=tmp_path / f"page-{i}.png")
        page.close()


class Learner:
    """A page with the slider `strokes` and the picture it draws."""

    def __init__(self, page):
        self.page = page
        self.handle, self.track = (page.locator(f".imggen-strokes {part}").first for part in (".noUi-handle", ".noUi-target"))
        self.picture = page.locator("img.imggen-picture").first
        self.picture.scroll_into_view_if_needed()

    @property
    def value(self) -> float:
        return float(self.handle.get_attribute("aria-valuenow"))

    def sees(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.picture.screenshot())).convert("RGB"))

    def press(self, key: str):
        return self._new_picture(lambda: (self.handle.focus(), self.page.keyboard.press(key)))

    def drag_to(self, share: float):
        """Drag the handle with the mouse to `share` of its track."""

        def drag():
            handle, track = self.handle.bounding_box(), self.track.bounding_box()
            y = handle["y"] + handle["height"] / 2
            self.page.mouse.move(handle["x"] + handle["width"] / 2, y)
            self.page.mouse.down()
            self.page.mouse.move(track["x"] + share * track["width"], y, steps=12)
            self.page.mouse.up()

        return self._new_picture(drag)

    def _new_picture(self, act) -> np.ndarray:
        """What the picture shows once it was replaced after `act`."""
        source = self.picture.get_attribute("src")
        act()
        picture = self.picture.element_handle()
        self.page.wait_for_function(
            "([picture, source]) => picture.src !== source && picture.complete", arg=[picture, source], timeout=15_000
        )
        return self.sees()

    def errors(self) -> list[str]:
        return self.page.locator(ERROR).all_inner_texts() + [
            text for text in self.page.locator(".imggen-status").all_inner_texts() if text.strip()
        ]


def differ(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape != b.shape or not np.array_equal(a, b)


def moves_by_key_and_mouse(learner: Learner):
    first, start = learner.sees(), learner.value
    pressed = learner.press("ArrowLeft")
    assert learner.value < start
    assert differ(pressed, first), "the arrow key moved the slider and the picture stayed"
    dragged = learner.drag_to(0.3)
    assert learner.value < start - 1
    assert differ(dragged, pressed), "the mouse moved the slider and the picture stayed"
    assert learner.errors() == []


@pytest.mark.timeout(240)
def test_a_slider_redraws_by_key_and_mouse_and_shows_its_errors(open_notebook):
    learner = Learner(open_notebook("toy.ipynb"))
    assert learner.value == 8
    moves_by_key_and_mouse(learner)
    before = learner.sees()
    learner.handle.focus()
    learner.page.keyboard.press("Home")
    learner.page.wait_for_selector(".imggen-status:has-text('an empty picture shows nothing')")
    assert not differ(learner.sees(), before), "after an error the last good picture stays"
    assert differ(learner.press("ArrowRight"), before)
    assert learner.errors() == [], "the error line goes once the picture is drawn again"


@pytest.mark.timeout(240)
def test_lab_02_draws_stroke_by_stroke(open_notebook):
    assert LAB.exists(), f"{LAB.name} is missing from lessons: make it with `imggen labs`"
    moves_by_key_and_mouse(Learner(open_notebook(LAB.name)))
