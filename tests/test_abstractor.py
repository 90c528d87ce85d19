"""Chapter 07: the trunk against torchvision's, the reading and its gradients, loss, damage, calibration, training, what ships, the lab."""

import copy
import json
import math
import re

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from imggen_core import abstractor as ab
from imggen_core import designs
from imggen_core.kit import zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import InputError
from imggen_core.kit.training import adamw

SMALL = {"size": 32, "n_train": 48, "n_valid": 16, "epochs": 2, "batch_size": 16, "width": 4, "cells": 4, "second_epochs": 1}


def some(n: int = 4, size: int = 32):
    """F_Tensors [n,4,size,size] of valid designs, and what is true of them."""
    _, f, meta = designs.Designs("valid", size, 16)[list(range(n))]
    return f, meta


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return ab.Abstractor(4, 4, size=32).eval()


@pytest.fixture(scope="module")
def shipped():
    return zoo.load("abstractor")


# ---- the network -----------------------------------------------------------------------------------------------------


def test_at_full_width_with_the_published_stem_the_trunk_is_torchvisions_resnet18():
    ours, theirs = ab.resnet18(64, "published").eval(), torchvision.models.resnet18().eval()
    theirs.conv1, theirs.fc = ours.conv1, torch.nn.Identity()
    missing = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not missing.missing_keys and not missing.unexpected_keys
    x = torch.rand(2, 4, 64, 64)
    torch.testing.assert_close(ours(x).mean((2, 3)), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [4, 16, 64])
def test_every_width_has_the_blocks_of_a_resnet18(width):
    trunk = ab.resnet18(width)
    convolutions = [module for module in trunk.modules() if isinstance(module, torch.nn.Conv2d)]
    assert len(convolutions) == 20 and trunk.conv1.in_channels == 4
    assert trunk(torch.rand(2, 4, 64, 64)).shape == (2, 8 * width, 1, 8)


def test_weights_of_photographs_fit_four_channels(tmp_path, monkeypatch):
    weights = torchvision.models.resnet18().state_dict()
    (tmp_path / "checkpoints").mkdir()
    torch.save(weights, tmp_path / "checkpoints" / "resnet18-f37072fd.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    net = ab.Abstractor(64, 4, size=32)
    ab.begin_with(net, ab.weights_on_this_machine())
    assert torch.equal(net.trunk.layer3[1].conv2.weight, weights["layer3.1.conv2.weight"])
    grey = torch.rand(1, 1, 32, 32)
    before = torch.nn.functional.conv2d(grey.expand(-1, 3, -1, -1), weights["conv1.weight"])
    after = torch.nn.functional.conv2d(grey.expand(-1, 4, -1, -1), net.trunk.conv1.weight)
    torch.testing.assert_close(before, after, rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "none"))
    assert ab.weights_on_this_machine() is None


@given(st.lists(st.floats(0, 15), min_size=1, max_size=8))
def test_colours_are_looked_up_as_numpy_interpolates(ids):
    table = ab.log_luminance()
    wanted = np.interp(np.array(ids), np.arange(len(table)), table.numpy())
    np.testing.assert_allclose(ab.look_up(table, torch.tensor(ids)).numpy(), wanted, atol=1e-5)


def test_the_table_is_the_contrast_ratio():
    table = ab.log_luminance().double()
    scale = (table[15] - table[0]) / math.log(designs.contrast_ratio(designs.PALETTE[15] / 255, designs.PALETTE[0] / 255))
    for one in range(15):
        ratio = designs.contrast_ratio(designs.PALETTE[one + 1] / 255, designs.PALETTE[one] / 255)
        assert (table[one + 1] - table[one]) / scale == pytest.approx(math.log(ratio), abs=1e-4)


@pytest.mark.parametrize("shape", [(32, 32), (64, 64), (16, 16), (33, 57), (128, 64)])
def test_any_size_is_read(small, shape):
    f = torch.from_numpy(designs.make_design(1, 3, 128).f_tensor)[None, :, : shape[0], : shape[1]]
    with torch.no_grad():
        said = small.read(f)
    assert [list(part.shape) for part in said] == [[1, 4], [1, 3], [1], [1, 4]]
    assert said.goal.sum() == pytest.approx(1, abs=1e-5) and (0 <= said.grammar).all() and (said.grammar <= 1).all()


def test_resizing_invents_no_colour():
    f = torch.from_numpy(designs.make_design(1, 3, (50, 70)).f_tensor)[None]
    small = ab.resized(f, 32)
    assert small.shape == (1, 4, 32, 32) and set(small[:, 2].unique().tolist()) <= set(f[:, 2].unique().tolist())
    assert ab.resized(small, 32) is small


@pytest.mark.parametrize("layer", range(4))
def test_a_gradient_reaches_every_layer(small, layer):
    f, _ = some(2)
    soft = f.clone()
    soft[:, 2] = (soft[:, 2] + 0.3).clamp(max=15)
    soft.requires_grad_()
    said = small(soft)
    (said.grammar.sum() + said.tone.sum() + said.goal[:, 0].sum()).backward()
    assert soft.grad[:, layer].abs().sum() > 0 and torch.isfinite(soft.grad).all()


@pytest.mark.parametrize("name", ab.LOOKED_AT)
def test_the_slope_is_the_change_for_a_small_change(shipped, name):
    f = torch.from_numpy(designs.make_design(1, 5, shipped.size).f_tensor)[None].double()
    f[:, 2] = (f[:, 2] + 0.4).clamp(max=14.6)  # between two colours, where the table has one slope
    f = f + 0.01 * torch.rand(f.shape, generator=torch.Generator().manual_seed(0), dtype=f.dtype)  # flat places are ties for a max-pool
    exact = copy.deepcopy(shipped).double()
    slope = ab.slope(exact, f, name)
    way = slope / slope.norm()

    def answer(x):
        said = exact(x)
        return said.tone if name == "tone" else said.grammar[:, designs.SCORES.index(name)]

    with torch.no_grad():
        risen = (answer(f + 1e-6 * way) - answer(f - 1e-6 * way)) / 2e-6
    assert risen.item() == pytest.approx(slope.norm().item(), rel=0.01)


@pytest.mark.parametrize("wrong, part", [
    (torch.rand(4, 32, 32), r"\[B,4,H,W\]"), (torch.rand(1, 3, 32, 32), r"\[1, 3, 32, 32\]"), (torch.rand(2, 4, 32, 8), "too small"),
    (torch.full((1, 4, 32, 32), math.nan), "NaN"), (torch.ones(1, 4, 32, 32).byte(), "uint8"),
    (torch.full((1, 4, 32, 32), math.inf), "NaN")])  # fmt: skip
def test_what_is_no_f_tensor_gets_one_line(small, wrong, part):
    with pytest.raises(InputError, match=part) as error:
        small.read(wrong)
    assert "\n" not in str(error.value)


# ---- loss, damage, measures ------------------------------------------------------------------------------------------


def test_the_loss_is_what_its_formula_says():
    _, meta = some(3)
    random = torch.Generator().manual_seed(0)
    said = ab.Reading(*(torch.randn(*shape, generator=random) for shape in ((3, 4), (3, 3), (3,), (3, 4))))
    total = 0.0
    for k in range(3):
        total -= said.goal[k].log_softmax(0)[meta["goal"][k]] + said.format[k].log_softmax(0)[meta["format"][k]]
        total += 24 * (said.tone[k] - meta["tone"][k]) ** 2
        total += sum(w * (said.grammar[k, s] - meta["grammar"][k, s]) ** 2 for s, w in enumerate(ab.WEIGHTS))
    assert ab.reading_loss(said, meta).item() == pytest.approx(total.item() / 3, rel=1e-5)


def test_damage_keeps_colours_and_ranges_and_flat_places():
    f, _ = some(8)
    torch.manual_seed(1)
    hurt = ab.damaged(f)
    assert hurt.shape == f.shape and not torch.equal(hurt, f)
    assert (hurt[:, [0, 1, 3]] >= 0).all() and (hurt[:, [0, 1, 3]] <= 1).all()
    assert all(set(a.unique().tolist()) <= set(b.unique().tolist()) for a, b in zip(hurt[:, 2], f[:, 2], strict=True))
    flat = torch.full((2, 4, 32, 32), 0.0)
    assert torch.equal(ab.damaged(flat)[:, :3], flat[:, :3]), "where nothing changes, there is no edge to damage"


def test_only_the_stated_share_of_a_batch_is_damaged():
    f, _ = some(8)
    torch.manual_seed(3)
    made = ab.varied(f, 0.5)
    kinds = [f.flip(axes) if axes else f for axes in ([], [2], [3], [2, 3])]
    assert any(torch.equal(made[4:], kind[4:]) for kind in kinds)
    assert not any(torch.equal(made[:4], kind[:4]) for kind in kinds)


def test_mirroring_changes_no_score():
    for index in range(20):
        layout = designs.compose(1, index)
        boxes = np.array([(box.x, box.y, box.w, box.h) for box in layout.boxes])
        mirrored = boxes.copy()
        mirrored[:, 0] = 1 - boxes[:, 0] - boxes[:, 2]
        assert designs.alignment(mirrored) == pytest.approx(designs.alignment(boxes), abs=1e-9)


def test_r_squared_is_one_for_the_truth_and_nought_for_the_mean():
    true = torch.rand(30, 4)
    assert torch.allclose(ab.r_squared(true, true), torch.ones(4))
    assert torch.allclose(ab.r_squared(true.mean(0).expand(30, 4), true), torch.zeros(4), atol=1e-5)
    said = true + 0.1 * torch.randn(30, 4)
    wanted = [1 - np.sum((said[:, k] - true[:, k]).numpy() ** 2) / (30 * np.var(true[:, k].numpy())) for k in range(4)]
    assert ab.r_squared(said, true).tolist() == pytest.approx(wanted, rel=1e-4)


def test_calibration_error_by_a_slow_loop():
    random = torch.Generator().manual_seed(2)
    probabilities, label = (3 * torch.randn(500, 4, generator=random)).softmax(1), torch.randint(4, (500,), generator=random)
    confidence, answer = probabilities.max(1)
    total = 0.0
    for b in range(15):
        inside = [k for k in range(500) if b / 15 <= confidence[k] < (b + 1) / 15 or (b == 14 and confidence[k] == 1)]
        total += abs(sum(float(answer[k] == label[k]) - float(confidence[k]) for k in inside)) / 500
    assert ab.expected_calibration_error(probabilities, label) == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(true):
    torch.manual_seed(4)
    logits = 2 * torch.randn(5000, 4)
    label = torch.distributions.Categorical(logits=logits).sample()
    assert ab.fitted_temperature(true * logits, label) == pytest.approx(true, rel=0.1)


def test_covering_hides_a_window_and_nothing_else():
    f, _ = some(8)
    hidden = ab.covered(f)
    changed = (hidden != f).any(1)
    assert torch.equal(hidden, ab.covered(f)) and torch.equal(hidden.permute(0, 2, 3, 1)[~changed], f.permute(0, 2, 3, 1)[~changed])
    blank = (hidden == torch.tensor([0.0, 0.0, designs.BOARD, 0.0]).view(1, 4, 1, 1)).all(1).float().mean((1, 2))
    assert (blank >= 0.4**2 - 0.03).all()


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("abstractor")
    return ab.train(Run("abstractor", {}, folder=folder, quiet=True, precision="float32"), **SMALL), folder


def test_a_training_leaves_what_it_promises(trained):
    net, folder = trained
    results = json.loads((folder / "results.json").read_text())
    assert {"goal_accuracy", "tone_mae", "start", "covered_goal_ece"} <= results.keys() and results["start"] == "random weights"
    assert {f"{score}_{figure}" for score in designs.SCORES for figure in ("mae", "r2")} <= results.keys()
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    kept = zoo.load(folder / "model")
    assert equal(kept.state_dict(), net.state_dict()) and (net.margin > 0).all()
    assert "random weights" in (folder / "model" / "README.md").read_text()


def test_training_learns():
    torch.manual_seed(0)
    f, meta = some(16)
    net = ab.Abstractor(8, 4, size=32)
    opt = adamw(net, 3e-3)
    losses = []
    for _ in range(25):
        loss = ab.reading_loss(net(f), meta)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("wrong", [{"size": 0}, {"n_train": 2}, {"width": 1.5}, {"damage": 2.0}, {"epochs": -1}, {"lr": 0.0},
                                   {"cells": True}])  # fmt: skip
def test_parameters_that_make_no_sense_get_one_line_that_names_them(wrong, tmp_path):
    with pytest.raises(InputError) as error:
        ab.train(Run("abstractor", {}, folder=tmp_path, quiet=True), **SMALL | wrong)
    assert next(iter(wrong)) in str(error.value) and "\n" not in str(error.value)


# ---- what ships ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(shipped):
    return ab.evaluate(shipped)


def test_the_shipped_abstractor_meets_its_criteria(shipped, figures):
    there = {name: bound for name, bound in ab.CRITERIA.items() if name in figures or not name.startswith("end_to_end")}
    for name, (sign, bound) in there.items():
        assert figures[name] >= bound if sign == ">=" else figures[name] <= bound, (name, figures[name])
    assert figures["inside_margin"] == pytest.approx(0.9, abs=0.04)
    assert ab.evaluate(shipped, 60) == ab.evaluate(shipped, 60), "evaluation is deterministic"


def test_the_card_says_what_was_measured(figures):
    card = (zoo.find("abstractor") / "README.md").read_text()
    written = {name: float(value) for name, value in re.findall(r"^\| (\w+) \| (-?[\d.e-]+) \|", card, re.MULTILINE)}
    assert written.keys() == figures.keys()
    assert all(value == pytest.approx(written[name], abs=2e-3) for name, value in figures.items())
    assert "random weights" in card and "synthetic designs" in card


def test_the_shipped_abstractor_follows_a_box_out_of_line(shipped):
    layout = designs.compose(1003, 0, goal="inform", format="poster", disorder=0.0)
    pushed = [layout.nudge(0, dx=dx) for dx in (0.0, 0.03, 0.1)]
    with torch.no_grad():
        said = shipped.read(torch.from_numpy(np.stack([designs.draw(one, shipped.size)[1] for one in pushed]))).grammar[:, 0]
    assert said[0] > said[2] + 0.03


def test_contrast_rises_with_better_ink(shipped):
    layouts = [designs.compose(1001, 4, legibility=value, goal="inform", format="card") for value in (0.0, 0.5, 1.0)]
    with torch.no_grad():
        said = shipped.read(torch.from_numpy(np.stack([designs.draw(one, shipped.size)[1] for one in layouts]))).grammar[:, 1]
    assert said[0] < said[1] < said[2]


def test_every_slider_of_the_shipped_abstractor_moves_the_picture(shipped):
    base = shipped.sample(seed=3)
    assert base.shape == (1, 3, 192, 320) and torch.equal(base, shipped.sample(seed=3))
    assert torch.equal(shipped.sample(2, seed=3)[:1], base)
    changes = {"goal": "showcase", "format": "banner", "tone": 0.1, "disorder": 1.0, "legibility": 0.1, "air": 1.0, "scale": 0.0,
               "looks_at": "contrast"}  # fmt: skip
    assert changes.keys() == shipped.controls.keys()
    for name, value in changes.items():
        other = {"goal": "inform"} if name == "goal" else {"format": "poster"} if name == "format" else {}
        assert (shipped.sample(seed=3, **{name: value}) - shipped.sample(seed=3, **other)).abs().mean() > 0.002, name
    with pytest.raises(InputError, match="tone"):
        shipped.sample(tone=2)
    with pytest.raises(InputError, match="colour"):
        ab.slope(shipped, some(1, shipped.size)[0], "colour")


@pytest.mark.parametrize("width", [0, -3, 1.5])
def test_a_width_that_is_none_gets_one_line(width):
    with pytest.raises(InputError, match="width=.*whole number"):
        ab.Abstractor(width)
