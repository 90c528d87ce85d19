"""What chapter 02 stands on: tiles, fits through points, edits' geometry, finishing, the file and its judge."""

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from shapes import INK, WHITE, along, drawing, paper, parts, shape

from imggen_core import strokes
from imggen_core.kit import images, training
from imggen_core.strokes import Target, render
from imggen_core.tracing import curves, edits, finishing, nearest, tiles, welding
from imggen_core.tracing.document import cairo, elements, to_svg
from imggen_core.tracing.drawing import BOX, CURVE, ELLIPSE, FRAME, FREE, LINE, RING, insert, one, pick


@pytest.fixture(autouse=True)
def one_thread():
    with training.one_thread():
        yield


point = st.floats(-20, 60, allow_nan=False, width=32)


# ---- tiles -----------------------------------------------------------------------------------------------------------


@given(st.lists(point, min_size=6, max_size=6), st.integers(0, 2**30))
@settings(max_examples=60)
def test_nearest_t_finds_a_point_no_further_than_brute_force_does(numbers, seed):
    a, b = np.array(numbers[2:4]) - numbers[:2], np.array(numbers[4:]) - numbers[2:4]
    if a @ b < 0:  # on a hairpin other points of the curve are almost as near, and one of them will do: turn it open
        numbers = [*numbers[:4], *(np.array(numbers[2:4]) - b).tolist()]
    assume(a @ b != 0)
    where = torch.rand(1, 256, 2, generator=torch.Generator().manual_seed(seed)) * 16 + 12
    s = torch.tensor([[*numbers, 2.0]])
    x, y = where[..., 0], where[..., 1]
    t = nearest.nearest_t(s, x, y)[0, :, None].double().numpy()
    n, places = np.array(numbers), where[0].double().numpy()
    mine = np.linalg.norm((1 - t) ** 2 * n[:2] + 2 * t * (1 - t) * n[2:4] + t * t * n[4:6] - places, axis=1)
    best = cKDTree(along(CURVE, numbers)).query(places)[0]
    assert t.min() >= 0 and t.max() <= 1
    assert (mine - best)[best < 4].max(initial=0) < 0.3  # only near the stroke does it decide what is painted


SIZES = [(1, 1), (15, 17), (17, 1), (16, 33), (180, 15), (181, 47)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_to_tiles_and_back_changes_nothing(size):
    image = torch.rand(3, size[1], size[0])
    cut = tiles.to_tiles(image)
    assert cut.shape == (len(tiles.tile_corners(*size)), 3, 256)
    assert torch.equal(tiles.from_tiles(cut, *size), image)
    assert cut.sum().item() == pytest.approx(image.sum().item(), rel=1e-4)


@given(st.sampled_from(range(6)), st.lists(point, min_size=6, max_size=6), st.floats(0.3, 12), st.booleans())
@settings(max_examples=150)
def test_no_tile_with_ink_is_left_out(kind, numbers, width, rounded):
    d = one(paper(48, 48), kind, numbers, width if FREE[kind, 6] else 0, None, rounded)
    d = strokes.apply_step(d, torch.tensor([True]), torch.zeros(1, 10))  # numbers in range
    legs = np.diff(np.reshape(numbers[: 6 if kind == CURVE else 4], (-1, 2)), axis=0)
    bends = np.linalg.norm(legs, axis=1)
    assume(kind < LINE or bends.min() > 0.5)  # a stroke of no length has no direction
    assume(kind != CURVE or legs[0] @ legs[-1] > -0.999 * bends[0] * bends[-1])  # nor has a curve where it turns back upon itself
    radii = d.shape[0, 2:4]
    assume(kind not in (ELLIPSE, RING) or (radii.max() < 5 * radii.min() and radii.min() > width))  # the distance is first-order
    corners = tiles.tile_corners(48, 48)
    x, y = tiles.pixel_centres(corners)
    ink = strokes.coverage(d, torch.zeros(len(corners), dtype=torch.long), x, y).amax(1) > 1e-4
    asked = torch.zeros(len(corners), dtype=torch.bool)
    asked[tiles.pairs(d, corners)[0]] = True
    assert not (ink & ~asked).any()


def test_most_tiles_beside_a_diagonal_or_inside_a_frame_are_left_out():
    d = paper(320, 320)
    most = {LINE: 80, FRAME: 80, RING: 200, CURVE: 80}  # of 400
    numbers = {LINE: [5, 5, 315, 315], FRAME: [5, 5, 315, 315], RING: [160, 160, 150, 150], CURVE: [5, 5, 155, 165, 315, 315]}
    for kind in most:
        assert 0 < len(tiles.pairs(one(d, kind, numbers[kind], 2), tiles.tile_corners(320, 320))[0]) <= most[kind]


# ---- fits through points ---------------------------------------------------------------------------------------------


def test_line_curve_and_ellipse_fits_are_exact_on_exact_data():
    chance = np.random.default_rng(4)
    for _ in range(10):
        segment = chance.uniform(0, 50, 4)
        found, off = curves.fit_line(np.linspace(segment[:2], segment[2:], 30))
        assert np.allclose(found, segment, atol=1e-6) and off.max() < 1e-6
        numbers = shape(CURVE, chance)[0]
        points = along(CURVE, numbers)[::40]
        found, off = curves.fit_curve(points, 40)
        assert cKDTree(along(CURVE, found)).query(points)[0].max() < 0.5 and off[2:-2].max() < 0.05
        e = np.concatenate([chance.uniform(10, 40, 2), chance.uniform(3, 20, 2)])
        found, off = curves.fit_ellipse(along(RING, e)[::100])
        assert np.allclose(found, e, atol=1e-6) and off.max() < 1e-6


def test_points_on_a_hyperbola_are_no_ellipse():
    t = np.linspace(-1.5, 1.5, 40)
    assert curves.fit_ellipse(np.stack([5 * np.cosh(t), 8 * np.sinh(t)], 1) + 20) is None


@pytest.mark.parametrize("kind", [LINE, CURVE])
def test_an_extended_stroke_runs_on_along_itself_to_the_point(kind):
    whole = np.array([3.0, 5, 37, 30]) if kind == LINE else np.array([3.0, 5, 20, 40, 38, 12])
    points = along(kind, whole)
    middle = points[600:1401]
    cut = np.array([*middle[0], *middle[-1]]) if kind == LINE else curves.fit_curve(middle[::20], 60)[0]
    d = one(paper(), kind, cut, 2)
    for end in (0, -1):
        longer = along(kind, edits.extended(d, 0, points[end]))
        distances = cKDTree(longer).query(points[:1401] if end == 0 else points[600:])[0]
        assert distances.max() < 0.5 and np.linalg.norm(longer[end] - points[end]) < 0.5
    inside = edits.extended(d, 0, middle[400])
    assert np.allclose(inside, cut, atol=1e-4)  # never shorter


def test_a_longest_prefix_is_within_the_tolerance_and_nothing_is_lost():
    way = np.concatenate([along(CURVE, [2, 30, 20, -20, 38, 30])[::20], along(CURVE, [38, 30, 60, 70, 80, 10])[1::20]])
    pieces = curves.longest_prefixes(way, 0.9)
    assert 2 <= len(pieces) <= 3
    assert np.array_equal(np.concatenate([pieces[0], *(p[1:] for p in pieces[1:])]), way)
    assert all(curves.fit_curve(p)[1].max() < 0.9 for p in pieces)


# ---- finishing -------------------------------------------------------------------------------------------------------


def test_shapes_in_the_wrong_order_are_put_right():
    d = drawing(12, 8)
    target = Target(render(d))
    wrong = pick(d, [0, 1, 3, 2, 4, 5, 7, 6])
    assert strokes.squared_error(finishing.reorder(wrong, target, strokes.SOLVER), target) < 0.1 < strokes.squared_error(wrong, target)


# ---- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_the_file_is_xml_with_plain_decimals_and_draws_the_drawing(seed):
    d = drawing(seed, 16, 61, 47)
    d = replace(d, shape=d.shape.clone())
    d.shape[0, 0] = 1e-7
    text = to_svg(d)
    root = ET.fromstring(text)
    assert (root.get("width"), root.get("height")) == ("61", "47")
    values = [v for node in root.iter() for name, v in node.attrib.items() if name not in ("fill", "stroke", "stroke-linecap")]
    numbers = [n for v in values for n in re.split(r"[\s,MLQ]+", v) if n]
    assert len(numbers) > 60 and all(re.fullmatch(r"-?\d+(\.\d{1,3})?|100%|round", n) for n in numbers)
    assert images.psnr(cairo(text), render(d)) > 33


def test_a_fill_beneath_its_outline_is_one_element_unless_something_lies_between():
    d = paper(60, 60, WHITE)
    for kind, outline in ((BOX, FRAME), (ELLIPSE, RING)):
        numbers = [10, 12, 50, 44] if kind == BOX else [30, 28, 20, 14]
        fill, line = one(d, kind, numbers, 0, INK), one(d, outline, numbers, 3, torch.tensor([0.9, 0.5, 0.0]))
        both = insert(insert(d, fill), line)
        between = insert(both, one(d, LINE, [0, 0, 60, 55], 4, torch.tensor([0.0, 1.0, 0.0])), 1)
        assert [who for _, who in elements(both)] == [[0, 1]]
        assert len(elements(between)) == 3
        assert images.psnr(cairo(to_svg(both)), render(both)) > 36
        assert images.psnr(cairo(to_svg(between)), render(between)) > 33


@pytest.mark.parametrize("rounded", [False, True])
def test_strokes_that_follow_one_another_are_one_path_of_the_same_ink(rounded):
    d = paper(60, 60, WHITE)
    for kind, numbers in ((LINE, [5, 50, 20, 15]), (CURVE, [20, 15, 30, -5, 40, 15]), (LINE, [40, 15, 55, 50])):
        d = insert(d, one(d, kind, numbers, 2, INK, rounded))
    ((text, who),) = elements(d)
    assert who == [0, 1, 2] and text.count("M") == 1 and "L" in text and "Q" in text
    assert images.psnr(cairo(to_svg(d)), render(d)) > 33
    apart = replace(d, colour=torch.stack([INK, 1 - INK, INK]))
    assert len(elements(apart)) == 3


def test_welding_joins_ends_that_nearly_meet_and_not_those_that_do_not():
    d = parts((LINE, [5, 50, 30, 10], 3), (LINE, [30.4, 10.3, 55, 50], 3), (LINE, [5, 56, 55, 56], 1))
    whole = parts((LINE, [5, 50, 30.2, 9.8], 3), (LINE, [30.2, 9.8, 55, 50], 3), (LINE, [5, 56, 55, 56], 1))
    goal = cairo(to_svg(whole))
    end = welding.weld(d, goal, 8 * strokes.PRICE)
    assert len(elements(d)) == 3 and len(elements(end)) == 2
    assert welding.file_error(end, goal) <= welding.file_error(d, goal) + 0.1


@pytest.mark.parametrize("f, g", itertools.product((0, 1), repeat=2))
def test_welded_strokes_meet_in_one_point_whichever_ends_they_are(f, g):
    a, b = np.array([5.0, 50, 30, 10]), np.array([30.4, 10.3, 44, 20, 55, 50])
    a = a if f else a[[2, 3, 0, 1]]
    b = b if g == 0 else b[[4, 5, 2, 3, 0, 1]]
    d = parts((LINE, a, 2), (CURVE, b, 2))
    new = welding.welded(d, 0, f, 1, g)
    assert len(elements(new)) == 1
    assert images.psnr(cairo(to_svg(new)), cairo(to_svg(d))) > 24


# ---- the judge -------------------------------------------------------------------------------------------------------
