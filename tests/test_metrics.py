"""Chapter 08: every metric against an independent one, its properties, how it refuses to lie, the network that ships, and the lab."""

import json
import math
import warnings

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torchvision.models.inception import Inception3

from imggen_core import designs
from imggen_core import metrics as me
from imggen_core.abstractor import reading_loss
from imggen_core.kit import damage, features, images, inception, training, zoo
from imggen_core.kit.run import Run
from imggen_core.kit.sampler import noise
from imggen_core.kit.settings import InputError

SMALL = {"size": 32, "n_train": 48, "n_valid": 16, "epochs": 2, "batch_size": 16, "width": 4, "num_features": 8, "n": 16}


@pytest.fixture(scope="module")
def shipped():
    return zoo.load("metrics")


@pytest.fixture(scope="module")
def pictures():
    """400 real designs [400,3,64,64]."""
    return next(features.batches_of(designs.Designs("valid", 64, 400), batch=400))


def small_network(seed=0, size=32):
    torch.manual_seed(seed)
    net = me.DesignFeatures(4, 8, size)
    with torch.no_grad():  # the normalisation has seen something
        for _ in range(30):
            net(torch.rand(32, 3, size, size))
    return net.eval()


def cloud(seed, n, d, shift=0.0):
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=random).double()
    return torch.randn(n, d, generator=random).double() @ mix + shift


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def one_line(error) -> bool:
    return "\n" not in str(error.value) and len(str(error.value)) < 300


# ---- Fréchet distance ------------------------------------------------------------------------------------------------


def by_scipy(a, b):
    sigma_a, sigma_b = np.cov(a.numpy(), rowvar=False), np.cov(b.numpy(), rowvar=False)
    root = scipy.linalg.sqrtm(sigma_a @ sigma_b).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum()) + np.trace(sigma_a) + np.trace(sigma_b) - 2 * np.trace(root)


@pytest.mark.parametrize("n, m, d", [(300, 200, 3), (500, 500, 32), (400, 900, 128)])
def test_the_frechet_distance_is_scipys(n, m, d):
    a, b = cloud(1, n, d), cloud(2, m, d, 0.5)
    assert me.frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-6)


def test_the_frechet_distance_is_torchmetrics(pictures, shipped):
    from torchmetrics.image.fid import FrechetInceptionDistance

    one, two = pictures[:200], damage.blurred(pictures[200:], 1.0)
    peer = FrechetInceptionDistance(feature=shipped)
    with torch.no_grad():
        peer.update(one, real=True)
        peer.update(two, real=False)
    ours = me.frechet_distance(features.features_of(one, shipped), features.features_of(two, shipped))
    assert ours == pytest.approx(peer.compute().item(), rel=1e-5)


def test_with_fewer_pictures_than_features_it_is_exact_still():
    """Two clouds in two planes at right angles: the cross term vanishes and everything else is known."""
    a, b = torch.zeros(20, 50).double(), torch.zeros(30, 50).double()
    a[:, :2], b[:, 2:4] = cloud(3, 20, 2), cloud(4, 30, 2)
    wanted = (a.mean(0) - b.mean(0)).square().sum() + a.var(0).sum() + b.var(0).sum()
    assert me.frechet_distance(a, b) == pytest.approx(wanted.item(), rel=1e-12)
    assert me.frechet_distance(a, a) < 1e-10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), d=st.integers(1, 12), scale=st.floats(0.01, 100))
def test_properties_of_the_frechet_distance(seed, d, scale):
    a, b = cloud(seed, d + 20, d), cloud(seed + 1, d + 35, d, 1.0)
    turn = torch.linalg.qr(cloud(seed + 2, d, d)).Q
    said = me.frechet_distance(a, b)
    assert said >= 0 and me.frechet_distance(b, a) == pytest.approx(said, rel=1e-9)
    assert me.frechet_distance(a, a) == pytest.approx(0, abs=1e-9 * (1 + a.square().sum().item()))
    assert me.frechet_distance(a @ turn + 3, b @ turn + 3) == pytest.approx(said, rel=1e-6), "moved and turned together"
    assert me.frechet_distance(scale * a, scale * b) == pytest.approx(scale**2 * said, rel=1e-6)
    assert me.frechet_distance(a, a + 2.0) == pytest.approx(4 * d, rel=1e-6), "a pure shift costs its square"
    assert me.frechet_distance(a, b[torch.randperm(len(b))]) == pytest.approx(said, rel=1e-9)


def test_on_a_line_it_is_the_textbooks():
    a, b = cloud(5, 100, 1), cloud(6, 80, 1, 2.0)
    wanted = (a.mean() - b.mean()) ** 2 + (a.std() - b.std()) ** 2
    assert me.frechet_distance(a, b) == pytest.approx(wanted.item(), rel=1e-9)


def test_dead_features_are_no_perfect_score():
    dead = torch.full((50, 8), 0.3)
    for a, b in ((dead, dead), (dead, dead.clone()), (dead.double(), 1e-12 * torch.randn(50, 8) + dead)):
        with pytest.raises(InputError, match="dead") as error:
            me.frechet_distance(a, b)
        assert one_line(error)
    assert me.frechet_distance(torch.randn(50, 8), dead) > 1, "one dead set among live ones is a generator's fault, and has a distance"


METRICS = {"frechet_distance": me.frechet_distance, "kernel_distance": me.kernel_distance, "precision_recall": me.precision_recall,
          "memorised_share": lambda a, b: me.memorised_share(a, b, b)}  # fmt: skip


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("wrong, part", [
    (torch.rand(1, 5), "1 picture "), (torch.rand(5), r"\[N,d\]"), (torch.rand(4, 2, 5), r"\[4, 2, 5\]"), (torch.rand(0, 5), "0 pictures"),
    (torch.full((9, 5), math.nan), "NaN"), (torch.rand(9, 4), "one network"), ([[1.0]], "list"), (torch.full((9, 5), math.inf), "NaN"),
    (torch.rand(9, 0), r"\[9, 0\]")])  # fmt: skip
def test_what_are_no_features_gets_one_line(metric, wrong, part):
    with pytest.raises(InputError, match=part) as error:
        METRICS[metric](torch.rand(9, 5), wrong)
    assert one_line(error)


# ---- kernel distance, precision and recall, diversity ----------------------------------------------------------------


def test_the_kernel_distance_is_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    a, b = cloud(7, 60, 6) / 3, cloud(8, 60, 6, 0.4) / 3
    with warnings.catch_warnings(action="ignore"):
        peer = KernelInceptionDistance(feature=nn.Identity(), subsets=3, subset_size=60).set_dtype(torch.float64)
    peer.update(a, real=True)
    peer.update(b, real=False)
    mean, deviation = me.kernel_distance(a, b, subsets=3, size=60)
    assert mean == pytest.approx(peer.compute()[0].item(), rel=1e-9) and deviation == pytest.approx(0, abs=1e-9)


def test_the_kernel_distance_by_slow_loops():
    a, b = cloud(9, 7, 3), cloud(10, 7, 3)
    k = lambda x, y: (float(x @ y) / 3 + 1) ** 3
    inside = sum(k(x[i], x[j]) for x in (a, b) for i in range(7) for j in range(7) if i != j) / 42
    wanted = inside - 2 * sum(k(x, y) for x in a for y in b) / 49
    assert me.squared_mmd(a, b).item() == pytest.approx(wanted, rel=1e-9)


def test_the_kernel_distance_is_unbiased_and_repeats():
    pairs = torch.randn(300, 2, 20, 4, generator=torch.Generator().manual_seed(0))
    values = np.array([me.kernel_distance(a, b, subsets=1, size=20)[0] for a, b in pairs])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(len(values)), "0 within three standard errors"
    assert (values < 0).any()
    a, b = cloud(1, 90, 4), cloud(2, 70, 4)
    assert me.kernel_distance(a, b, 5, 30) == me.kernel_distance(a, b, 5, 30) != me.kernel_distance(a, b, 5, 30, seed=1)


def test_precision_and_recall_by_slow_loops():
    real, fake, k = cloud(11, 40, 3), 1.3 * cloud(11, 35, 3) + 0.4, 3

    def share(points, centres):
        radii = [sorted(float((x - y).norm()) for y in centres)[k] for x in centres]
        return np.mean([any(float((p - c).norm()) <= r for c, r in zip(centres, radii, strict=True)) for p in points])

    assert me.precision_recall(real, fake, k) == pytest.approx((share(fake, real), share(real, fake)))


def test_precision_and_recall_tell_good_from_everything():
    real = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
    narrow = 0.2 * torch.randn(400, 2, generator=torch.Generator().manual_seed(1))
    wide = 5 * torch.randn(400, 2, generator=torch.Generator().manual_seed(2))
    assert me.precision_recall(real, real) == (1.0, 1.0)
    assert me.precision_recall(real, narrow)[0] > 0.95 and me.precision_recall(real, narrow)[1] < 0.4
    assert me.precision_recall(real, wide)[0] < 0.4 and me.precision_recall(real, wide)[1] > 0.95
    assert me.precision_recall(real, real + 100) == (0.0, 0.0)
    with pytest.raises(InputError, match="at least 6"):
        me.precision_recall(torch.rand(5, 2), torch.rand(9, 2), k=5)


def test_diversity_is_the_mean_distance_of_pairs():
    a = cloud(12, 15, 4)
    wanted = np.mean([float((a[i] - a[j]).norm()) for i in range(15) for j in range(15) if i != j])
    assert me.diversity(a) == pytest.approx(wanted) and me.diversity(a[:1].expand(6, -1)) == 0
    with pytest.raises(InputError, match="two rows"):
        me.diversity(a[:1])


# ---- memory ----------------------------------------------------------------------------------------------------------


def test_nearest_by_a_slow_loop():
    a, b = cloud(13, 30, 5), cloud(14, 50, 5)
    distance, index = me.nearest(a, b, batch=7)
    all_of_them = torch.stack([(b - row).norm(dim=1) for row in a])
    assert torch.equal(index, all_of_them.argmin(1)) and torch.allclose(distance, all_of_them.min(1).values)
    assert me.nearest(b[:5], b)[0].max() == 0, "a copy is at distance 0 exactly"


def test_a_memoriser_is_found_and_an_honest_one_is_not():
    train, unseen, honest = torch.randn(3, 600, 6, generator=torch.Generator().manual_seed(0)).double().unbind(0)
    assert me.memorised_share(train[:200], train, unseen) == 1.0
    assert me.memorised_share(train[:200] + 1e-3, train, unseen) == 1.0
    assert me.memorised_share(honest, train, unseen) < 0.04
    half = torch.cat([train[:100], honest[:100] + 20])
    assert me.memorised_share(half, train, unseen) == 0.5
    assert me.memorised_share(honest, train, unseen, percentile=50) == pytest.approx(0.5, abs=0.1)


def test_copies_of_pictures_have_a_perfect_distance_and_are_found(pictures, shipped):
    train, unseen = features.features_of(pictures[:250], shipped), features.features_of(pictures[250:], shipped)
    copies = features.features_of(damage.noisy(pictures[:150], 0.01), shipped)
    assert me.frechet_distance(unseen, copies) < 2 * me.frechet_distance(unseen, train[:150])
    assert me.memorised_share(copies, train, unseen) > 0.9 and me.memorised_share(unseen, train, unseen) <= 0.02


# ---- path length -----------------------------------------------------------------------------------------------------

SQUARED = lambda a, b: (a - b).flatten(1).square().sum(1)
MATRIX = torch.randn(48, 6, generator=torch.Generator().manual_seed(0))


def linear(z):
    return (z @ MATRIX.T).view(-1, 3, 4, 4)


@pytest.mark.parametrize("variant", ["full", "end"])
def test_path_length_of_a_linear_generator_is_its_closed_form(variant):
    codes = noise(500, 3, 2, 6).double()
    exact = ((codes[:, 1] - codes[:, 0]) @ MATRIX.double().T).square().sum(1).sort().values
    low, high = (exact.quantile(q, interpolation=side) for q, side in ((0.01, "lower"), (0.99, "higher")))
    wanted = exact[(exact >= low) & (exact <= high)].mean().item()
    said = me.perceptual_path_length(linear, 500, 3, latent=6, distance=SQUARED, variant=variant, interpolate=me.lerp)
    assert said == pytest.approx(wanted, rel=1e-3)


def test_path_length_is_torchmetrics():
    from torchmetrics.functional.image import perceptual_path_length

    codes = iter(noise(1001, 5, 2, 6).unbind(1))

    class Generator(nn.Module):
        def sample(self, count):
            return next(codes)

        def forward(self, z):
            return 255 * (linear(z) + 1) / 2  # torchmetrics wants 0..255 and hands -1..1 on

    class Distance(nn.Module):
        def forward(self, a, b):
            return SQUARED(a, b)

    way = {"interpolation_method": "slerp_any", "sim_net": Distance(), "epsilon": 1e-3, "resize": None}
    peer = perceptual_path_length(Generator(), 1001, **way)[0].item()
    said = me.perceptual_path_length(linear, 1001, 5, latent=6, distance=SQUARED, variant="end", eps=1e-3)
    assert said == pytest.approx(peer, rel=1e-3)


def test_path_length_along_the_arc_is_the_speed_of_the_arc():
    """From the definition, in double precision, with the derivative of slerp instead of a step."""
    codes, at = noise(300, 8, 2, 6).double(), torch.rand(300, generator=torch.Generator().manual_seed(8)).double()
    a, b = codes.unbind(1)
    angle = torch.acos((a * b).sum(1) / a.norm(dim=1) / b.norm(dim=1))
    speed = (angle / angle.sin())[:, None] * (-((1 - at) * angle).cos()[:, None] * a + (at * angle).cos()[:, None] * b)
    exact = (speed @ MATRIX.double().T).square().sum(1).sort().values
    wanted = exact[2:-2].mean().item()  # 1 % of 299 steps, rounded outward
    assert me.perceptual_path_length(linear, 300, 8, latent=6, distance=SQUARED) == pytest.approx(wanted, rel=1e-3)


def test_slerp_keeps_to_the_sphere_and_meets_its_ends():
    a, b = F.normalize(cloud(15, 20, 5), dim=1), F.normalize(cloud(16, 20, 5), dim=1)
    t = torch.linspace(0, 1, 20).double()
    assert torch.allclose(me.slerp(a, b, t).norm(dim=1), torch.ones(20).double())
    assert torch.allclose(me.slerp(a, b, torch.zeros(20)), a) and torch.allclose(me.slerp(a, b, torch.ones(20)), b)
    assert torch.allclose(me.slerp(a, 2 * a, t), me.lerp(a, 2 * a, t)), "one way: a straight line"
    images = noise(4, 0, 2, 3, 8, 8)
    assert me.slerp(images[:, 0], images[:, 1], torch.full((4,), 0.3)).shape == (4, 3, 8, 8)


def test_a_path_through_the_shipped_features_is_repeatable_and_switches_to_eval(shipped):
    class Page(nn.Module):
        def __init__(self):
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, z):
            return self.drop(torch.sigmoid(z[:, :1, None, None] + torch.linspace(-2, 2, 32)).expand(-1, 3, 32, -1))

    page = Page().train()
    one, two = (me.perceptual_path_length(page, 20, 1, latent=(2,)) for _ in range(2))
    assert one == two > 0 and math.isfinite(one)
    assert me.perceptual_path_length(page, 20, 1, latent=2, batch=7) == pytest.approx(one, rel=0.02)
    assert me.perceptual_path_length(lambda z: torch.full((len(z), 3, 32, 32), 0.5), 9, latent=2) == 0


@pytest.mark.parametrize("wrong, part", [({"variant": "middle"}, "full"), ({"n": 0}, "n=0")])
def test_a_path_that_makes_no_sense_gets_one_line(wrong, part):
    with pytest.raises(InputError, match=part) as error:
        me.perceptual_path_length(linear, **{"n": 5, "latent": 6, "distance": SQUARED} | wrong)
    assert one_line(error)
    with pytest.raises(InputError, match="finite"):
        me.perceptual_path_length(lambda z: z / 0, 5, latent=6, distance=SQUARED)


# ---- pictures and features -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong, part", [
    (torch.rand(3, 32, 32), r"\[B,3,H,W\]"), (torch.rand(2, 1, 32, 32), r"\[2, 1, 32, 32\]"), (2 * torch.rand(2, 3, 32, 32) - 1, "rescale"),
    (torch.full((1, 3, 32, 32), math.nan), "NaN"), (torch.ones(1, 3, 32, 32).byte(), "uint8"), (np.zeros((1, 3, 8, 8)), "ndarray"),
    (torch.rand(0, 3, 32, 32), r"\[0, 3"), (255 * torch.rand(1, 3, 32, 32), "reach from")])  # fmt: skip
def test_what_are_no_pictures_gets_one_line(wrong, part):
    with pytest.raises(InputError, match=part) as error:
        small_network()(wrong)
    assert one_line(error)


def test_features_are_those_of_the_saved_picture():
    net, x = small_network(), torch.rand(4, 3, 32, 32)
    saved = (x * 255).round().byte().float() / 255
    with torch.no_grad():
        assert torch.equal(net(x), net(saved)) and torch.allclose(net(x), net.embed(saved))
        assert not torch.equal(net.embed(x), net.embed(saved))
        assert net(torch.rand(2, 3, 50, 70)).shape == (2, 8), "other sizes are resized"
    x.requires_grad_()
    net.embed(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_features_depend_neither_on_the_batch_nor_on_the_mode_and_leave_it():
    net, x = small_network(), torch.rand(11, 3, 32, 32)
    net.train()
    one, two = features.features_of(x, net, batch=11), features.features_of(x, net, batch=4)
    assert net.training and one.dtype == torch.float64 and torch.allclose(one, two, atol=1e-5)
    assert torch.allclose(features.features_of(x, net, 5, batch=4), two[:5], atol=1e-5)


def test_features_of_tensors_data_sets_and_lists():
    net, data = small_network(), designs.Designs("valid", 32, 9)
    images = data[list(range(9))][0]
    wanted = features.features_of(images, net)
    assert torch.allclose(features.features_of(data, net, batch=4), wanted, atol=1e-5)
    assert torch.allclose(features.features_of(torch.utils.data.TensorDataset(images), net), wanted, atol=1e-5)
    assert torch.allclose(features.features_of(list(images), net), wanted, atol=1e-5)
    for n in (0, 10, 2.5, True):
        with pytest.raises(InputError, match="n="):
            features.features_of(data, net, n)


def test_kept_features_come_back_and_follow_pictures_and_weights(tmp_path):
    net, x = small_network(), torch.rand(6, 3, 32, 32)
    first = features.kept_features(x, net, folder=tmp_path)
    assert torch.equal(features.kept_features(x, net, folder=tmp_path), first) and len(list(tmp_path.iterdir())) == 1
    assert torch.allclose(first, features.features_of(x, net), atol=1e-6)
    other = features.kept_features(1 - x, net, folder=tmp_path)
    with torch.no_grad():
        net.stem[0].weight *= 1.1
    again = features.kept_features(x, net, folder=tmp_path)
    assert not torch.allclose(other, first) and not torch.allclose(again, first) and len(list(tmp_path.iterdir())) == 3
    for file in tmp_path.iterdir():
        file.write_bytes(b"cut")
    assert torch.allclose(features.kept_features(x, net, folder=tmp_path), again)


@pytest.mark.parametrize("sigma", [0.4, 1.0, 2.0])
def test_blur_is_scipys(sigma):
    x = torch.rand(2, 3, 24, 30)
    wanted = scipy.ndimage.gaussian_filter(x.double().numpy(), (0, 0, sigma, sigma), mode="mirror", truncate=4)
    assert np.abs(damage.blurred(x, sigma).numpy() - wanted).max() < 1e-5
    assert damage.blurred(x, 0) is x


@pytest.mark.parametrize("kind", me.DAMAGES)
def test_damage_grows_with_its_amount(kind, pictures):
    x = pictures[:6]
    assert torch.equal(me.damaged(x, kind, 0.0), x)
    off = [(me.damaged(x, kind, amount) - x).abs().mean().item() for amount in (0.2, 0.6, 1.0)]
    assert off == [0, 0, 0] if kind == "nothing" else 0 < off[0] < off[1] < off[2]
    assert images.checked_pictures(me.damaged(x, kind, 1.0)).shape == x.shape
    assert torch.equal(me.damaged(x, kind, 0.6), me.damaged(x, kind, 0.6))


def test_damage_that_is_none_gets_one_line():
    with pytest.raises(InputError, match="did you mean 'blur'"):
        me.damaged(torch.rand(1, 3, 8, 8), "blurr", 0.5)
    with pytest.raises(InputError, match="amount"):
        me.damaged(torch.rand(1, 3, 8, 8), "blur", 2)
    with pytest.raises(InputError, match="rescale"):
        me.damaged(2 * torch.rand(1, 3, 8, 8) - 1, "nothing", 0.5)


def test_a_figures_name_says_network_and_number():
    assert me.figure_name("fd", small_network(), 2000) == "fd[designs-features, n=2000]"
    assert me.figure_name("fd", inception.InceptionFeatures, 50) == "fid[inception-v3, n=50]"
    assert me.figure_name("fd", nn.Identity(), 5) == "fd[Identity, n=5]"


def test_agreement_with_what_was_asked(shipped):
    data = designs.Designs("valid", 64, 120)
    images, _, meta = data[list(range(120))]
    asked = {key: meta[key] for key in ("goal", "format", "tone")}
    right = me.condition_agreement(shipped, images, **asked)
    wrong = me.condition_agreement(shipped, images, goal=(meta["goal"] + 1) % 4, format=(meta["format"] + 1) % 3, tone=1 - meta["tone"])
    assert right["goal_accuracy"] > 0.95 and right["format_accuracy"] > 0.95 and right["tone_correlation"] > 0.9
    assert wrong["goal_accuracy"] < 0.05 and wrong["format_accuracy"] < 0.05
    assert wrong["tone_correlation"] == pytest.approx(-right["tone_correlation"])
    with pytest.raises(InputError, match="goal"):
        me.condition_agreement(shipped, images, **asked | {"goal": meta["goal"][:5]})


def test_the_scorecard_names_everything_and_refuses_too_few(tmp_path, shipped):
    small = small_network(size=32)
    card = me.scorecard(small, designs.Designs("train", 32, 40), n=20)
    assert all(name.endswith("[designs-features, n=20]") for name in card) and card["fd[designs-features, n=20]"] > 0
    with pytest.raises(InputError, match="at least 128") as error:
        me.scorecard(shipped, torch.rand(100, 3, 64, 64), n=100)
    assert one_line(error)
    with pytest.raises(InputError, match="there are 30"):
        me.scorecard(small, torch.rand(30, 3, 32, 32), n=40)


# ---- Inception-V3 ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    """Random weights in the layout, and the old file format, of the FID's own file."""
    torch.manual_seed(0)
    net = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
    for parameter in net.parameters():
        parameter.requires_grad_(False).mul_(2.0 if parameter.ndim == 4 else 1.0)
    path = tmp_path_factory.mktemp("hub") / inception.INCEPTION
    torch.save({name: value.half() for name, value in net.state_dict().items()}, path, _use_new_zipfile_serialization=False)
    return path


def test_inception_loads_from_its_layout_and_pools_as_published(inception_file):
    net = inception.InceptionFeatures(inception_file)
    seen = {}
    for name, block in net.net.named_children():
        if hasattr(block, "branch_pool"):
            block.register_forward_hook(lambda module, given, out, name=name: seen.update({name: given[0]}))
            block.branch_pool.conv.register_forward_pre_hook(lambda module, given, name=name: seen.update({f"{name}.pool": given[0]}))
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        features = net(images)
    assert features.shape == (2, 2048) and torch.isfinite(features).all() and net.num_features == 2048 and not net.training
    assert {"Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6e", "Mixed_7b", "Mixed_7c"} <= seen.keys()
    for name in [name for name in seen if "." not in name]:
        x = seen[name]  # pytorch-fid's two poolings
        wanted = F.max_pool2d(x, 3, 1, 1) if name == "Mixed_7c" else F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        assert torch.allclose(seen[f"{name}.pool"], wanted, atol=1e-4 * wanted.abs().max().item()), name


def test_inception_is_used_only_where_its_file_is(inception_file, monkeypatch, tmp_path):
    monkeypatch.setattr(inception, "weight_folders", lambda: [tmp_path, inception_file.parent])
    assert inception.inception_weights() == inception_file and me.feature_network().name == "inception-v3"
    monkeypatch.setattr(inception, "weight_folders", lambda: [tmp_path])
    assert inception.inception_weights() is None and me.feature_network().name == "designs-features"


@pytest.mark.parametrize("content", [b"", b"not weights", "torchvision's"])
def test_a_wrong_weights_file_gets_one_line(content, tmp_path):
    path = tmp_path / inception.INCEPTION
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save({"conv1.weight": torch.zeros(3)}, path)
    with pytest.raises(InputError, match="is not the FID's Inception-V3") as error:
        inception.InceptionFeatures(path)
    assert "\n" not in str(error.value)


def test_fetching_goes_nowhere_by_itself_and_says_what_failed(monkeypatch, tmp_path):
    (tmp_path / inception.INCEPTION).write_bytes(b"there")
    assert inception.fetch_weights(tmp_path) == tmp_path / inception.INCEPTION, "what is there is not fetched again"
    calls = []

    def offline(url, path, **given):
        calls.append((url, given["hash_prefix"]))
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError, match="not fetched") as error:
        inception.fetch_weights(tmp_path / "new")
    assert one_line(error) and calls == [(inception.INCEPTION_URL, "6726825d")]


# ---- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metrics")
    return me.train(Run("metrics", {}, folder=folder, quiet=True, precision="float32"), **SMALL), folder


def test_a_training_leaves_what_it_promises(trained):
    net, folder = trained
    results = json.loads((folder / "results.json").read_text())
    assert me.CRITERIA.keys() <= results.keys()
    kept = zoo.load(folder / "model")
    assert equal(kept.state_dict(), net.state_dict()) and isinstance(kept, me.DesignFeatures)
    assert len((folder / "history.csv").read_text().splitlines()) == 3


def test_training_learns():
    torch.manual_seed(0)
    images, _, meta = designs.Designs("train", 32, 16)[list(range(16))]
    net = me.DesignFeatures(8, 16, 32)
    opt, losses = training.adamw(net, 3e-3), []
    for _ in range(40):
        loss = reading_loss(net.predict(net(images)), meta)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_roughness_is_mild_and_leaves_the_rest_alone():
    x = torch.rand(8, 3, 32, 32)
    torch.manual_seed(0)
    made = me.roughened(x, 0.5)
    assert torch.equal(made[4:], x[4:]) and not torch.equal(made[:2], x[:2]) and not torch.equal(made[2:4], x[2:4])
    assert (made >= 0).all() and (made <= 1).all() and torch.equal(me.roughened(x, 0.0), x)


def test_fewer_designs_than_a_batch_are_refused_in_one_line(tmp_path):
    with pytest.raises(InputError, match="n_train") as error:
        me.train(Run("metrics", {}, folder=tmp_path, quiet=True), **SMALL | {"n_train": 2})
    assert one_line(error)


# ---- what ships ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def figures(shipped):
    return me.evaluate(shipped)


def test_the_shipped_network_meets_its_criteria(figures):
    for name, (sign, bound) in me.CRITERIA.items():
        assert figures[name] >= bound if sign == ">=" else figures[name] <= bound, (name, figures[name])


def test_the_card_says_what_was_measured(figures):
    card = (zoo.find("metrics") / "README.md").read_text()
    for name in ("goal_accuracy", "tone_mae", "blur_1"):
        assert f"| {name} | {figures[name]:.4g} |" in card
    assert f"real ones, {figures['floor']:.3f};" in card and "synthetic designs" in card and "photograph" in card


def test_no_feature_of_the_shipped_network_is_dead(pictures, shipped):
    spread = features.features_of(pictures, shipped).std(0)
    assert spread.min() > 0.5 and spread.max() < 2


def test_noise_that_nobody_sees_is_not_minded(pictures, shipped):
    one, two = pictures[:200], pictures[200:]
    real = features.features_of(one, shipped)
    said = [me.frechet_distance(real, features.features_of(x, shipped)) for x in (two, damage.noisy(two, 0.02), damage.blurred(two, 2.0))]
    assert said[1] < 1.1 * said[0] < said[2]


def test_every_slider_of_the_shipped_network_moves_the_picture(shipped):
    base = shipped.sample(seed=3)
    assert base.shape == (1, 3, 192, 320) and torch.equal(base, shipped.sample(seed=3))
    assert torch.equal(shipped.sample(2, seed=3)[:1], base)
    assert shipped.controls.keys() == {"goal", "damage", "amount"}
    blurred = shipped.sample(seed=3, damage="blur", amount=0.8)
    assert not torch.equal(blurred, base)
    assert not torch.equal(blurred, shipped.sample(seed=3, damage="blur", amount=0.3))
    assert not torch.equal(shipped.sample(seed=3, goal="sell"), shipped.sample(seed=3, goal="inform"))
    with pytest.raises(InputError, match="damage"):
        shipped.sample(damage="rust")


@pytest.mark.parametrize("size", [36, 63, 64])
def test_designs_of_any_size_can_be_learnt_from(size):
    """What halves the picture by a convolution and what halves it by a mean end with the same number of rows."""
    assert me.DesignFeatures(4, 8, size).eval()(torch.rand(2, 3, size, size)).shape == (2, 8)
