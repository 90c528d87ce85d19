"""Chapter 05: the U-Net keeps shapes, its losses are their formulas, training resumes to the bit, and what ships reads held-out designs."""

import json
import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from imggen_core import designs, unet
from imggen_core.kit import zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import ROOT, InputError

C = len(designs.COLOURS)
SMALL = {"image_size": 40, "train_designs": 48, "valid_designs": 16, "test_designs": 8, "epochs": 3, "batch_size": 8, "width": 4}


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def structure(b=2, h=5, w=7, seed=0):
    """A random F_Tensor [b,4,h,w]."""
    parts = random(4, b, h, w, seed=seed)
    return torch.stack([parts[0].round(), (parts[1] * 0.7).round(), (parts[2] * C).floor(), parts[3]], 1)


def network(**given):
    torch.manual_seed(0)
    return unet.UNet(4, **given).eval()


def small_run(folder, **given) -> Run:
    return Run("unet", {}, folder=folder, device="cpu", precision="float32", quiet=True, **given)


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- the network -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 3))
@settings(max_examples=15)
def test_any_height_and_width_comes_out_as_it_went_in(h, w, b):
    with torch.no_grad():
        assert network()(random(b, 3, h, w)).shape == (b, 3 + C, h, w)


@torch.no_grad()
def test_an_odd_size_is_read_as_its_padded_picture():
    net, picture = network(), random(1, 3, 21, 35)
    by_hand = torch.cat([picture, picture[..., -1:].expand(-1, -1, -1, 13)], 3)
    by_hand = torch.cat([by_hand, by_hand[:, :, -1:].expand(-1, -1, 11, -1)], 2)
    assert by_hand.shape == (1, 3, 32, 48) and torch.equal(unet.padded(picture), by_hand)
    torch.testing.assert_close(net(picture), net(by_hand)[:, :, :21, :35], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_picture_is_read_the_same_whatever_its_batch_mates_are():
    net, pictures = network(), random(3, 3, 32, 32)
    torch.testing.assert_close(net(pictures)[1:2], net(pictures[1:2]), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_each_skip_connection_carries_its_own_level():
    picture = random(1, 3, 32, 32)
    for k in (1, 2, 3, 4):
        net, cut = network().train(), network(skips=tuple({1, 2, 3, 4} - {k})).train()  # an untrained network is too faint in eval
        assert sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in cut.parameters()) == 9 * (4 * 2 ** (k - 1)) ** 2
        assert cut(picture).shape == net(picture).shape
        remembered = slice(0, 4 * 2 ** (k - 1))
        before = net(picture)
        net.up[k - 1][0].weight[:, remembered] = 0  # deaf to the connection: the answer must change
        assert not torch.allclose(net(picture), before)


def test_a_single_pixel_reaches_the_other_end_of_the_picture_only_through_the_lowest_level():
    net = network()
    picture = random(1, 3, 64, 64).requires_grad_()
    net(picture)[0, 0, 0, 0].backward()
    reach = picture.grad.abs().sum((0, 1)).nonzero().max(0).values
    assert (reach > 30).all(), "the network must see far"


def test_the_constructors_arguments_survive_a_saving(tmp_path):
    net = network(skips=(1, 3), size=48)
    zoo.save(net, tmp_path / "m", "> a test")
    loaded = zoo.load(tmp_path / "m")
    assert loaded.skips == (1, 3) and loaded.size == 48 and equal(loaded.state_dict(), net.state_dict())


# ---- to_f_tensor -----------------------------------------------------------------------------------------------------


def test_the_f_tensor_holds_probabilities_the_likeliest_colour_and_a_clamped_hierarchy():
    output = 4 * torch.randn(2, 3 + C, 5, 7, generator=torch.Generator().manual_seed(0))
    answer = unet.to_f_tensor(output)
    assert answer.shape == (2, 4, 5, 7) and answer.dtype == torch.float32
    torch.testing.assert_close(answer[:, :2], 1 / (1 + (-output[:, :2]).exp()))
    assert torch.equal(answer[:, 2], output[:, 2:-1].argmax(1).float())
    assert torch.equal(answer[:, 3], output[:, -1].clamp(0, 1))


def test_every_channel_of_the_f_tensor_lets_gradient_through_and_keeps_its_value():
    output = torch.randn(1, 3 + C, 4, 4, generator=torch.Generator().manual_seed(1)).mul_(0.4).requires_grad_()
    answer = unet.to_f_tensor(output)
    assert torch.equal(answer.detach(), unet.to_f_tensor(output.detach()))
    weight = random(1, 1, 4, 4)
    (answer[:, 2:3] * weight).sum().backward()
    ids = torch.arange(C, dtype=torch.float32).view(1, -1, 1, 1)
    soft = output.detach().clone().requires_grad_()
    ((soft[:, 2:-1].softmax(1) * ids).sum(1, keepdim=True) * weight).sum().backward()
    torch.testing.assert_close(output.grad, soft.grad)


# ---- losses ----------------------------------------------------------------------------------------------------------


def slow_dice(p, g) -> float:
    """By loops, one mask after the other."""
    ratios = []
    for k in range(p.shape[1]):
        both = total = 0.0
        for a, b in zip(p[:, k].flatten().tolist(), g[:, k].flatten().tolist(), strict=True):
            both, total = both + a * b, total + a + b
        ratios.append((2 * both + 1) / (total + 1))
    return 1 - sum(ratios) / len(ratios)


@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=25)
def test_dice_is_its_formula_and_lies_between_0_and_1(seed, b, k):
    p, g = random(b, k, 4, 5, seed=seed), random(b, k, 4, 5, seed=seed + 1).round()
    loss = unet.dice_loss(p, g).item()
    assert loss == pytest.approx(slow_dice(p, g), abs=1e-5) and 0 <= loss <= 1


def test_dice_at_its_ends():
    ones = torch.ones(2, 2, 64, 64)
    assert unet.dice_loss(ones, ones) < 1e-6 and unet.dice_loss(0 * ones, 0 * ones) < 1e-6
    assert unet.dice_loss(0 * ones, ones) > 0.999 and unet.dice_loss(ones, 0 * ones) > 0.999
    assert unet.dice_loss(ones, ones.bool()) < 1e-6, "a mask may be boolean"


def slow_composite(output, f_tensor, alpha) -> float:
    output, f_tensor = output.double().numpy(), f_tensor.double().numpy()
    dice = slow_dice(torch.from_numpy(1 / (1 + np.exp(-output[:, :2]))), torch.from_numpy(f_tensor[:, :2]))
    entropies, squares = [], []
    b, _, h, w = output.shape
    for i, y, x in np.ndindex(b, h, w):
        logits = output[i, 2:-1, y, x]
        entropies.append(math.log(np.exp(logits).sum()) - logits[int(f_tensor[i, 2, y, x])])
        squares.append((output[i, -1, y, x] - f_tensor[i, 3, y, x]) ** 2)
    return alpha[0] * dice + alpha[1] * np.mean(entropies) + alpha[2] * np.mean(squares)


@pytest.mark.parametrize("alpha", [(1.0, 0.5, 1.0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 3.0, 7.0)])
def test_the_composite_loss_is_its_formula(alpha):
    output, truth = torch.randn(2, 3 + C, 5, 7, generator=torch.Generator().manual_seed(3)), structure()
    assert unet.composite_loss(output, truth, alpha).item() == pytest.approx(slow_composite(output, truth, alpha), rel=1e-5)
    if alpha == (1.0, 0.5, 1.0):
        assert unet.composite_loss(output, truth) == unet.composite_loss(output, truth, alpha), "these are the default weights"


def test_the_loss_is_computed_in_float32_whatever_the_network_computed_in():
    output, truth = torch.randn(2, 3 + C, 32, 32, generator=torch.Generator().manual_seed(3)), structure(2, 32, 32)
    half = unet.composite_loss(output.bfloat16(), truth)
    assert half.dtype == torch.float32 and half == unet.composite_loss(output.bfloat16().float(), truth)


def test_masks_of_another_size_get_one_line():
    output = torch.zeros(2, 3 + C, 8, 8)
    for wrong in (structure(2, 8, 4), structure(1, 8, 8), structure(2, 8, 8)[0]):
        for loss in (lambda o, f: unet.composite_loss(o, f), lambda o, f: unet.dice_loss(o[:, :2], f[..., :2, :, :])):
            with pytest.raises(InputError) as error:
                loss(output, wrong)
            assert "\n" not in str(error.value) and "size" in str(error.value)


# ---- measures --------------------------------------------------------------------------------------------------------


class Oracle(torch.nn.Module):
    """Answers with the truth of `data`, wrong where `spoil` [N,H,W] says so."""

    def __init__(self, data, spoil=None):
        super().__init__()
        self.nothing, self.at = torch.nn.Parameter(torch.zeros(1)), 0
        f = data[list(range(len(data)))][1]
        colour = F.one_hot(f[:, 2].long(), C).permute(0, 3, 1, 2).float()
        masks = f[:, :2] if spoil is None else (f[:, :2] - spoil[:, None].float()).abs()
        self.output = torch.cat([20 * masks - 10, 20 * colour, f[:, 3:]], 1)

    def forward(self, pictures):
        self.at, begun = self.at + len(pictures), self.at
        return self.output[begun : self.at]


def test_measures_are_those_of_counting_pixel_by_pixel():
    data = designs.Designs("valid", 32, 16)
    perfect = unet.measure(Oracle(data), data)
    assert (perfect["text_iou"], perfect["image_iou"], perfect["colour_accuracy"]) == (1, 1, 1)
    assert perfect["hierarchy_mse"] == 0 and perfect["loss"] < 0.01
    spoil = random(16, 32, 32) < 0.05
    found = unet.measure(Oracle(data, spoil), data)
    truth = data[list(range(16))][1][:, 0].bool()
    seen = truth ^ spoil
    assert found["text_iou"] == pytest.approx((seen & truth).sum().item() / (seen | truth).sum().item())
    assert found["colour_accuracy"] == 1


def test_measuring_disturbs_neither_mode_nor_statistics():
    net, data = network(), designs.Designs("valid", 32, 16)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    net.train()
    unet.measure(net, data)
    assert net.training and equal(net.state_dict(), before)
    net.eval()
    unet.measure(net, data)
    assert not net.training


def test_noise_and_jpeg_are_repeatable_and_mild():
    pictures = designs.Designs("valid", 32, 16)[[0, 1, 2]][0]
    assert torch.equal(unet.noisy(pictures), unet.noisy(pictures)) and unet.noisy(pictures).min() >= 0 and unet.noisy(pictures).max() <= 1
    assert (unet.noisy(0 * pictures + 0.5, 0.05) - 0.5).std() == pytest.approx(0.05, rel=0.05)
    fine, coarse = (unet.jpeg(pictures, quality) - pictures for quality in (95, 20))
    assert torch.equal(unet.jpeg(pictures), unet.jpeg(pictures)) and fine.square().mean() < coarse.square().mean() < 0.02


def test_a_rescaled_design_lies_where_its_truth_says():
    data = unet.Rescaled("valid", 64, 8, 1.05)
    pictures, truth, meta = data[[0, 1, 2]]
    drawn = designs.Designs("valid", 67, 8)[[0, 1, 2]]
    assert pictures.shape[-2:] == (67, 67) and torch.equal(truth, drawn[1]) and len(meta["goal"]) == 3
    assert (pictures - drawn[0]).abs().mean() < 0.05, "the same design"
    assert torch.allclose(data[1][0], pictures[1])


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A small training, as one uninterrupted run; its network and folder."""
    folder = tmp_path_factory.mktemp("unet")
    return unet.train(small_run(folder), **SMALL), folder


def test_training_lowers_the_loss_and_leaves_history_results_pictures_and_a_model(trained):
    net, folder = trained
    history = (folder / "history.csv").read_text().splitlines()
    assert {"train_loss", "lr", "text_iou", "image_iou", "colour_accuracy", "hierarchy_mse", "loss"} <= set(history[0].split(","))
    column = history[0].split(",").index("train_loss")
    losses = [float(row.split(",")[column]) for row in history[1:]]
    assert len(losses) == 3 and losses[-1] < losses[0]
    results = json.loads((folder / "results.json").read_text())
    assert set(unet.CRITERIA) <= set(results) and results["validation"]["loss"] > 0
    assert len(list((folder / "progress").glob("*.png"))) == 3
    assert equal(zoo.load(folder / "model").state_dict(), net.state_dict())
    assert f"| text_iou | {results['text_iou']:.4g} |" in (folder / "model" / "README.md").read_text()


def test_the_weights_that_are_kept_are_the_best_on_the_validation_designs(trained):
    net, folder = trained
    data = designs.Designs("valid", 40, 16)
    history = Run("unet", {}, folder=folder, quiet=True).history
    assert unet.measure(net, data)["loss"] == pytest.approx(min(history["loss"]), rel=1e-4)


def test_accumulating_moves_less_often_and_the_rate_falls_even_when_an_epoch_ends_in_between(tmp_path):
    run = small_run(tmp_path, accumulate=4)  # six batches an epoch
    moved, step = [], run.step
    run.step = lambda loss, opt: moved.append(step(loss, opt)) or moved[-1]
    unet.train(run, **SMALL | {"accumulate": 4, "lr": 1e-5, "epochs": 4})
    assert len(moved) == 24 and sum(moved) == 6 and len(set(run.history["lr"])) > 1


def test_a_start_without_epochs_only_validates(trained, tmp_path):
    net, folder = trained
    again = unet.train(small_run(tmp_path), **SMALL | {"epochs": 0, "start": str(folder / "model")})
    assert equal(again.state_dict(), net.state_dict())
    results = [json.loads((path / "results.json").read_text()) for path in (tmp_path, folder)]
    assert results[0]["validation"] == pytest.approx(results[1]["validation"], rel=1e-5)


def test_a_goal_can_be_left_out(tmp_path, monkeypatch):
    seen, goals = [], designs.GOALS[:3]
    monkeypatch.setattr(unet, "fit", lambda run, net, data, valid, **given: seen.append(data) or net)
    unet.train(small_run(tmp_path), **SMALL | {"goals": goals})
    assert set(seen[0][list(range(len(seen[0])))][2]["goal"].tolist()) == {0, 1, 2}


def test_a_folder_of_designs_with_unreadable_files_is_learnt_from_and_they_are_counted(tmp_path, capsys):
    folder = tmp_path / "folder"
    designs.write_folder([designs.make_design(0, index, 40) for index in range(12)], folder)
    (folder / "images" / "000003.npy").write_bytes((folder / "images" / "000003.npy").read_bytes()[:500])
    np.save(folder / "f_tensors" / "000005.npy", np.zeros((4, 16, 16), np.float32))
    (folder / "metadata" / "000007.json").unlink()
    run = small_run(tmp_path / "run")
    unet.train(run, **SMALL | {"data": str(folder), "epochs": 1, "batch_size": 3})
    assert run.count == 3 and "3 of 12 designs skipped" in capsys.readouterr().out, "nine designs in batches of three"
    with pytest.raises(InputError, match="nowhere"):
        unet.train(small_run(tmp_path / "other"), **SMALL | {"data": str(tmp_path / "nowhere")})


@pytest.mark.parametrize("wrong", [{"width": 0}, {"batch_size": 1.5}, {"epochs": -1}, {"image_size": "large"}, {"train_designs": 0},
                                   {"accumulate": 0}, {"batch_size": 1000}, {"goals": ["buy"]}, {"start": "unnet"}, {"lr": -1.0},
                                   {"alpha": [1.0, 2.0]}])  # fmt: skip
def test_parameters_that_make_no_sense_get_one_line_that_names_them(wrong, tmp_path):
    with pytest.raises(InputError) as error:
        unet.train(small_run(tmp_path), **SMALL | wrong)
    (name, value), text = next(iter(wrong.items())), str(error.value)
    assert "\n" not in text and (name in text or str(value) in text)


# ---- pictures of one's own -------------------------------------------------------------------------------------------


def poster(h=90, w=70) -> Image.Image:
    return Image.fromarray(designs.make_design(2, 3, (h, w)).image)


def save_all_kinds(folder) -> dict[str, tuple[int, int]]:
    """Good files of every kind by name, with the (height, width) that they are read at."""
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    poster().save(folder / "plain.png")
    poster().convert("L").save(folder / "grey.jpg")
    poster().convert("LA").save(folder / "alpha.png")
    poster().quantize(16).save(folder / "palette.gif", save_all=True, append_images=[poster(90, 70).rotate(3)])
    poster().save(folder / "turned.jpg", exif=turned)
    Image.fromarray(np.asarray(poster().convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.new("RGB", (1, 1)).save(folder / "tiny.png")
    poster(32, 900).save(folder / "long.png")
    sizes = dict.fromkeys(["plain.png", "grey.jpg", "alpha.png", "palette.gif", "deep.png"], (90, 70))
    return sizes | {"turned.jpg": (70, 90), "tiny.png": (1, 1), "long.png": (32, 900)}


def test_a_picture_of_any_kind_is_read_at_its_own_size_and_bad_files_are_skipped_and_counted(tmp_path):
    sizes, net = save_all_kinds(tmp_path), network()
    (tmp_path / "cut.png").write_bytes((tmp_path / "plain.png").read_bytes()[:300])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no picture")
    Image.new("1", (9000, 9000)).save(tmp_path / "huge.png")
    found, skipped = unet.read_folder(net, tmp_path)
    assert {name: tuple(picture.shape[1:]) for name, (picture, _) in found.items()} == sizes
    for picture, f_tensor in found.values():
        assert f_tensor.shape == (4, *picture.shape[1:]) and f_tensor.isfinite().all()
        assert 0 <= f_tensor[:2].min() and f_tensor[:2].max() <= 1
        assert f_tensor[2].max() < C and torch.equal(f_tensor[2], f_tensor[2].round())
    assert sorted(skipped) == ["cut.png", "empty.png", "huge.png", "text.png"]
    with pytest.raises(InputError, match="cut.png"):
        unet.read_file(net, tmp_path / "cut.png")


def test_reading_does_not_depend_on_the_size_a_picture_comes_in():
    net = zoo.load("unet")
    small, large = (torch.from_numpy(designs.make_design(2, 3, size).image).permute(2, 0, 1) / 255 for size in (64, 256))
    seen = net.read(large)
    assert seen.shape == (4, 256, 256)
    one, other = net.read(small)[:2] > 0.5, seen[:2, 2::4, 2::4] > 0.5
    assert (one & other).sum() / (one | other).sum() > 0.85


# ---- what ships ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    net = zoo.load("unet")
    return net, unet.evaluate(net)


def test_the_shipped_network_meets_its_criteria(shipped):
    _, figures = shipped
    for name, (sign, bound) in unet.CRITERIA.items():
        assert figures[name] >= bound if sign == ">=" else figures[name] <= bound, (name, figures[name])


def test_the_cards_figures_are_what_evaluate_finds(shipped):
    _, figures = shipped
    card = (ROOT / "checkpoints/unet/README.md").read_text()
    written = {name: float(value) for name, value in re.findall(r"^\| (\w+) \| ([\d.]+) \|", card, re.MULTILINE)}
    assert written.keys() == figures.keys()
    for name, value in figures.items():
        assert value == pytest.approx(written[name], abs=2e-3), name
    assert sum(file.stat().st_size for file in (ROOT / "checkpoints/unet").iterdir()) < 10e6


def test_every_slider_of_the_shipped_network_moves_the_picture():
    net = zoo.load("unet")
    base = net.sample(2, 3)
    assert base.shape == (2, 3, 64, 64) and torch.equal(base, net.sample(2, 3))
    torch.testing.assert_close(net.sample(1, 4), base[1:], rtol=0, atol=1e-5)
    for change in ({"layer": "text"}, {"layer": "colour"}, {"layer": "hierarchy"}, {"opacity": 0.1}, {"noise": 0.2}):
        assert (net.sample(2, 3, **change) - base).abs().mean() > 0.003, change
    assert net.sample(1, 3, size=37).shape == (1, 3, 37, 37)
    design = torch.from_numpy(designs.make_design(2, 3, 64).image).permute(2, 0, 1) / 255
    torch.testing.assert_close(net.sample(1, 3, layer="design")[0], design, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="layer"):
        net.sample(1, 0, layer="texts")


@pytest.mark.parametrize("width", [0, -3, 1.5])
def test_a_width_that_is_none_gets_one_line(width):
    with pytest.raises(InputError, match="width=.*whole number"):
        unet.UNet(width)
