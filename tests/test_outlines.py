"""Filled paths: how much they cover, how that changes with their points, the file; from patches to outlines; fits that end as outlines."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from shapes import FINE, INK, SIDE, WHITE, along_piece, enclosed, loop_about, outline, paper, path, pieces, scattered

from imggen_core import strokes
from imggen_core.kit import images, training
from imggen_core.strokes import Target, render
from imggen_core.tracing import contours, judge, knots, outlines, patches
from imggen_core.tracing.document import cairo, elements, to_svg
from imggen_core.tracing.drawing import BOX, ELLIPSE, KINDS, LINE, PATH, bounds, insert, numbers_in, one, pick


@pytest.fixture(autouse=True)
def one_thread():
    with training.one_thread():
        yield


# ---- coverage --------------------------------------------------------------------------------------------------------


def square(x, y, size, backwards=False) -> list[tuple]:
    corners = [(x, y, 1), (x + size, y, 1), (x + size, y + size, 1), (x, y + size, 1)]
    return corners[::-1] if backwards else corners


def about(x, y, radius=12, **more):
    return lambda chance: [loop_about(chance, (x, y), radius, **more)]


OUTLINES = {
    "lines": about(20, 20, pulled=0),
    "curves": about(20, 20, pulled=1),
    "lines and curves": about(20, 20),
    "a hole": lambda chance: [loop_about(chance, (20, 20), 16), loop_about(chance, (20, 20), 6)[::-1]],
    "several loops": lambda chance: [loop_about(chance, (x, y), 8) for x, y in ((10, 11), (29, 13), (20, 30))],
    "inside one pixel": about(17.5, 20.5, 0.45),
    "beyond the left": about(2, 20),
    "beyond the right": about(SIDE - 2, 20),
    "beyond the top": about(20, 2),
    "beyond the bottom": about(20, SIDE - 2),
    "beyond all sides": about(20, 20, 40, least=0.8),
    "on boundaries": lambda chance: [square(5, 7, 11), square(8, 10, 4, backwards=True)],
    "whole coordinates": lambda chance: [[(round(x), round(y), on) for x, y, on in loop_about(chance, (20, 20), 14)]],
}  # fmt: skip


def supersampled(o, fine=2 * FINE) -> np.ndarray:
    """Share [H,W] of each pixel's points around which the outline winds."""
    q = (np.arange(SIDE * fine) + 0.5) / fine
    winding = np.zeros((len(q), len(q) + 1))
    for loop in pieces(o):
        way = np.concatenate([along_piece(piece) for piece in loop])
        for (x0, y0), (x1, y1) in zip(way, np.roll(way, -1, 0), strict=True):
            rows = np.flatnonzero((q > min(y0, y1)) & (q <= max(y0, y1)))
            if len(rows):
                at = x0 + (q[rows] - y0) * (x1 - x0) / (y1 - y0)
                np.add.at(winding, (rows, np.searchsorted(q, at)), np.sign(y1 - y0))
    inside = winding.cumsum(1)[:, :-1] != 0
    return inside.reshape(SIDE, fine, SIDE, fine).mean((1, 3))


@pytest.mark.parametrize("name", OUTLINES)
def test_the_coverage_of_a_path_agrees_with_supersampling_and_with_its_area(name):
    for seed in range(4):
        d = path(*OUTLINES[name](np.random.default_rng(seed)), colour=(1.0, 1.0, 1.0), on=paper())
        o, got = outlines.outline_of(d, 0), render(d)[0].numpy()
        wanted = supersampled(o)
        assert wanted.sum() > 0.05
        assert np.abs(got - wanted).max() < 0.06 and np.abs(got - wanted).sum() < 0.003 * wanted.sum() + 0.02
        if not name.startswith("beyond"):
            assert got.sum() == pytest.approx(abs(enclosed(o)), rel=2e-3, abs=0.01)  # curves are walked in at least four steps


@pytest.mark.parametrize("name", OUTLINES)
def test_a_path_is_the_picture_that_cairo_makes_of_its_file(name):
    for seed in range(4):
        d = path(*OUTLINES[name](np.random.default_rng(seed)))
        assert images.psnr(render(d), cairo(to_svg(d))) > 42  # Cairo's own curves are off by up to 0.1 pixels


@pytest.mark.parametrize("x, y", [(-30, 20), (SIDE + 30, 20), (20, -30), (20, SIDE + 30), (-20, -20)])
def test_a_path_beyond_the_picture_covers_nothing(x, y):
    d = path(square(x, y, 15))
    assert torch.equal(render(d), torch.ones(3, SIDE, SIDE))


def test_a_path_on_pixel_boundaries_is_exact():
    wanted = torch.zeros(SIDE, SIDE)
    wanted[7:18, 5:16] = 1
    wanted[10:14, 8:12] = 0
    d = path(*OUTLINES["on boundaries"](None), colour=(1.0, 1.0, 1.0), on=paper())
    assert (render(d)[0] - wanted).abs().max() < 1e-6


def test_loops_that_go_the_same_way_round_leave_no_hole():
    d = path(square(4, 4, 30), square(12, 12, 10), colour=(1.0, 1.0, 1.0), on=paper())
    assert render(d)[0, 5:33, 5:33].min() == 1
    assert images.psnr(render(d), cairo(to_svg(d))) > 60


@given(st.integers(0, 2**30), st.floats(-20, 60), st.floats(-20, 60), st.floats(0.1, 30))
@settings(max_examples=60, deadline=None)
def test_every_piece_of_an_edge_lies_in_its_pixel_and_together_they_close(seed, x, y, radius):
    o = outline(loop_about(np.random.default_rng(seed), (x, y), radius), loop_about(np.random.default_rng(seed + 1), (y, x), radius))
    e = outlines.edge_of(o)
    middle = (e.weights[:, :, None] * o.points[e.points]).sum(1)
    assert np.allclose(e.weights.sum(1), 1) and e.weights.min() > -1e-9
    assert np.abs(middle[:, 0] - e.pixel[:, 0] - e.left).max() < 1e-6
    assert (np.abs(middle - e.pixel - 0.5) + np.abs(e.way) / 2).max() < 0.5 + 1e-6
    for n in (0, 1):
        assert np.abs(e.way[o.loop[e.points[:, 1]] == n].sum(0)).max() < 1e-5


# ---- least squares ---------------------------------------------------------------------------------------------------


def crowd() -> strokes.Drawing:
    """Two paths, one with a hole, between other shapes; what is on top hides some of each."""
    d = paper(45, 38, WHITE)
    for new in (
        one(d, BOX, [3.3, 4.1, 30.2, 22.7], 0, torch.tensor([0.9, 0.6, 0.1])),
        path(*OUTLINES["a hole"](np.random.default_rng(3)), colour=(0.2, 0.5, 0.8), on=d),
        one(d, LINE, [2, 33, 42, 9], 3, torch.tensor([0.7, 0.1, 0.3])),
        path(loop_about(np.random.default_rng(4), (39.2, 20.3), 12)[::-1], colour=(0.1, 0.7, 0.4), on=d),
        one(d, ELLIPSE, [27.3, 17.2, 6, 5], 0, torch.tensor([0.3, 0.3, 0.3])),
    ):
        d = insert(d, new)
    return d


def test_slopes_are_the_central_differences_of_the_pixels():
    """By every point and every colour, with other shapes above and below; pixels where an edge enters or leaves have a kink there."""
    d = crowd()
    target, h = Target(torch.rand(3, d.height, d.width, generator=torch.Generator().manual_seed(0))), 0.01
    canvas = lambda d: (strokes.layers(d, target)[3] * target.mask).double().numpy().ravel()
    j, off = outlines.slopes(d, target, strokes.layers(d, target))
    assert np.abs(off - canvas(d) + (target.pixels * target.mask).numpy().ravel()).max() < 1e-6
    j, own = j.toarray(), (d.kind == PATH).nonzero()[:, 0]
    n = 2 * len(d.points)
    assert j.shape[1] == n + 3 * len(own)
    for k in range(j.shape[1]):
        moves = torch.zeros(j.shape[1])
        moves[k] = h
        shake = (
            lambda sign: replace(
                d,
                points=d.points + sign * moves[:n].view(-1, 2),  # noqa: B023
                colour=d.colour.index_add(0, own, sign * moves[n:].view(-1, 3)),  # noqa: B023
            )
        )
        wanted = (canvas(outlines.with_boxes(shake(1))) - canvas(outlines.with_boxes(shake(-1)))) / (2 * h)
        assert np.abs(j[:, k] - wanted).max() < 0.03 and np.abs(j[:, k] - wanted).sum() < 0.02 * np.abs(wanted).sum() + 0.01, k


def shaken(d, by=0.5, seed=0):
    step = by * np.random.default_rng(seed).normal(size=2 * len(d.points) + 3 * int((d.kind == PATH).sum()))
    step[2 * len(d.points) :] *= 0.2
    return outlines.moved(d, step)


def test_refinement_recovers_a_shaken_outline_and_moves_only_paths():
    d = crowd()
    target, start = Target(render(d)), shaken(d)
    end = outlines.refine_outlines(start, target, strokes.SOLVER, 30, 1e-6)
    assert strokes.squared_error(start, target) > 10 and strokes.squared_error(end, target) < 0.01
    assert (render(end) - render(d)).abs().max() < 0.05
    other = d.kind != PATH
    assert torch.equal(end.shape[other], d.shape[other]) and torch.equal(end.colour[other], d.colour[other])
    assert torch.equal(end.knots, d.knots) and torch.equal(end.kind, d.kind)


@pytest.mark.parametrize("seed", range(3))
def test_no_step_of_a_refinement_of_outlines_raises_the_error(seed):
    d = crowd()
    target, start = Target(render(d)), shaken(d, 1.5, seed)
    errors = [strokes.squared_error(outlines.refine_outlines(start, target, strokes.SOLVER, steps), target) for steps in range(5)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.3 * errors[0]


def test_a_step_or_a_change_of_points_that_raises_the_error_is_not_taken():
    d, rising = shaken(crowd()), itertools.count()
    solver = replace(strokes.SOLVER, squared_error=lambda *given: next(rising))
    assert outlines.refine_outlines(d, Target(render(crowd())), solver) is d
    assert knots.adapt(d, Target(render(crowd())), solver) is d


def test_no_step_moves_a_point_by_more_than_a_pixel_or_a_colour_out_of_range():
    d = crowd()
    end = outlines.moved(d, np.full(2 * len(d.points) + 6, 9.0))
    assert torch.allclose(end.points, d.points + 1) and end.colour.max() <= 1
    paths = d.kind == PATH
    assert torch.allclose(end.shape[paths, :4], d.shape[paths, :4] + 1) and torch.equal(end.shape[~paths], d.shape[~paths])


def test_a_drawing_without_paths_stays_as_it_is():
    d = scattered()
    target = Target(torch.zeros(3, 90, 135))
    assert outlines.refine_outlines(d, target, strokes.SOLVER) is d and knots.adapt(d, target, strokes.SOLVER) is d


# ---- the file --------------------------------------------------------------------------------------------------------


def read_path(data: str) -> list[list[np.ndarray]]:
    """The lines and curves of each loop of a path's `d`, as the SVG standard has it, for the commands that we write."""
    loops, pen, control = [], np.zeros(2), None
    for letter_, rest in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        v = np.array(rest.split(), float).reshape(-1, 2) + (0 if letter_.isupper() else pen)
        if letter_ in "mM":
            home, control = v[0], None
            loops.append([])
        elif letter_ == "z":
            if np.abs(pen - home).max() > 0.02:
                loops[-1].append(np.array([pen, home]))
            v = [home]
        elif letter_ == "l":
            loops[-1].append(np.array([pen, v[0]]))
            control = None
        else:
            control = v[0] if letter_ == "q" else 2 * pen - control
            loops[-1].append(np.array([pen, control, v[-1]]))
        pen = v[-1]
    return loops


@pytest.mark.parametrize("name", OUTLINES)
def test_a_paths_data_read_back_is_the_same_outline(name):
    for seed in range(6):
        o = outline(*OUTLINES[name](np.random.default_rng(seed)))
        data = outlines.path_data(o)
        found, wanted = read_path(data), pieces(o)
        assert len(found) == len(wanted) == data.lower().count("m") == data.count("z")
        for a, b in zip(found, wanted, strict=True):
            a, b = (np.concatenate([along_piece(q, 200) for q in loop]) for loop in (a, b))
            assert max(cKDTree(a).query(b)[0].max(), cKDTree(b).query(a)[0].max()) < 0.2 * max(np.abs(o.points).max() / SIDE, 0.3)
            assert np.abs(a.mean(0) - b.mean(0)).max() < 5
        assert all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d?[1-9])?", n) and n != "-0" for n in re.split(r"[A-Za-z ]", data) if n)


def test_a_round_outline_is_written_with_mirrored_controls():
    data = outlines.path_data(outline(loop_about(np.random.default_rng(0), (20, 20), 12, n=16, pulled=1)))
    assert data.count("t") >= 12 and data.count("q") <= 4
    assert not re.search(r"(t[^a-z]*){7}", data)  # rounding adds up along mirrored controls


# ---- a drawing with paths --------------------------------------------------------------------------------------------


def some_shape(seed: int):
    """A drawing of one shape: a path in two of three cases."""
    chance = np.random.default_rng(seed)
    colour, x, y = torch.from_numpy(chance.random(3)).float(), *chance.uniform(0, SIDE, 2)
    if seed % 3 == 0:
        return one(paper(ground=WHITE), BOX, [x, y, x + 9, y + 7], 0, colour)
    return path(*[loop_about(chance, (x + 9 * k, y), 8, int(chance.integers(5, 9))) for k in range(seed % 3)], colour=colour)


def stack(shapes):
    d = paper(ground=WHITE)
    for new in shapes:
        d = insert(d, new)
    return d


def holds(d, shapes) -> bool:
    """Whether a drawing is of just these shapes, the points of its paths included."""
    fits = len(d) == len(shapes) and len(d.points) == len(d.knots) == sum(len(s.points) for s in shapes)
    for i, s in enumerate(shapes):
        a, b = outlines.outline_of(d, i), outlines.outline_of(s, 0)
        fits &= torch.equal(d.shape[i], s.shape[0]) and np.array_equal(a.points, b.points)
        fits &= np.array_equal(a.loop, b.loop) and np.array_equal(a.knot, b.knot)
    return fits


@given(st.lists(st.integers(0, 30), max_size=6), st.data())
@settings(max_examples=60, deadline=None)
def test_points_stay_with_their_shapes(seeds, data):
    shapes = [some_shape(seed) for seed in seeds]
    d = stack(shapes)
    assert holds(d, shapes)
    order = data.draw(st.lists(st.sampled_from(range(len(d))), max_size=5) if len(d) else st.just([]))
    assert holds(pick(d, order), [shapes[k] for k in order])
    mask = data.draw(st.lists(st.booleans(), min_size=len(d), max_size=len(d)))
    assert holds(pick(d, torch.tensor(mask, dtype=torch.bool)), [s for s, keep in zip(shapes, mask, strict=True) if keep])
    low, high = sorted(data.draw(st.lists(st.integers(0, len(d)), min_size=2, max_size=2)))
    assert holds(pick(d, slice(low, high)), shapes[low:high])
    more = insert(d, pick(d, order), low)
    assert holds(more, [*shapes[:low], *(shapes[k] for k in order), *shapes[low:]])
    assert holds(d, shapes)  # as it was
    assert torch.equal(render(pick(d, order)), render(stack([shapes[k] for k in order])))
    assert numbers_in(d) == sum(7 if not s else 3 + 2 * len(some_shape(seed).points) for seed in seeds for s in [seed % 3])


@pytest.mark.parametrize("seed", range(6))
def test_the_bounds_of_a_path_hold_all_its_ink_and_little_more(seed):
    d = path(loop_about(np.random.default_rng(seed), (20.3, 18.6), 13, pulled=0.2), colour=(1.0, 1.0, 1.0), on=paper())
    assert torch.equal(outlines.with_boxes(d).shape, d.shape)
    x0, y0, x1, y1 = bounds(d)[0].tolist()
    y, x = np.nonzero(render(d)[0].numpy() > 1e-6)
    assert x0 <= x.min() and y0 <= y.min() and x.max() + 1 <= x1 and y.max() + 1 <= y1
    points = d.points.numpy()
    assert np.allclose([x0, y0, x1, y1], [*(points.min(0) - 1), *(points.max(0) + 1)], atol=1e-5)


def test_the_loops_of_all_paths_have_numbers_of_their_own():
    d = stack([path(square(3, 3, 5)), path(square(12, 3, 5), square(20, 3, 5)), path(square(30, 3, 5))])
    assert outlines.outline_of(d).loop.tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4


def test_boxes_follow_the_points_of_paths_alone():
    d = crowd()
    new = outlines.with_boxes(replace(d, points=d.points * 2 + 1))
    paths = d.kind == PATH
    assert torch.allclose(new.shape[paths, :4], d.shape[paths, :4] * 2 + 1)
    assert torch.equal(new.shape[~paths], d.shape[~paths]) and torch.equal(new.shape[:, 4:], d.shape[:, 4:])


# ---- how many points -------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**30), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_a_denser_outline_is_the_same_curve(seed, pulled, share):
    """Exactly so: each half of a quadratic curve is one, and a line may be a curve."""
    chance = np.random.default_rng(seed)
    o = outline(loop_about(chance, (20, 20), 15, 8, pulled), loop_about(chance, (50, 20), 9, 6, pulled))
    wrong = (chance.random(len(o.points)) < share).astype(float)
    new, came_from = knots.denser(o, wrong, 0.5)
    assert np.array_equal(new.loop, o.loop[came_from]) and (np.diff(came_from) >= 0).all()
    lines = int((wrong[o.knot & o.knot[o.neighbours()[1]]] > 0.5).sum())
    assert len(new.points) >= len(o.points) + lines + int((wrong[~o.knot] > 0.5).sum())
    assert enclosed(new) == pytest.approx(enclosed(o), abs=1e-9)
    for loop, same in zip(pieces(new), pieces(o), strict=True):
        way, wanted = (np.concatenate([along_piece(q, n) for q in p]) for p, n in ((loop, 8), (same, 400)))
        assert cKDTree(wanted).query(way)[0].max() < 0.05


def test_a_sparser_outline_has_lost_only_what_was_redundant():
    for seed in range(8):
        o = outline(loop_about(np.random.default_rng(seed), (20, 20), 15, 9, pulled=0.3, least=0.75))
        more, _ = knots.denser(o, np.where(o.knot & o.knot[o.neighbours()[1]], 1.0, 0.0), 0.5)  # each line has a point too many
        assert len(more.points) > len(o.points)
        less, kept = knots.sparser(more, np.ones(len(more.points)), 1e-6)
        assert np.allclose(less.points, o.points) and np.array_equal(less.knot, o.knot) and np.array_equal(less.points, more.points[kept])
        assert enclosed(less) == pytest.approx(enclosed(o), abs=1e-9)


def test_points_that_cost_more_go_first_and_no_loop_ends_with_fewer_than_three():
    o = outline(square(5, 5, 20), [(40, 5, 1), (50, 5, 1), (60, 5.2, 1), (60, 20, 1), (40, 20, 1)])
    less, kept = knots.sparser(o, np.ones(9), 1.0)
    assert kept.tolist() == [0, 1, 2, 3, 4, 6, 7, 8]  # (50, 5) lies within 0.1 pixels of the line between its neighbours
    assert len(knots.sparser(o, np.ones(9), 0.04)[1]) == 9
    bare, _ = knots.sparser(o, np.ones(9), 1e9)
    assert np.bincount(bare.loop).min() >= 3


def test_of_two_neighbours_only_the_cheaper_goes_at_a_time():
    o = outline([(5, 5, 1), (10, 5.1, 1), (15, 5, 1), (25, 5, 1), (25, 25, 1), (5, 25, 1)])
    assert knots.sparser(o, np.ones(6), 0.1)[1].tolist() == [0, 1, 3, 4, 5]


def test_a_drawing_takes_over_the_points_of_a_changed_outline():
    d = crowd()
    o, came_from = knots.denser(outlines.outline_of(d), np.ones(len(d.points)), 0.5)
    new = knots.with_outline(d, o, came_from)
    found = outlines.outline_of(new)
    assert np.array_equal(found.knot, o.knot) and np.array_equal(found.loop, o.loop) and np.allclose(found.points, o.points, atol=1e-5)
    assert (render(new) - render(d)).abs().max() < 0.03  # each half of a curve is walked in steps of its own


ROUGH = {
    "too few points": path([(8, 20, 0), (20, 8, 0), (32, 20, 0), (20, 32, 0)]),
    "too many points": path([(20 + 14 * np.cos(a), 20 + 9.3 * np.sin(a), k % 2) for k, a in enumerate(np.linspace(0, 6.2, 40))]),
}


@pytest.mark.parametrize("name", ROUGH)
def test_points_are_put_in_and_taken_out_as_long_as_that_lowers_the_cost(name):
    goal = one(paper(ground=WHITE), ELLIPSE, [20.3, 19.6, 14, 9], 0, INK)
    target = Target(render(goal))
    start = outlines.refine_outlines(ROUGH[name], target, strokes.SOLVER)
    end = knots.adapt(start, target, strokes.SOLVER)
    assert knots.cost(end, target, strokes.SOLVER) < 0.8 * knots.cost(start, target, strokes.SOLVER)
    assert (len(end.points) > len(start.points)) == (name == "too few points")
    assert images.psnr(render(end), target.image) > 38
    assert torch.equal(outlines.with_boxes(end).shape, end.shape)


@pytest.mark.parametrize("seed", range(3))
def test_adapting_never_raises_the_cost(seed):
    d, target = shaken(crowd(), 1, seed), Target(render(crowd()))
    assert knots.cost(knots.adapt(d, target, strokes.SOLVER, 1), target, strokes.SOLVER) <= knots.cost(d, target, strokes.SOLVER)


# ---- patches ---------------------------------------------------------------------------------------------------------


def drawn(*shapes: str, side=48) -> torch.Tensor:
    """SVG elements, drawn by CairoSVG on white; 64 units are the side."""
    ground = '<rect width="64" height="64" fill="#fff"/>'
    size = f'width="{side}" height="{side}" viewBox="0 0 64 64"'
    return cairo(f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{ground}{"".join(shapes)}</svg>')


FLAT = {
    "nothing": ([], 0),
    "a disc": (['<circle cx="30" cy="33" r="17" fill="#c33"/>'], 1),
    "three apart": (['<circle cx="14" cy="15" r="9" fill="#c33"/>', '<rect x="30" y="6" width="27" height="17" fill="#264"/>',
                     '<path d="M10 58 L34 30 L58 57 Z" fill="#c33"/>'], 3),
    "two that touch": (['<rect x="6" y="9" width="26" height="44" fill="#c33"/>',
                        '<rect x="32" y="9" width="24" height="44" fill="#264"/>'], 2),
    "one on another": (['<circle cx="32" cy="32" r="25" fill="#fb2"/>', '<rect x="20" y="22" width="21" height="17" fill="#222"/>'], 2),
    "a hole": (['<path d="M6 8 H58 V56 H6 Z M20 20 V44 H44 V20 Z" fill="#264"/>'], 1),
    "in the hole a disc": (['<path d="M6 8 H58 V56 H6 Z M16 18 V48 H48 V18 Z" fill="#264"/>',
                            '<circle cx="32" cy="32" r="9" fill="#c33"/>'], 2),
}  # fmt: skip


@pytest.mark.parametrize("name", FLAT)
def test_flat_shapes_are_as_many_patches(name):
    shapes, count = FLAT[name]
    image = drawn(*shapes)
    found = patches.patches_of(image, torch.ones(3))
    assert len(found) == count
    if not count:
        return
    assert [p.mask.sum() for p in found] == sorted((p.mask.sum() for p in found), reverse=True)  # the largest at the bottom
    canvas, pure = np.ones((3, 48, 48)), ~patches.blends(image.numpy().astype(float))
    for p in found:
        assert not (p.hidden & ~p.mask).any() and (p.share[p.hidden] == 1).all() and p.share.min() >= 0 and p.share.max() <= 1
        assert not p.share[~p.mask & pure].any() or name == "two that touch"
        canvas = canvas * (1 - p.share) + p.share * p.colour[:, None, None]
    assert np.abs(canvas - image.numpy())[:, pure].max() < 0.05
    assert images.psnr(torch.from_numpy(canvas).float(), image) > 25


@pytest.mark.parametrize("name", FLAT)
def test_every_pixel_is_given_to_the_group_of_its_colour(name):
    image = drawn(*FLAT[name][0]).numpy().astype(float)
    first = patches.seeds(image)
    group, colour = patches.spread(first, image)
    assert np.array_equal(np.unique(group), np.unique(first[first > 0])) and group.max() == len(np.unique(group))
    assert np.array_equal(group[first > 0], first[first > 0]) and np.isfinite(colour).all()
    for g in np.unique(group):
        assert np.ptp(image[:, first == g], axis=1).max() < 0.05
        assert np.abs(colour[:, group == g] - image[:, first == g].mean(1)[:, None]).max() < 0.05


def test_a_picture_without_any_pure_pixel_has_no_patches():
    assert patches.patches_of(torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0)), torch.ones(3)) == []


def test_thin_things_that_were_left_out_are_found_the_worst_first():
    whole = drawn('<rect x="8" y="8" width="24" height="20" fill="#264"/>')
    more = drawn('<rect x="8" y="8" width="24" height="20" fill="#264"/>', '<path d="M5 36 L58 52" stroke="#c33" stroke-width="1.2"/>',
                 '<circle cx="48" cy="14" r="2" fill="#22c"/>')  # fmt: skip
    found = patches.missing(more, whole)
    assert len(found) == 2 and patches.missing(whole, whole) == []
    for p, (x, y), colour in zip(found, ((24, 33), (36, 10.5)), ((0.8, 0.2, 0.2), (0.13, 0.13, 0.8)), strict=True):
        row, column = (np.indices(p.share.shape) * p.share).sum((1, 2)) / p.share.sum() + 0.5
        assert abs(column - x) < 1 and abs(row - y) < 1
        assert np.abs(p.colour - colour).max() < 0.35  # a hair's own colour is nowhere pure


def test_the_contour_of_a_patch_runs_along_its_border_without_specks():
    share = np.zeros((40, 50))
    share[10:20, 30:50] = 1  # up to the picture's side
    share[30, 5] = 0.6
    (loop,) = contours.loops_of(patches.Patch(share > 0, share < 0, np.ones(3), share))
    assert np.allclose([loop.min(0), loop.max(0)], [[30, 10], [50, 20]], atol=0.1)


def test_a_patch_that_is_a_box_a_rounded_box_or_a_dot_is_drawn_as_one_and_others_as_outlines():
    for shape, kind in (
        ('<rect x="9" y="12" width="40" height="31" fill="#264"/>', "box"),
        ('<rect x="9" y="12" width="44" height="30" rx="9" fill="#264"/>', "rounded box"),
        ('<path d="M8 54 L32 8 L58 54 Z" fill="#264"/>', "path"),
    ):
        image = drawn(shape, side=64)
        d = contours.with_patches(paper(64, 64, WHITE), patches.patches_of(image, torch.ones(3)), render)
        assert [KINDS[k] for k in d.kind] == [kind], kind
        assert images.psnr(render(d), image) > 24
    dot = drawn('<circle cx="31.7" cy="30.2" r="1.2" fill="#264"/>', side=64)
    d = contours.with_patches(paper(64, 64, WHITE), patches.missing(dot, torch.ones_like(dot)), render)
    assert d.kind.tolist() == [ELLIPSE] and torch.allclose(d.shape[0, :4], torch.tensor([31.7, 30.2, 1.2, 1.2]), atol=0.2)


def test_shapes_that_save_less_than_they_cost_go_the_least_first():
    d = crowd()
    target = Target(render(d))
    faint = path(square(20, 5, 3), colour=(1.0, 0.99, 0.99), on=d)
    left = contours.worthwhile(insert(insert(d, faint), one(d, BOX, [50, 50, 60, 60])), target, strokes.SOLVER)
    assert torch.equal(left.kind, d.kind) and torch.equal(left.points, d.points)


# ---- whole fits ------------------------------------------------------------------------------------------------------

TIPS = [(k * np.pi / 5, 11 if k % 2 else 26) for k in range(10)]
STAR = " ".join(f"{32 + r * np.sin(a):.2f},{32 - r * np.cos(a):.2f}" for a, r in TIPS)
FITTED = {
    "a letter with a hole": '<path d="M12 56 L28 8 L36 8 L52 56 L44 56 L40 44 L24 44 L20 56 Z M26 37 L38 37 L32 18 Z" fill="#246"/>',
    "an ellipse on its side": '<ellipse cx="32" cy="32" rx="25" ry="13" transform="rotate(30 32 32)" fill="#d62"/>',
    "a rounded box": '<rect x="9.5" y="14.3" width="45" height="33" rx="9" fill="#275"/>',
    "a star": f'<polygon points="{STAR}" fill="#e5a50a"/>',
    "a thin ring with a gap": '<path d="M32 10 A22 22 0 1 1 13 21" fill="none" stroke="#306" stroke-width="3"/>',
}  # fmt: skip
SAME = 38  # dB, from which on a person calls two small pictures the same


@pytest.mark.parametrize("name", FITTED)
def test_a_drawing_of_filled_shapes_comes_out_the_same(name):
    image = drawn(FITTED[name])
    d = strokes.fit(image, turns=1)
    assert images.psnr(cairo(to_svg(d)), image) >= SAME
    assert judge.useless_elements(d) == 0
    if name in ("a letter with a hole", "a star"):
        assert d.kind.tolist() == [PATH] and len(elements(d)) == 1 and len(d.points) <= 14


def test_an_outline_takes_the_place_of_strokes_only_where_that_is_cheaper():
    image = drawn(FITTED["a star"])
    fitter = strokes.Fitter(Target(image))
    d = paper(48, 48, WHITE)
    rough = insert(d, one(d, ELLIPSE, [24, 24, 14, 14], 0, torch.tensor([0.9, 0.65, 0.04])))
    end = fitter.outlines(rough)
    assert (end.kind == PATH).all() and knots.cost(end, fitter.target, strokes.SOLVER) < knots.cost(rough, fitter.target, strokes.SOLVER)
    assert fitter.outlines(end) is end and fitter.unless_outlined(None, end) is end  # it is good enough: no stage for strokes touches it
    assert fitter.outlines(d, above=0) is d  # a drawing of no shapes has none to be taken the place of
