"""Figures: every picture pixel is there, nothing is cut off or covered, files are small, and a notebook shows each figure once."""

import io
import math
import os

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from nbclient import NotebookClient
from PIL import Image

from imggen_core.kit import images, show

LONG = "The multi-resolution grid network reaches 40 dB twenty times sooner than the naive decoder, and Fourier features never do"


def decoded(figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure.png())).convert("RGB"))


def noise(*shape, seed=0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def texts(figure):
    """Every text but the ticks' with the box it takes, in device pixels."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    of_axes = [text for axes in figure.axes for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label, axes._left_title)]
    found = [text for text in (*figure.texts, *of_axes) if text.get_text()]
    return [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in found]


def assert_all_inside(figure):
    height, width = decoded(figure).shape[:2]
    for text, box in texts(figure):
        assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1, f"{text!r} is cut off: {box}"


def places(figure) -> list[tuple[int, int, int, int]]:
    """Left, top, width and height of each picture of a figure, in device pixels."""
    high, boxes = figure.get_size_inches()[1] * figure.dpi, [axes.get_window_extent() for axes in figure.axes]
    return [(round(box.x0), round(high - box.y1), round(box.width), round(box.height)) for box in boxes]


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 5), st.integers(1, 96), st.integers(1, 96), st.integers(1, 8), st.booleans())
def test_every_pixel_of_every_small_picture_is_in_the_figure_as_a_square(n, height, width, columns, titled):
    """Of one size where at least three device pixels are there for each, otherwise of two that differ by one."""
    pictures = [noise(3, height, width, seed=i) for i in range(n)]
    figure = show.grid(pictures, [f"picture {i}" for i in range(n)] if titled else None, columns, "Noise" if titled else None)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())[..., :3]  # before the palette of a large file
    for picture, (left, top, wide, high) in zip(pictures, places(figure), strict=True):
        assert wide >= show.SHARP * width
        rows, columns = (np.arange(new) * old // new for new, old in ((high, height), (wide, width)))
        sizes = {count for index in (rows, columns) for count in np.bincount(index)}
        assert len(sizes) == 1 or (min(sizes) < 3 and max(sizes) == min(sizes) + 1), sizes
        assert np.array_equal(drawn[top : top + high, left : left + wide], images.to_uint8(picture)[rows[:, None], columns])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(8, 800), st.integers(8, 800))
def test_a_picture_takes_at_least_three_quarters_of_its_place(height, width, wide, high):
    h, w = show.fitted(np.zeros((height, width, 3), np.uint8), wide, high).shape[:2]
    assert h <= high * show.SHARP and w <= wide * show.SHARP or 1 in (h, w)
    limit = 32 * show.SHARP
    assert w >= 0.75 * wide * show.SHARP - 1 or h >= 0.75 * high * show.SHARP - 1 or w == limit * width


@pytest.mark.parametrize("side", [8, 64, 96])
@pytest.mark.parametrize("n", [1, 7, 16])
@pytest.mark.parametrize("draw", [show.grid, show.strip])
def test_small_pictures_stand_at_three_times_their_size_unless_columns_are_given(draw, n, side):
    figure = draw([noise(3, side, side)] * n)
    assert min(wide for _, _, wide, _ in places(figure)) >= 3 * side * show.SHARP
    assert figure.get_size_inches()[0] * figure.dpi <= show.WIDTH * show.SHARP + 2 * show.EDGE
    assert len({left for left, *_ in places(show.grid([noise(3, side, side)] * n, columns=5))}) == min(n, 5)


def test_a_large_picture_is_enlarged_smoothly_where_its_place_is_half_as_large_again():
    slope = np.tile(np.linspace(0, 1, 200), (100, 1))
    drawn = show.fitted(show.pixels(slope), 290, 290)
    assert drawn.shape == (290, 580, 3)
    assert (abs(drawn[50, 1:, 0].astype(int) - drawn[50, :-1, 0]) <= 1).all(), "no steps of pixels on a slope"


def test_a_picture_too_large_for_its_place_is_averaged_not_cropped():
    board = np.indices((1000, 2000)).sum(0) % 2 * 1.0
    drawn = decoded(show.image(board))
    assert drawn.shape[1] <= show.HEIGHT * show.SHARP + 2 * show.EDGE
    assert abs(drawn[100:-100, 100:-100].astype(int) - 128).max() < 30


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (17, 15)])
def test_thin_and_tiny_pictures_are_shown(shape):
    drawn = decoded(show.grid([np.zeros(shape)] * 2, ["a", "b"]))
    assert (drawn == 0).all(-1).any()


def test_tensors_arrays_bytes_and_pil_give_the_same_pixels():
    tensor = noise(3, 5, 4)
    expected = images.to_uint8(tensor)
    for same in (tensor.permute(1, 2, 0).numpy(), expected, Image.fromarray(expected), torch.from_numpy(expected).permute(2, 0, 1)):
        assert np.array_equal(show.pixels(same), expected)
    assert np.array_equal(show.pixels(tensor[:1]), show.pixels(tensor[0].numpy()))


def test_nan_is_magenta_and_values_outside_are_clipped():
    picture = torch.zeros(3, 2, 2)
    picture[1, 0, 0], picture[:, 1, 1] = math.nan, 7.0
    assert show.pixels(picture)[0, 0].tolist() == [255, 0, 255]
    assert show.pixels(picture)[1, 1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: show.grid([]), "no picture"),
        (lambda: show.grid([noise(3, 4, 4)], ["a", "b"]), "2 titles for 1 pictures"),
        (lambda: show.image(torch.zeros(5, 4, 4, 4)), "shape"),
        (lambda: show.image(np.zeros((0, 4, 3))), "no pixels"),
        (lambda: show.compare(noise(3, 4, 5), noise(3, 4, 4)), "the target is 5x4 and the picture 4x4"),
        (lambda: show.curves({"a": ([1, 2], [1])}), "'a' has 2 x values and 1 y values"),
    ],
)
def test_what_cannot_be_shown_is_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        wrong()


def test_compare_states_the_psnr_and_shows_four_times_the_difference():
    target = torch.full((3, 16, 16), 0.5)
    picture = target + 0.1
    figure = show.compare(target, picture)
    assert f"picture, {images.psnr(target, picture):.1f} dB" in [text for text, _ in texts(figure)]
    assert show.compare(target, target).texts[1].get_text() == "picture, 100.0 dB"
    third = figure.axes[2].images[0].get_array()
    assert np.all(third == round(0.4 * 255))


@pytest.mark.parametrize("n", [1, 2, 5, 8, 13])
def test_long_titles_and_captions_are_wrapped_inside_the_figure_and_cover_nothing(n):
    captions = [f"multi-resolution grid network {i}, 41.2 dB" for i in range(n)]
    figure = show.grid([noise(3, 20, 10)] * n, captions, title=LONG + LONG)
    assert_all_inside(figure)
    boxes = [box for _, box in texts(figure)] + [axes.get_window_extent() for axes in figure.axes]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            assert min(a.x1, b.x1) - max(a.x0, b.x0) <= 1 or min(a.y1, b.y1) - max(a.y0, b.y0) <= 1


def test_curves_are_named_at_their_ends_without_covering_each_other():
    x = np.linspace(0.1, 30, 50)
    ends = {"naive decoder": 20.0, "SIREN": 20.2, "Fourier features": 20.1, "grid": 44.0, "strokes": 44.1, "nothing": 20.3}
    lines = {name: (x[: 10 * (i + 1)][:50], (end * (1 - np.exp(-x)))[: 10 * (i + 1)]) for i, (name, end) in enumerate(ends.items())}
    figure = show.curves(lines, "CPU seconds", "PSNR (dB)", LONG, marks={"40 dB": 40, "30 dB": 30})
    assert_all_inside(figure)
    boxes = {text: box for text, box in texts(figure) if text in lines or text.endswith("0 dB")}
    assert boxes.keys() == {*lines, "40 dB", "30 dB"}
    inside = sorted(boxes.values(), key=lambda box: box.y0)
    assert all(upper.y0 - lower.y0 > 0.7 * lower.height for lower, upper in zip(inside, inside[1:], strict=False))


@pytest.mark.parametrize("log", ["x", True, "xy"])
@pytest.mark.parametrize("span", [(0.31, 0.38), (0.9, 1.3), (30, 95), (2e-4, 3e-3), (1, 1000), (1e-12, 1e9), (1e5, 3e6)])
def test_the_ticks_of_a_logarithmic_axis_are_few_and_apart(log, span):
    figure = show.curves({"loss": (span, span)}, "step", "loss", log=log, size=(2.9, 1.7))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    for letter in {True: "y"}.get(log, log):
        axis = getattr(figure.axes[0], f"{letter}axis")
        labels = [label.get_window_extent(canvas.get_renderer()) for label in axis.get_ticklabels(which="both") if label.get_text()]
        assert 2 <= len(labels) <= 9
        edges = sorted((box.x0, box.x1) if letter == "x" else (box.y0, box.y1) for box in labels)
        assert all(later[0] >= earlier[1] for earlier, later in zip(edges, edges[1:], strict=False)), edges


def test_a_curve_that_lies_over_another_is_dashed_so_that_both_are_seen():
    x = np.arange(100.0)
    figure = show.curves({"first": (x, x**2), "other": (x, 4000 - x), "same": (x, x**2)}, size=(5.6, 2.9))
    lines = figure.axes[0].get_lines()[:3]
    assert [line.is_dashed() for line in lines] == [False, False, True]
    colours = decoded(figure)
    for line in lines:
        wanted = np.array([int(line.get_color()[i : i + 2], 16) for i in (1, 3, 5)])
        assert (abs(colours - wanted).max(-1) < 12).sum() > 300, line.get_color()


@pytest.mark.parametrize("log", [False, True, "x", "xy"])
@pytest.mark.parametrize("y", [[], [1.0], [None, math.nan], [1, None, 3], [0, -1, 2], [1e-9, 1e9]])
def test_curves_draw_gaps_single_points_and_nothing_at_all(log, y):
    decoded(show.curves({"loss": (range(1, len(y) + 1), y)}, "step", "loss", log=log, marks={"goal": 1}))


def test_figures_are_small_files():
    ui = torch.ones(3, 192, 256)
    ui[:, 20:60, 20:100], ui[:, 80], ui[:, 100:180, 120:240] = 0.4, 0.0, 0.8
    assert len(show.compare(ui, ui).png()) < 12_000
    assert len(show.strip([ui + (1 - k / 6) * (noise(3, 192, 256) - 0.5) for k in range(7)]).png()) < 300_000
    x = np.linspace(0, 1, 500)
    assert len(show.curves({str(i): (x, x**i) for i in range(6)}, "step", "loss", "Six curves").png()) < 45_000


def test_the_same_figure_is_the_same_file():
    def figure():
        return show.curves({"a": (range(20), range(20))}, "step", "loss", "Same").png()

    assert figure() == figure()


def test_numbers_in_tables_keep_their_telling_digits():
    rows = [
        {"model": "naive|<b>", "psnr_db": 41.2345, "seconds": 12345, "met": True},
        {"model": "grid", "psnr_db": torch.tensor(4.5678), "seconds": np.float32(0.01234), "met": np.bool_(False), "note": None},
        {"model": "none", "psnr_db": math.nan, "seconds": 1e-7, "met": True},
    ]
    table = show.table(rows, "Results")
    assert table.cells == [
        ["naive|<b>", "41.2", "12,345", "✓", "–"],
        ["grid", "4.57", "0.012", "✗", "–"],
        ["none", "–", "1e-07", "✓", "–"],
    ]
    text = repr(table).splitlines()
    assert text[0] == "Results" and len({line.index("–" if "–" in line else "met") for line in text[1:2]}) == 1
    assert text[3].index("41.2") + 4 == text[1].index("psnr_db") + 7, "numbers end under the end of their column's name"
    assert r"| naive\|<b> | 41.2 |" in table._repr_markdown_()
    assert "naive|&lt;b&gt;" in table._repr_html_() and "<b>" not in table._repr_html_()


def test_an_empty_table_is_shown_too():
    table = show.table([])
    assert isinstance(repr(table), str) and isinstance(table._repr_html_(), str) and isinstance(table._repr_markdown_(), str)


def test_a_notebook_shows_a_figure_once_at_half_its_pixels(tmp_path):
    """In a real kernel, before and after pyplot has taken over how figures are shown."""
    draw = "show.curves({'a': ([1, 2], [1, 2])}, title='Up')"
    cells = [f"from imggen_core.kit import show\n{draw}", f"{draw}\n1", f"import matplotlib.pyplot\n{draw}", "show.table([{'a': 1}])"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute(
        env=dict(os.environ)
    )
    first, hidden, after_pyplot, table = (cell.outputs for cell in notebook.cells)
    assert [output.output_type for output in first] == ["display_data"]
    assert first[0].metadata["image/png"] == {"width": 560, "height": 290}
    assert [list(output.get("data", {})) for output in hidden] == [["text/plain"]]
    assert [output.data["image/png"] for output in after_pyplot] == [first[0].data["image/png"]]
    assert {"text/html", "text/markdown", "text/plain"} <= table[0].data.keys()
