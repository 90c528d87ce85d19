"""Chapter 01: the decoder, the grid network and the coordinate networks; their training; the lab's checks."""

import json
import math

import pytest
import torch
import torch.nn.functional as F

from imggen_core import wireframe
from imggen_core.kit import images, targets, zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import ROOT, InputError
from imggen_core.wireframe import FourierNetwork, GridNetwork, SirenNetwork, WireframeDecoder, draw

NETWORKS = {
    "naive": lambda *size: WireframeDecoder(*size, channels=16),
    "grid": GridNetwork,
    "fourier": FourierNetwork,
    "siren": SirenNetwork,
}
SMALL = {"image_size": 48, "naive_steps": 60, "grid_steps": 60, "fourier_steps": 60, "siren_steps": 60, "channels": 32, "batch_pixels": 512}


@pytest.fixture
def run(tmp_path):
    return lambda name="run", **more: Run("wireframe", folder=tmp_path / name, device="cpu", precision="float32", **more)


@pytest.fixture
def target():
    return targets.target("data/wireframe.svg", 48)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(1, 1), (1, 37), (33, 17), (256, 192)], ids=str)
def test_every_network_draws_any_size(name, size):
    picture = draw(NETWORKS[name](*size))
    assert picture.shape == (3, size[1], size[0]) and picture.min() >= 0 and picture.max() <= 1


@pytest.mark.parametrize("side", [2, 16, 511, 512, 513, 2048])
def test_the_decoder_starts_small_and_cuts_off_less_than_one_first_pixel(side):
    decoder = WireframeDecoder(side, 1, channels=8)
    assert decoder.columns <= 32
    assert 0 <= decoder.columns * 2 ** len(decoder.blocks) - side < 2 ** len(decoder.blocks)


def test_the_decoder_has_the_size_that_the_chapter_compares_with():
    assert 2.0e6 < sum(weight.numel() for weight in WireframeDecoder(256, 192).parameters()) < 2.6e6


def test_samples_depend_on_seed_and_place_only_and_wander_zero_is_the_target():
    decoder = WireframeDecoder(40, 30, channels=16)
    four = decoder.sample(4, 7, wander=0.5)
    assert four.shape == (4, 3, 30, 40)
    assert torch.equal(four, decoder.sample(4, 7, wander=0.5)) and torch.equal(four[:2], decoder.sample(2, 7, wander=0.5))
    assert not torch.equal(four, decoder.sample(4, 8, wander=0.5)) and not torch.equal(four[0], four[1])
    assert torch.equal(decoder.sample(2, 7, wander=0)[1], draw(decoder))
    with pytest.raises(InputError, match="wander"):
        decoder.sample(1, 0, wander=1.5)


def test_wandering_keeps_the_length_of_the_latent():
    decoder, seen = WireframeDecoder(16, 16, latent=4096, channels=8), []
    decoder.project.register_forward_pre_hook(lambda _, given: seen.append(given[0].norm().item()))
    for wander in (0, 0.3, 0.7, 1):
        decoder.sample(1, 0, wander=wander)
    assert max(seen) / min(seen) < 1.1


def test_optimize_memory_gives_the_same_gradients_for_fewer_kept_bytes(target):
    gradients, kept = [], []
    for optimize in (False, True):
        torch.manual_seed(0)
        decoder = WireframeDecoder(48, 36, channels=32, optimize_memory=optimize)
        kept.append(wireframe.kept_bytes(decoder, target))
        F.mse_loss(decoder()[0], target).backward()
        gradients.append([weight.grad for weight in decoder.parameters()])
    assert all(torch.allclose(a, b, rtol=0, atol=1e-6) for a, b in zip(*gradients, strict=True))
    rows, columns, picture = 3, 3, 3 * 36 * 48
    depths, places = [32, 16, 8, 8], [rows * columns * 4**i for i in range(4)]
    reached, normalised = (sum(d * p for d, p in list(zip(depths, places, strict=True))[skip:]) for skip in (0, 1))
    # Before each normalisation, after each ReLU, and the picture; against what goes into each pair of blocks, and the picture.
    assert kept[0] == pytest.approx(4 * (normalised + reached + picture), rel=0.02)
    assert kept[1] == pytest.approx(4 * (depths[0] * places[0] + depths[2] * places[2] + picture), rel=0.02)


def test_coordinates_are_the_pixel_centres():
    expected = [(-0.75, -0.25), (-0.25, -0.25), (0.25, -0.25), (0.75, -0.25), (-0.75, 0.25), (-0.25, 0.25), (0.25, 0.25), (0.75, 0.25)]
    assert torch.allclose(wireframe.coordinates(4, 2), torch.tensor(expected))


@pytest.mark.parametrize("name", ["grid", "fourier", "siren"])
def test_three_times_as_large_has_the_picture_in_every_third_pixel(name):
    net = NETWORKS[name](32, 16)
    assert torch.allclose(draw(net, 3)[:, 1::3, 1::3], draw(net), atol=1e-5)


def test_the_grid_looks_up_as_grid_sample_does():
    net = GridNetwork(24, 16, levels=3, features=2)
    places = wireframe.coordinates(24, 16) * torch.tensor([1.0, 24 / 16])
    found = [F.grid_sample(grid, places.view(1, 16, 24, 2), padding_mode="border", align_corners=False) for grid in net.grids]
    assert torch.allclose(net.tiny(torch.cat(found, 1)).sigmoid(), net(), atol=1e-5)


def test_fourier_features_have_unit_length_pairs_and_the_asked_for_spread():
    net, seen = FourierNetwork(8, 8, waves=4000, sigma=7.0), []
    net.mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    net(torch.rand(5, 2))
    assert torch.allclose(seen[0][:, :4000] ** 2 + seen[0][:, 4000:] ** 2, torch.ones(5, 4000), atol=1e-4)
    assert abs(net.B.std() / 7 - 1) < 0.05


def test_siren_keeps_its_signal_through_the_layers():
    torch.manual_seed(0)
    net, seen = SirenNetwork(64, 64, hidden=256), []
    for layer in net.layers[1:]:
        layer.register_forward_hook(lambda module, given, out: seen.append((net.omega * out).std(0).mean().item()))
    net(wireframe.coordinates(64, 64))
    assert all(0.7 < spread < 1.4 for spread in seen)  # standard normal over the picture, says the paper


def test_training_draws_the_target_and_reports_it(run, tmp_path):
    plenty = {"image_size": 48, "naive_steps": 400, "grid_steps": 300, "fourier_steps": 300, "siren_steps": 300, "channels": 64,
              "batch_pixels": 1024, "progress_every": 50, "goal_db": 32.0}  # fmt: skip
    nets = wireframe.train(run(), **plenty)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    target = targets.target("data/wireframe.svg", 48)
    assert {"width", "height", *nets} <= set(results) and (results["width"], results["height"]) == (48, 36)
    for name, least in {"naive": 22, "grid": 32, "fourier": 24, "siren": 22}.items():
        assert results[name]["psnr_db"] == images.psnr(draw(nets[name]), target) > least
        history = run().part(name).history
        reached = [s for s, db in zip(history["cpu_seconds"], history["psnr_db"], strict=True) if db >= 30]
        assert results[name]["cpu_seconds_to_30_db"] == (reached[0] if reached else None)
        assert results[name]["cpu_seconds_to_40_db"] is None
        assert history["psnr_db"][-1] > history["psnr_db"][0] + 8
    assert results["grid"]["steps"] < 300 and results["grid"]["psnr_db"] >= 32  # it stopped at its goal, with the weights that reached it
    assert len(list((tmp_path / "run/parts/naive/progress").glob("*.png"))) >= 3
    kept = zoo.load(tmp_path / "run")
    assert torch.allclose(draw(kept), draw(nets["naive"]), atol=1e-5)
    assert wireframe.evaluate(kept)["psnr_db"] == pytest.approx(results["naive"]["psnr_db"], abs=0.01)
    card = (tmp_path / "run/model/README.md").read_text()
    assert f"{results['psnr_db']:.1f} dB" in card and "48 x 36" in card and "`wander`" in card


def test_the_seed_decides(run):
    first, same, other = (
        wireframe.train(run(folder, seed=seed), models=["naive"], **SMALL | {"naive_steps": 5})["naive"]
        for folder, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(draw(first), draw(same)) and not torch.equal(draw(first), draw(other))


def test_only_the_models_asked_for_are_trained(run, tmp_path):
    assert set(wireframe.train(run(), models=["grid"], **SMALL)) == {"grid"}
    assert set(json.loads((tmp_path / "run/results.json").read_text())) == {"width", "height", "grid"}  # and no model is kept
    assert not (tmp_path / "run/model").exists()


def test_an_unknown_model_is_named_with_the_nearest(run):
    with pytest.raises(InputError, match="'fourrier'.*'fourier'"):
        wireframe.train(run(), models=["grid", "fourrier"], **SMALL)


def test_seconds_to_is_the_first_measurement_at_or_above_the_level():
    history = {"cpu_seconds": [1, 2, 3, 4], "psnr_db": [10.0, 30.0, 29.0, 41.0]}
    assert [wireframe.seconds_to(level, history) for level in (10, 30, 30.5, 42)] == [1, 2, 4, None]


def test_the_model_that_ships_meets_its_criteria():
    model = zoo.load("wireframe")
    figures = wireframe.evaluate(model)
    assert figures["psnr_db"] >= wireframe.CRITERIA["psnr_db"][1] and figures["variation"] > 0.01
    assert torch.allclose(model.sample(1, 3, wander=0)[0], draw(model), atol=1e-6)
    assert sum(file.stat().st_size for file in (ROOT / "checkpoints/wireframe").iterdir()) < 10e6
    assert math.isclose(figures["psnr_db"], images.psnr(draw(model), targets.target("data/wireframe.svg")))
