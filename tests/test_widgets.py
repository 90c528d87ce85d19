"""Sliders, player and live chart in plain Python; tests/test_browser.py moves them in a real browser."""

import io
import time

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from imggen_core.kit import settings, show, widgets
from imggen_core.kit.sampler import Choice, Sampler, Slider, Text


class Bars(Sampler):
    """Bars from the left: the picture says which controls drew it."""

    controls = {
        "strokes": Slider(3, 0, 8, 1, "how many <bars>"),
        "wander": Slider(0.0, 0.0, 1.0, 0.05, "how light"),
        "kind": Choice("plain", ("plain", "red"), "which colour"),
        "word": Text("ok", "what it says"),
    }

    def __init__(self):
        self.calls = []

    def make(self, n, seed, first, strokes, wander, kind, word):
        self.calls.append((n, seed, strokes, wander, kind, word))
        if word == "bad":
            raise settings.InputError("word: bad is no word — try another")
        if strokes == 7:
            raise KeyError("x<y>\nsecond line")
        pictures = torch.ones(n, 3, 16, 24)
        pictures[:, 1:, :, : 3 * strokes] = wander
        pictures[:, 0, :, : 3 * strokes] = 1.0 if kind == "red" else wander
        return pictures


@pytest.fixture
def browser(monkeypatch):
    """As in a notebook that a person looks at."""
    monkeypatch.setattr(settings, "headless", lambda: False)


def seen(widget) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(widget.picture.value)))


def test_headless_explore_draws_the_defaults_and_builds_no_widget(monkeypatch):
    monkeypatch.setattr(widgets, "Mover", None)
    sampler = Bars()
    figure = widgets.explore(sampler, seed=5, n=2)
    assert isinstance(figure, show.Drawing)
    assert sampler.calls == [(2, 5, 3, 0.0, "plain", "ok")]


def test_explore_has_a_widget_for_the_seed_and_every_control(browser):
    explored = widgets.explore(Bars(), name="bars <1>")
    assert [type(widget).__name__ for widget in explored.controls.values()] == ["IntSlider", "IntSlider", "FloatSlider", "Dropdown", "Text"]
    assert "imggen-strokes" in explored.controls["strokes"]._dom_classes
    assert "imggen-picture" in explored.picture._dom_classes
    assert explored.controls["strokes"].continuous_update is False
    assert explored.controls["wander"].readout_format == ".2f"
    assert "bars &lt;1&gt;" in explored.panel.children[0].value
    assert "how many &lt;bars&gt;" in explored.panel.children[2].children[1].value


def test_every_control_redraws_with_its_value(browser):
    sampler = Bars()
    explored = widgets.explore(sampler)
    assert sampler.calls == [(1, 0, 3, 0.0, "plain", "ok")]
    pictures = [seen(explored)]
    for name, value in {"strokes": 5, "wander": 0.5, "kind": "red", "seed": 9}.items():
        explored.controls[name].value = value
        pictures.append(seen(explored))
    assert sampler.calls[-1] == (1, 9, 5, 0.5, "red", "ok")
    assert all(not np.array_equal(a, b) for a, b in zip(pictures[:3], pictures[1:4], strict=True))
    assert np.array_equal(pictures[3], pictures[4]), "the toy ignores its seed"


def test_the_picture_shows_the_sample_enlarged_pixel_by_pixel(browser):
    explored = widgets.explore(Bars(), strokes=2)
    picture = seen(explored)
    times = picture.shape[1] // 24
    assert picture.shape == (16 * times, 24 * times, 3)
    assert np.array_equal(picture[::times, ::times], show.pixels(Bars().sample(strokes=2)[0]))
    assert explored.picture.layout.width == f"{24 * times / show.SHARP:g}px"


@pytest.mark.parametrize("shape", [(64, 64), (96, 128), (95, 95), (100, 200), (256, 256), (192, 256), (64, 54), (30, 600)])
@pytest.mark.parametrize("n", [1, 4])
def test_a_picture_is_at_least_480_pixels_wide_and_fits_beside_its_sliders(browser, monkeypatch, shape, n):
    moved = widgets.move(lambda x: torch.rand(n, 3, *shape), x=Slider(1, 0, 2, 1, "x"))
    width = float(moved.picture.layout.width.removesuffix("px"))
    assert 480 <= width <= widgets.WIDE
    assert seen(moved).shape[0] / show.SHARP <= widgets.HIGH
    monkeypatch.setattr(settings, "headless", lambda: True)
    still = widgets.move(lambda x: torch.rand(n, 3, *shape), x=Slider(1, 0, 2, 1, "x"))
    assert still.axes[0].get_window_extent().width / show.SHARP >= 480


def test_a_tall_picture_is_as_high_as_the_view_allows(browser):
    moved = widgets.move(lambda x: torch.rand(3, 96, 48), x=Slider(1, 0, 2, 1, "x"))
    assert 0.93 * widgets.HIGH <= seen(moved).shape[0] / show.SHARP <= widgets.HIGH


def test_fixed_controls_have_no_widget_and_keep_their_value(browser):
    sampler = Bars()
    explored = widgets.explore(sampler, n=4, strokes=6)
    assert "strokes" not in explored.controls
    assert sampler.calls == [(4, 0, 6, 0.0, "plain", "ok")]


def test_without_a_seed_there_is_no_slider_for_it(browser):
    sampler = Bars()
    assert list(widgets.explore(sampler, seed=None).controls) == ["strokes", "wander", "kind", "word"]
    assert sampler.calls == [(1, 0, 3, 0.0, "plain", "ok")]


def test_an_error_shows_one_line_keeps_the_picture_and_goes_when_it_is_over(browser):
    explored = widgets.explore(Bars())
    before = explored.picture.value
    explored.controls["strokes"].value = 7
    assert "strokes = 7: KeyError: " in explored.status.value and "x&lt;y&gt;" in explored.status.value
    assert "\n" not in explored.status.value
    assert explored.picture.value == before
    explored.controls["strokes"].value = 4
    assert explored.status.value == "" and explored.picture.value != before
    explored.controls["word"].value = "bad"
    assert "✗ word: bad is no word — try another" in explored.status.value


def test_an_error_in_the_first_draw_shows_in_the_widget(browser):
    assert "KeyError" in widgets.explore(Bars(), strokes=7).status.value


@pytest.mark.parametrize(
    "picture",
    [
        torch.rand(3, 8, 8),
        torch.rand(5, 3, 8, 8),
        np.zeros((8, 8)),
        Image.new("RGB", (8, 8)),
        show.curves({"a": ([1, 2], [1, 2])}),
        Figure(),
    ],
    ids=["tensor", "batch", "array", "pil", "drawing", "figure"],
)
def test_move_takes_whatever_a_function_may_draw(browser, monkeypatch, picture):
    moved = widgets.move(lambda x: picture, x=Slider(1, 0, 2, 1, "x"))
    assert moved.status.value == "" and seen(moved).size
    monkeypatch.setattr(settings, "headless", lambda: True)
    assert isinstance(widgets.move(lambda x: picture, x=Slider(1, 0, 2, 1, "x")), Figure)


def test_move_refuses_what_is_no_control(browser):
    with pytest.raises(TypeError, match="x is a tuple: give a Slider, a Choice or a Text"):
        widgets.move(lambda x: None, x=(0, 1))


def test_the_player_shows_the_frame_of_its_slider(browser, tmp_path):
    frames = [np.full((4, 4), i / 9) for i in range(9)]
    path = tmp_path / "last.png"
    Image.new("RGB", (4, 4), "white").save(path)
    player = widgets.player([*frames, path, tmp_path / "gone.png"], "step")
    assert "step 11 of 11" in player.label.value and "No such file" in player.label.value
    player.position.value = 9
    assert player.label.value == "step 10 of 11" and (seen(player) == 255).all()
    player.position.value = 3
    assert (seen(player) == 85).all()


@pytest.mark.parametrize(("n", "shown"), [(1, 1), (2, 2), (6, 6), (40, 6)])
def test_the_headless_player_is_a_strip_from_first_to_last(n, shown):
    figure = widgets.player([np.full((4, 4), i / 50) for i in range(n)], label=lambda i: f"step {i}")
    captions = [text.get_text() for text in figure.texts]
    assert len(figure.axes) == shown and captions[0] == "step 0" and captions[-1] == f"step {n - 1}"


def test_a_player_without_pictures_says_so():
    with pytest.raises(ValueError, match="no picture to play"):
        widgets.player([])


def test_the_live_chart_is_throttled_and_ends_on_the_last_value(browser):
    chart = widgets.LiveChart(["loss"], every=30)
    chart.update({"step": [1, 2], "loss": [1.0, 0.5]})
    first = bytes(chart.picture.value)
    assert first.startswith(b"\x89PNG")
    history = {"step": list(range(5000)), "loss": [1 / (i + 1) for i in range(5000)]}
    started = time.process_time()
    for _ in range(10_000):
        chart.update(history)
    assert time.process_time() - started < 0.1, "an update that does not draw costs nothing"
    assert bytes(chart.picture.value) == first
    chart.update(history, last=True)
    assert bytes(chart.picture.value) != first


def test_the_live_chart_takes_at_most_a_fiftieth_of_the_time(browser):
    chart = widgets.LiveChart(every=0)
    started = time.process_time()
    chart.update({"loss": [3.0, 2.0, 1.0]})
    cost = time.process_time() - started
    assert chart.next_time - time.monotonic() > 40 * cost


@pytest.mark.parametrize("history", [{}, {"step": [1, 2]}, {"step": [1], "loss": [float("nan")]}, {"loss": []}])
def test_a_chart_of_nothing_is_nothing(history):
    assert widgets.chart(history) is None


def test_a_chart_joins_over_rows_without_the_number_and_ignores_the_clock():
    gaps = widgets.chart({"step": [1, 2, 3], "seconds": [1, 2, 3], "psnr_db": [1.0, None, 3.0]})
    assert np.array_equal(np.asarray(gaps), np.asarray(widgets.chart({"step": [1, 3], "psnr_db": [1.0, 3.0]})))
