"""Exercise checks, both ways: right answers pass, each kind of wrong answer is named with where, by how much and a hint."""

import itertools
import math
import random
import time

import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nbclient import NotebookClient
from torch import nn

from imggen_core.kit.checks import agrees_with, check, difference, holds


def blend(x, y, amount=0.5):
    return x * (1 - amount) + y * amount


X = torch.arange(12.0).reshape(3, 4)
Y = torch.ones(3, 4)
AGREES = agrees_with(blend, [(X, Y), (X, Y, 0.25)], hint="the second picture counts `amount`")


# ---- answers that are right


def another_way(x, y, amount=0.5):
    return torch.lerp(x, y, amount)


def with_other_names(a, b, c=0.5):
    a = a.clone()
    a *= 1 - c
    return a.add_(b, alpha=c)


def with_ellipsis_indexing(x, y, amount=0.5):
    return x[..., :] * (1 - amount) + y[..., :] * amount


@pytest.mark.parametrize("answer", [blend, another_way, with_other_names, with_ellipsis_indexing, lambda x, y, a=0.5: x + a * (y - x)])
def test_right_answers_are_accepted(answer, capsys):
    assert check(answer, AGREES, title="blend") is True
    assert capsys.readouterr().out == "✓ blend: agrees with the reference\n"


# ---- answers that are wrong, and what must be said about them


def wrong_shape(x, y, amount=0.5):
    return blend(x, y, amount).sum(0)


def wrong_dtype(x, y, amount=0.5):
    return blend(x, y, amount).double()


def some_nan(x, y, amount=0.5):
    result = blend(x, y, amount)
    result[1, 2] = math.nan
    return result


def infinite(x, y, amount=0.5):
    result = blend(x, y, amount)
    result[2, 0] = math.inf
    return result


def slightly_off(x, y, amount=0.5):
    result = blend(x, y, amount)
    result[2, 3] += 0.001
    return result


def wrong_only_for_the_second_input(x, y, amount=0.5):
    return blend(x, y)


def raises(x, y, amount=0.5):
    z = x * (1 - amount)
    return z @ y


def raises_deep_inside(x, y, amount=0.5):
    return torch.stack([row @ y for row in x])


def changes_its_input(x, y, amount=0.5):
    x *= 1 - amount
    return x + y * amount


def returns_nothing(x, y, amount=0.5):
    blend(x, y, amount)


def returns_a_number(x, y, amount=0.5):
    return 3.5


def returns_an_array(x, y, amount=0.5):
    return blend(x, y, amount).numpy()


def takes_too_few(x):
    return x


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (wrong_shape, ["its shape is [4], expected [3, 4]"]),
        (wrong_dtype, ["its dtype is float64, expected float32"]),
        (some_nan, ["1 value of 12 is NaN, the first at [1, 2]"]),
        (infinite, ["it differs by up to inf at [2, 0]: inf, expected 4.5; 1 of 12 values are off"]),
        (slightly_off, ["it differs by up to 0.001 at [2, 3]: 6.001, expected 6; 1 of 12 values are off"]),
        (wrong_only_for_the_second_input, ["it differs by up to 2.5 at [2, 3]: 6, expected 8.5", "amount = 0.25"]),
        (raises, ["mat1 and mat2 shapes cannot be multiplied", ": return z @ y"]),
        (raises_deep_inside, ["it raised RuntimeError", ": return torch.stack([row @ y for row in x])"]),
        (changes_its_input, ["it changes its argument x in place: work on a copy, such as x.clone()"]),
        (returns_nothing, ["it returned nothing: is a `return` missing?"]),
        (returns_a_number, ["it is 3.5, expected a tensor of shape [3, 4]"]),
        (returns_an_array, ["it is an array [3, 4] float32", "expected a tensor of shape [3, 4]"]),
        (takes_too_few, ["it raised TypeError: takes_too_few() takes 1 positional argument but 2 were given"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_wrong_answers_are_rejected_with_what_is_wrong(answer, said, capsys):
    assert check(answer, AGREES) is False
    first, on, hint = capsys.readouterr().out.splitlines()
    assert first.startswith(f"✗ {answer.__name__}: agrees with the reference — ")
    assert on.startswith("    on: ") and hint == "    hint: the second picture counts `amount`"
    for words in said:
        assert words in first + on
    assert "AssertionError" not in first


def test_the_line_of_an_exception_is_the_learners(capsys):
    check(raises, AGREES)
    line = raises.__code__.co_firstlineno + 2
    assert f"in line {line}: return z @ y" in capsys.readouterr().out


def test_what_pytorch_has_not_implemented_is_no_hole(capsys):
    def share(x, y, amount=0.5):
        return (x > y).mean()

    assert check(share, AGREES) is False
    assert capsys.readouterr().out.startswith("✗ share: agrees with the reference — it raised")


def test_on_what_it_failed_is_what_the_function_was_called_with(capsys):
    def doubled(picture):
        return picture

    check(doubled, holds("it doubles", lambda f, name, wanted: f(torch.tensor([wanted / 2])).item() == wanted, [("the first", 4.0)]))
    assert "    on: picture = a tensor [2.]" in capsys.readouterr().out


def test_after_an_exception_every_hint_that_may_help_is_given(capsys):
    check(raises, AGREES, holds("it is a mean", lambda f: True, hint="look at the shapes"), holds("no hint", lambda f: True))
    assert capsys.readouterr().out.count("    hint: ") == 2


# ---- holes


def hole(x, y, amount=0.5):
    """Blend two pictures."""
    ...  # your code here  # noqa: PIE790


def hole_in_the_middle(x, y, amount=0.5):
    share = ...  # your code here
    return x * share + y * amount


def hole_before_a_name(x, y, amount=0.5):
    ...  # your code here  # noqa: PIE790
    return blended  # noqa: F821


def hole_returned(x, y, amount=0.5):
    return ...


def only_pass(x, y, amount=0.5):
    pass


def not_implemented(x, y, amount=0.5):
    raise NotImplementedError


class ModuleWithHole(nn.Module):
    def forward(self, x): ...  # your code here


@pytest.mark.parametrize("answer", [hole, hole_in_the_middle, hole_before_a_name, hole_returned, only_pass, not_implemented])
def test_a_hole_is_said_to_be_unfilled_and_nothing_raises(answer, capsys):
    assert check(answer, AGREES, holds("any", lambda f, x: f(x, x) is not None, [X])) is False
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith(f"○ {answer.__name__}: not filled in yet")


def test_a_hole_names_its_line(capsys):
    check(hole, AGREES)
    assert "(line 3 still holds the ...)" in capsys.readouterr().out


def test_a_class_with_a_hole_is_unfilled_too(capsys):
    assert not check(ModuleWithHole, holds("doubles", lambda cls, x: torch.equal(cls()(x), 2 * x), [X]))
    assert capsys.readouterr().out.startswith("○ ModuleWithHole: not filled in yet")


def test_a_function_without_source_that_returns_nothing_is_unfilled(capsys):
    space = {}
    exec("def typed(x, y, amount=0.5):\n    ...\n", space)
    assert not check(space["typed"], AGREES)
    assert capsys.readouterr().out == "○ typed: not filled in yet\n"


def test_functions_of_notebook_cells_are_read_and_placed_like_any_other():
    """In a real kernel: a hole, an exception with its line in the cell, a forgotten return, and the right answer."""
    start = "from imggen_core.kit.checks import agrees_with, check\nimport torch\ndouble = agrees_with(lambda x: 2 * x, [torch.ones(2)])"
    answers = {
        "...  # your code here": "○ f: not filled in yet (line 2 still holds the ...)",
        "y = 2 * x\n    return y.no_such_name": "in line 3: return y.no_such_name",
        "2 * x": "✗ f: agrees with the reference — it returned nothing: is a `return` missing?",
        "return x + x": "✓ f: agrees with the reference",
    }
    cells = [start, *(f"def f(x):\n    {answer}\ncheck(f, double)" for answer in answers)]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    for cell, said in zip(notebook.cells[1:], answers.values(), strict=True):
        assert said in cell.outputs[0].text


# ---- properties


def test_every_property_gets_its_line(capsys):
    properties = (
        holds("keeps the shape", lambda f, x, y: f(x, y).shape == x.shape, [(X, Y)]),
        holds("is symmetric", lambda f, x, y: None if torch.equal(f(x, y), f(y, x)) else "it changes when swapped", {"ramp, ones": (X, Y)}),
        holds("ends on y", lambda f, x, y: f(x, y, 1.0).allclose(x), [(X, Y)], hint="amount = 1 gives y"),
    )
    assert not check(blend, *properties)
    assert capsys.readouterr().out.splitlines()[:3] == [
        "✓ blend: keeps the shape",
        "✓ blend: is symmetric",
        "✗ blend: ends on y — it does not hold",
    ]


def test_a_message_and_a_label_are_printed(capsys):
    mean = holds(
        "has mean 1", lambda f, x: None if f(x, x).mean() == 1 else f"the mean is {f(x, x).mean():.2f}", {"a ramp of 12": X}, "divide"
    )
    assert not check(blend, mean)
    assert capsys.readouterr().out == "✗ blend: has mean 1 — the mean is 5.50\n    on: a ramp of 12\n    hint: divide\n"


def test_a_property_without_inputs_runs_once(capsys):
    assert check(blend, holds("is callable", lambda f: callable(f)))


def test_what_cannot_be_judged_is_said_not_raised(capsys):
    assert not check(lambda x: "text", holds("is positive", lambda f, x: (f(x) > 0).all(), [X]), title="sign")
    assert "✗ sign: is positive — its result could not be judged: TypeError" in capsys.readouterr().out


def test_answers_that_cannot_be_weighed_have_no_end_or_leave_are_said_not_raised(capsys):
    def leaves(x):
        raise SystemExit(3)

    for answer, said in [
        (lambda x: np.zeros(3), "could not be judged: ValueError"),
        (lambda x: torch.zeros(2), "could not be judged: RuntimeError"),
        (lambda x: itertools.count(), "returned a count, which gives its values one by one: return a list"),
        (leaves, "it raised SystemExit: 3"),
    ]:
        assert not check(answer, holds("true", lambda f, x: f(x), [1]), holds("short", lambda f, x: len(list(f(x))) < 3, [1]))
        assert said in capsys.readouterr().out


def test_a_predicate_that_hides_the_learners_exception_does_not_pass(capsys):
    def careless(f, x, y):
        try:
            f(x, y)
        except Exception:
            return None

    assert not check(raises, holds("runs", careless, [(X, Y)]))
    assert "it raised RuntimeError" in capsys.readouterr().out


# ---- fairness


def add_noise(x):
    return x + torch.randn(x.shape) + random.random() + np.random.rand()


def test_the_answer_draws_the_noise_of_the_reference_and_the_random_state_stays(capsys):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert check(lambda x: torch.randn_like(x) + x + random.random() + np.random.rand(), agrees_with(add_noise, [X]), title="noise")
    assert torch.equal(torch.get_rng_state(), before)
    assert not check(lambda x: x + torch.rand(x.shape), agrees_with(add_noise, [X]), title="noise")


def test_a_generator_among_the_arguments_is_fresh_for_both():
    def draw(n, generator):
        return torch.rand(n, generator=generator)

    generator = torch.Generator().manual_seed(1)
    assert check(lambda n, generator: torch.rand(n, generator=generator), agrees_with(draw, [(4, generator)]), title="draw")


def test_inputs_are_the_same_for_every_check_even_after_a_vandal(capsys):
    x = torch.ones(3)
    assert not check(lambda x: x.mul_(0), agrees_with(lambda x: x * 0, [x]), title="vandal")
    assert torch.equal(x, torch.ones(3))


def test_gradients_reach_the_input():
    def slope(f, x):
        (gradient,) = torch.autograd.grad(f(x).sum(), x)
        return torch.equal(gradient, 2 * x)

    x = torch.arange(3.0, requires_grad=True)
    assert check(lambda x: x * x, holds("has the gradient 2x", slope, [x]), title="square")
    assert not check(lambda x: x.detach() * x, holds("has the gradient 2x", slope, [x]), title="square")


@pytest.mark.parametrize("inputs", [X, np.ones(3), "text", 3])
def test_inputs_that_are_no_list_are_an_authors_error(inputs):
    with pytest.raises(TypeError, match="inputs is a list"):
        agrees_with(blend, inputs)


def test_no_inputs_are_an_authors_error():
    with pytest.raises(ValueError, match="at least one input"):
        holds("anything", lambda f: True, [])


# ---- difference


@pytest.mark.parametrize(
    ("given_value", "expected", "said"),
    [
        (1.0, 1.0, None),
        (1, 1.0, None),
        (torch.tensor(2.5), 2.5, None),
        (np.float32(2.5), 2.5, None),
        (math.nan, math.nan, None),
        (2.0, 2.5, "it is 2, expected 2.5 (off by 0.5)"),
        (True, 1.0, "expected a float"),
        ("2.5", 2.5, "it is '2.5', expected a float"),
        ([1, 2], (1, 2), None),
        ([1, 3], (1, 2), "item 1: it is 3, expected 2"),
        ([1], (1, 2), "it has 1 items, expected 2"),
        ({"a": torch.ones(2)}, {"a": torch.zeros(2)}, "'a': it differs by up to 1 at [0]"),
        ({"a": 1}, {"b": 1}, "its keys are ['a'], expected ['b']"),
        ("circle", "rectangle", "it is 'circle', expected 'rectangle'"),
        (torch.tensor([1, 2]), torch.tensor([1, 2]), None),
        (torch.tensor([True]), torch.tensor([False]), "it differs by up to 1 at [0]"),
        (torch.zeros(0), torch.zeros(0), None),
        (np.array(["a"]), np.array(["b"]), "its values differ"),
        (np.ones(2), np.ones(3), "its shape is [2], expected [3]"),
        (torch.tensor([math.inf, math.nan]), torch.tensor([math.inf, math.nan]), None),
        (torch.tensor([math.inf]), torch.tensor([-math.inf]), "it differs by up to inf at [0]"),
        (torch.tensor([1.0]), torch.tensor([math.nan]), "it differs by up to inf at [0]: 1, expected nan"),
        (torch.tensor([1 + 1j]), torch.tensor([1 + 2j]), "it differs by up to 1 at [0, 1]"),
    ],
)
def test_difference(given_value, expected, said):
    found = difference(given_value, expected)
    assert found is None if said is None else said in found


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.integers(0, 19), st.floats(1e-8, 1e3))
def test_difference_finds_exactly_what_is_beyond_the_tolerance(values, where, off):
    expected = torch.tensor(values, dtype=torch.float64)
    found = expected.clone()
    found[where % len(values)] += off
    really = (found - expected).abs() > 1e-5 * (1 + expected.abs())
    assert (difference(found, expected) is not None) == bool(really.any())
    assert difference(expected, expected, 0.0) is None


def test_a_check_of_large_pictures_is_quick():
    picture = torch.rand(3, 512, 512)
    started = time.process_time()
    check(lambda x: x * 2, agrees_with(lambda x: x + x, [picture]), title="double")
    assert time.process_time() - started < 2
