"""Chapter 09: schedules and steps against diffusers', the samplers, the network, EMA, training, what ships, the lab."""

import copy
import functools
import math

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imggen_core import ddpm
from imggen_core.designs import Designs
from imggen_core.kit import zoo
from imggen_core.kit.run import Run
from imggen_core.kit.sampler import generate, noise_source
from imggen_core.kit.sampler import noise as noise_of
from imggen_core.kit.settings import InputError

SMALL = {"size": 32, "n_train": 24, "steps": 10, "batch_size": 4, "widths": (8, 16), "stem": 2, "n_test": 4}
NAMES = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}
SCHEDULERS = {
    "linear": {"beta_schedule": "linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "zero-snr": {"beta_schedule": "linear", "rescale_betas_zero_snr": True},
}


def theirs(cls, schedule: str, prediction_type: str = "epsilon", **more):
    """The scheduler of diffusers that should compute the same, in double precision: far from x0, ε cancels to five digits in single."""
    scheduler = cls(1000, 1e-4, 0.02, prediction_type=NAMES[prediction_type], clip_sample=False, **SCHEDULERS[schedule], **more)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    return scheduler


def possible(schedule: str, prediction_type: str, t: int) -> bool:
    return not (schedule == "zero-snr" and prediction_type == "epsilon" and t == 999)  # x0 cannot be told from noise alone


def three(seed: int = 0, shape=(4, 3, 8, 8)):
    """A picture, what a network predicts about it, and noise."""
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    model = ddpm.DDPM(size=16, widths=(8, 16), stem=2)
    torch.nn.init.normal_(model.net.leave.weight, std=0.1)  # it begins at zero
    return model.eval()


@pytest.fixture(scope="module")
def shipped():
    return zoo.load("ddpm")


# ---- schedules and steps, against an independent implementation ---------------------------------------------------------


@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_the_schedules_are_those_of_diffusers(schedule):
    bar = ddpm.alpha_bar(schedule, 1000)
    torch.testing.assert_close(bar, theirs(diffusers.DDPMScheduler, schedule).alphas_cumprod.float(), atol=1e-5, rtol=0)
    assert bar.shape == (1000,) and bar[0] > 0.999 and bar[-1] < 1e-4 and (bar.diff() < 0).all() and (bar >= 0).all()


@given(T=st.integers(2, 3000))
def test_zero_snr_ends_at_zero_and_cosine_nearly(T):
    assert ddpm.alpha_bar("zero-snr", T)[-1] == 0 and ddpm.alpha_bar("cosine", T)[-1] < 1e-3
    assert all((ddpm.alpha_bar(name, T).diff() <= 0).all() for name in ddpm.SCHEDULES)


@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_noise_is_added_as_diffusers_does(schedule):
    x0, noise, _ = three()
    t = torch.tensor([0, 17, 500, 999])
    wanted = theirs(diffusers.DDPMScheduler, schedule).add_noise(x0, noise, t)
    torch.testing.assert_close(ddpm.q_sample(x0, t, noise, ddpm.alpha_bar(schedule)), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("prediction_type", ddpm.PREDICTION_TYPES)
@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_a_ddpm_step_is_that_of_diffusers(schedule, prediction_type):
    scheduler = theirs(diffusers.DDPMScheduler, schedule, prediction_type)
    bar, (x_t, prediction, _) = scheduler.alphas_cumprod, three(1).double()
    for t in (t for t in (0, 1, 20, 500, 980, 999) if possible(schedule, prediction_type, t)):
        wanted = scheduler.step(prediction, t, x_t, generator=torch.Generator().manual_seed(5)).prev_sample
        noise = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(5), dtype=x_t.dtype)
        torch.testing.assert_close(ddpm.ddpm_step(x_t, prediction, t, bar, prediction_type, noise), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("prediction_type", ddpm.PREDICTION_TYPES)
@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_a_ddim_step_is_that_of_diffusers(schedule, prediction_type, eta):
    scheduler = theirs(diffusers.DDIMScheduler, schedule, prediction_type, set_alpha_to_one=True)
    scheduler.set_timesteps(50)
    bar, (x_t, prediction, noise) = scheduler.alphas_cumprod, three(2).double()
    for t in (t for t in (19, 20, 500, 979, 999) if possible(schedule, prediction_type, t)):
        wanted = scheduler.step(prediction, t, x_t, eta=eta, variance_noise=noise if eta else None).prev_sample
        made = ddpm.ddim_step(x_t, prediction, t, max(t - 20, -1), bar, prediction_type, eta, noise)
        torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("table, tolerance", [("ours", 1e-6), ("each its own", 2e-5)])
@pytest.mark.parametrize("prediction_type", ddpm.PREDICTION_TYPES)
@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_steps_in_single_precision_are_those_of_diffusers(schedule, prediction_type, table, tolerance):
    """Theirs multiplies ᾱ up in single precision, ours rounds it once: at small t, 1 - ᾱ has few digits left, and these differ."""
    bar, (x0, noise, _) = ddpm.alpha_bar(schedule), three(6)
    x0 = x0.clamp(-1, 1)
    schedulers = theirs(diffusers.DDPMScheduler, schedule, prediction_type), theirs(diffusers.DDIMScheduler, schedule, prediction_type)
    schedulers[1].set_timesteps(50)
    for scheduler in schedulers:
        scheduler.alphas_cumprod = bar if table == "ours" else scheduler.alphas_cumprod.float()
    for t in (t for t in (0, 1, 2, 5, 19, 100, 500, 999) if possible(schedule, prediction_type, t)):
        x_t, prediction = ddpm.q_sample(x0, t, noise, bar), ddpm.target_of(prediction_type, x0, noise, t, bar)
        again = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(5))
        wanted = schedulers[0].step(prediction, t, x_t, generator=torch.Generator().manual_seed(5)).prev_sample
        torch.testing.assert_close(ddpm.ddpm_step(x_t, prediction, t, bar, prediction_type, again), wanted, atol=tolerance, rtol=tolerance)
        wanted = schedulers[1].step(prediction, t, x_t).prev_sample
        made = ddpm.ddim_step(x_t, prediction, t, max(t - 20, -1), bar, prediction_type)
        torch.testing.assert_close(made, wanted, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("steps", [1, 7, 25, 50, 300, 1000])
def test_the_steps_are_spaced_as_diffusers_spaces_them(steps):
    scheduler = theirs(diffusers.DDIMScheduler, "cosine", timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert ddpm.sampling_times(1000, steps) == scheduler.timesteps.tolist()


def test_a_whole_ddim_sampling_is_that_of_diffusers():
    scheduler, bar = theirs(diffusers.DDIMScheduler, "cosine", "v", timestep_spacing="trailing"), ddpm.alpha_bar("cosine")
    scheduler.set_timesteps(10)
    predict = lambda x, t: 0.3 * x.flip(1) - 0.1  # some network
    x = first = three(4)[0]
    for t in scheduler.timesteps:
        x0 = ddpm.to_x0_and_epsilon(x, predict(x, t), int(t), bar, "v")[0].clamp(-1, 1)
        scheduler.config.prediction_type = "sample"
        x = scheduler.step(x0, t, x).prev_sample
    torch.testing.assert_close(ddpm.ddim_sample(predict, first, bar, "v", ddpm.sampling_times(1000, 10)), x, atol=1e-5, rtol=1e-5)


# ---- what must hold of them --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_ddim_with_eta_1_over_all_steps_is_ddpm(schedule):
    bar, (x_t, x0, noise) = ddpm.alpha_bar(schedule), three(3)
    for t in range(0, 1000, 37):
        made = ddpm.ddim_step(x_t, x0, t, t - 1, bar, "x0", 1.0, noise)
        torch.testing.assert_close(made, ddpm.ddpm_step(x_t, x0, t, bar, "x0", noise), atol=2e-5, rtol=1e-4)


def test_the_posterior_is_bayes_rule():
    bar, t = ddpm.alpha_bar("linear").double(), 300
    x0, x_t = torch.tensor([0.7], dtype=torch.float64), torch.tensor([-0.2], dtype=torch.float64)
    x = torch.linspace(-6, 6, 60001, dtype=torch.float64)
    alpha = bar[t] / bar[t - 1]
    log = -((x - bar[t - 1].sqrt() * x0) ** 2) / (2 * (1 - bar[t - 1])) - (x_t - alpha.sqrt() * x) ** 2 / (2 * (1 - alpha))
    weight = (log - log.max()).exp()
    weight /= weight.sum()
    mean, variance = ddpm.q_posterior(x0, x_t, t, bar)
    assert mean.item() == pytest.approx((weight * x).sum().item(), abs=1e-6)
    assert variance.item() == pytest.approx((weight * (x - mean) ** 2).sum().item(), abs=1e-6)


@pytest.mark.parametrize("schedule", ddpm.SCHEDULES)
def test_the_posterior_mean_at_0_is_x0_and_certain(schedule):
    x0, x_t, _ = three()
    mean, variance = ddpm.q_posterior(x0, x_t, 0, ddpm.alpha_bar(schedule))
    torch.testing.assert_close(mean, x0, atol=1e-4, rtol=0)
    assert (variance == 0).all()


@given(t=st.integers(0, 998), schedule=st.sampled_from(ddpm.SCHEDULES), prediction_type=st.sampled_from(ddpm.PREDICTION_TYPES))
def test_every_prediction_type_means_the_same(t, schedule, prediction_type):
    bar, (x0, noise, _) = ddpm.alpha_bar(schedule).double(), three(t, (2, 3, 4, 4)).double()
    x_t = ddpm.q_sample(x0, t, noise, bar)
    back = ddpm.to_x0_and_epsilon(x_t, ddpm.target_of(prediction_type, x0, noise, t, bar), t, bar, prediction_type)
    torch.testing.assert_close(torch.stack(back), torch.stack([x0, noise]), atol=1e-4, rtol=1e-4)


@given(t=st.integers(0, 998), schedule=st.sampled_from(ddpm.SCHEDULES), gamma=st.floats(0.5, 20), floor=st.sampled_from([0.0, 0.2]))
def test_min_snr_weighs_the_error_of_x0_alike_for_every_prediction_type(t, schedule, gamma, floor):
    bar = ddpm.alpha_bar(schedule).double()
    snr = bar[t] / (1 - bar[t])
    for prediction_type, as_x0 in (("x0", 1.0), ("epsilon", snr), ("v", snr + 1)):
        weight = ddpm.min_snr_weight(torch.tensor([t]), bar, prediction_type, gamma, floor)
        assert (weight * as_x0).item() == pytest.approx(max(min(snr.item(), gamma), floor), rel=1e-6)


@pytest.mark.parametrize("prediction_type", ["v", "x0"])
def test_a_step_without_any_signal_has_no_weight_and_no_nan(prediction_type):
    bar, (x_t, prediction, _) = ddpm.alpha_bar("zero-snr"), three()
    assert ddpm.min_snr_weight(torch.tensor([999]), bar, prediction_type) == 0
    assert torch.isfinite(ddpm.ddim_step(x_t, prediction, 999, 979, bar, prediction_type)).all()


def test_the_ideal_denoiser_gives_the_mean_at_first_and_a_known_picture_in_the_end():
    known, bar = three(7)[0].clamp(-1, 1), ddpm.alpha_bar("cosine")
    noise = three(8)[0]
    torch.testing.assert_close(ddpm.ideal_denoise(noise, 999, known, bar), known.mean(0).expand_as(known), atol=0.02, rtol=0)
    torch.testing.assert_close(ddpm.ideal_denoise(ddpm.q_sample(known, 100, noise, bar), 100, known, bar), known, atol=1e-4, rtol=0)
    times = ddpm.sampling_times(1000, 50)
    made = ddpm.ddim_sample(lambda x, t: ddpm.ideal_denoise(x, t, known, bar), noise_of(6, 0, 3, 8, 8), bar, "x0", times)
    assert (torch.cdist(made.flatten(1), known.flatten(1)).min(1).values < 0.01).all()


def test_a_flow_that_is_always_right_is_sampled_exactly():
    x0, noise, _ = three(9)
    x0 = x0.clamp(-1, 1)
    torch.testing.assert_close(ddpm.flow_sample(lambda x, t: noise - x0, noise, 3), x0, atol=1e-5, rtol=0)
    assert ddpm.flow_loss(lambda x, t: torch.zeros_like(x), torch.zeros(64, 3, 8, 8)).item() == pytest.approx(1, abs=0.1)


def test_the_loss_is_what_its_formula_says():
    bar, (x0, _, _) = ddpm.alpha_bar("cosine"), three()
    torch.manual_seed(3)
    loss = ddpm.denoising_loss(lambda x, t: 0.5 * x, x0, bar, "x0")
    torch.manual_seed(3)
    t, noise = torch.randint(1000, (4,)), torch.randn_like(x0)
    wanted = 0.0
    for k in range(4):
        b = bar[t[k]].item()
        x_t = math.sqrt(b) * x0[k] + math.sqrt(1 - b) * noise[k]
        wanted += min(b / (1 - b), 5) * (0.5 * x_t - x0[k]).square().mean().item() / 4
    assert loss.item() == pytest.approx(wanted, rel=1e-4)


# ---- the network -------------------------------------------------------------------------------------------------------


def test_a_fresh_network_answers_zero():
    net = ddpm.DenoisingUNet((8, 16), 2)
    assert (net(torch.randn(2, 3, 16, 16), torch.tensor([3, 999])) == 0).all()


@pytest.mark.parametrize("widths, stem, blocks, size", [((8,), 1, 1, 8), ((8, 16), 4, 2, 32), ((8, 8, 16), 2, 1, 16), ((16, 8), 8, 1, 64)])
def test_any_widths_stem_and_blocks_give_a_picture_of_the_same_size(widths, stem, blocks, size):
    net = ddpm.DenoisingUNet(widths, stem, blocks)
    assert net(torch.randn(2, 3, size, size), torch.tensor([3, 999])).shape == (2, 3, size, size)


def test_the_answer_depends_on_time_and_each_picture_on_itself_alone(small):
    x = torch.randn(3, 3, 16, 16)
    for parameter in small.net.parameters():  # what begins at zero hides nothing
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad():
        early, late = small.net(x, torch.full((3,), 5)), small.net(x, torch.full((3,), 900))
        alone = small.net(x[1:2], torch.tensor([5]))
    assert (early - late).abs().max() > 1e-3
    torch.testing.assert_close(early[1:2], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", [None, 6])
def test_attention_is_that_of_pytorch(context):
    attention, x = ddpm.Attention(8, context, heads=2), torch.randn(2, 8, 4, 4)
    torch.nn.init.normal_(attention.out.weight)
    tokens = torch.randn(2, 5, context) if context else None
    pixels = attention.norm(x).flatten(2).transpose(1, 2)
    weights = {"q_proj_weight": attention.q.weight, "k_proj_weight": attention.kv.weight[:8], "v_proj_weight": attention.kv.weight[8:]}
    bias = torch.cat([attention.q.bias, attention.kv.bias])
    over = pixels if tokens is None else tokens
    out, _ = torch.nn.functional.multi_head_attention_forward(
        pixels.transpose(0, 1), over.transpose(0, 1), over.transpose(0, 1), 8, 2, None, bias, None, None, False, 0.0,
        attention.out.weight, attention.out.bias, use_separate_proj_weight=True, **weights)  # fmt: skip
    torch.testing.assert_close(attention(x, tokens), x + out.permute(1, 2, 0).unflatten(2, (4, 4)), atol=1e-5, rtol=1e-4)


def test_tokens_reach_an_attention_that_wants_them_and_no_other():
    x, t, tokens = torch.randn(2, 3, 16, 16), torch.tensor([3, 700]), torch.randn(2, 3, 6)
    for attention, moves in ((ddpm.SelfAttention, False), (lambda channels: ddpm.Attention(channels, 6), True)):
        torch.manual_seed(0)
        net = ddpm.DenoisingUNet((8, 16), 2, attention=attention)
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        with torch.no_grad():
            assert ((net(x, t, tokens) - net(x, t, tokens + 1)).abs().max() > 1e-4) == moves


def test_attention_begins_at_the_level_that_was_asked_for():
    count = lambda attended: sum(isinstance(part, ddpm.Attention) for part in ddpm.DenoisingUNet((8, 16), 2, attended=attended).modules())
    assert [count(attended) for attended in (0, 1, 2)] == [5, 3, 1]


def test_a_condition_of_every_pixel_counts_and_none_is_zero():
    torch.manual_seed(0)
    net, x, t = ddpm.DenoisingUNet((8, 16), 2, embedding=6), torch.randn(2, 3, 16, 16), torch.tensor([3, 700])
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    with torch.no_grad():
        plain = net(x, t)
        assert torch.equal(net(x, t, condition=torch.zeros(2, 6)), plain)
        changed = (net(x, t, condition=torch.tensor([[0.0] * 6, [1.0] * 6])) - plain).abs().amax((1, 2, 3))
    assert changed[0] < 1e-5 and changed[1] > 1e-3


# ---- Muon --------------------------------------------------------------------------------------------------------------


@given(m=st.integers(1, 24), n=st.integers(1, 24), seed=st.integers(0, 99))
def test_an_orthogonal_matrix_keeps_directions_and_evens_their_lengths_out(m, n, seed):
    random = torch.Generator().manual_seed(seed)
    u, _, v = torch.linalg.svd(torch.randn(m, n, generator=random, dtype=torch.float64), full_matrices=False)
    steep = u * torch.logspace(0, -1, len(v), dtype=torch.float64) @ v
    inside = u.T @ ddpm.orthogonal(steep) @ v.T
    assert (inside - inside.diag().diag()).abs().max() < 1e-8 and 0.6 < inside.diag().min() and inside.diag().max() < 1.25


def moved(weight: torch.Tensor, optimiser) -> torch.Tensor:
    """Where five steps on the same random gradients lead."""
    weight, random = torch.nn.Parameter(weight.clone()), torch.Generator().manual_seed(3)
    opt = optimiser([weight])
    for _ in range(5):
        weight.grad = torch.randn(weight.shape, generator=random)
        opt.step()
    return weight.detach()


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (8, 4, 3, 3)])
def test_muon_moves_matrices_as_pytorchs_does_a_convolution_as_a_matrix(shape, monkeypatch):
    monkeypatch.setattr(ddpm, "autocast_bf16", lambda device: torch.autocast("cpu", torch.bfloat16))  # as PyTorch's computes
    weight = torch.randn(shape)
    theirs = lambda weights: torch.optim.Muon(weights, 0.01, 0.1, adjust_lr_fn="match_rms_adamw")
    ours, wanted = moved(weight, lambda weights: ddpm.Muon(weights, 0.01, 0.1)).flatten(1), moved(weight.flatten(1), theirs)
    assert (ours - wanted).norm() < 0.03 * (wanted - weight.flatten(1)).norm()


def test_muon_moves_vectors_as_adamw_does():
    weight = torch.randn(30)
    theirs = lambda weights: torch.optim.AdamW(weights, 0.01, betas=(0.9, 0.99), weight_decay=0.1)
    torch.testing.assert_close(moved(weight, lambda weights: ddpm.Muon(weights, 0.01, 0.1)), moved(weight, theirs), atol=1e-6, rtol=1e-5)


def test_muon_leaves_weights_without_a_gradient_and_goes_on_from_a_saved_state():
    torch.manual_seed(0)
    one, two = (torch.nn.ParameterList([torch.ones(4, 6), torch.ones(5), torch.ones(3)]) for _ in range(2))
    opts = ddpm.Muon(one.parameters(), 0.1), ddpm.Muon(two.parameters(), 0.1)

    def step(weights, opt, seed):
        random = torch.Generator().manual_seed(seed)
        for weight in list(weights)[:2]:
            weight.grad = torch.randn(weight.shape, generator=random)
        opt.step()

    step(one, opts[0], 1)
    two.load_state_dict(one.state_dict()), opts[1].load_state_dict(copy.deepcopy(opts[0].state_dict()))
    step(one, opts[0], 2), step(two, opts[1], 2)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True)) and (one[2] == 1).all() and (one[0] != 1).all()


# ---- EMA ---------------------------------------------------------------------------------------------------------------


def test_the_slow_copy_is_the_sum_that_its_formula_says():
    net = torch.nn.Linear(1, 1, bias=False)
    net.register_buffer("seen", torch.tensor(0.0))
    ema, slow = ddpm.EMA(net, 0.5), net.weight.item()
    for k in range(8):
        with torch.no_grad():
            net.weight.fill_(float(k * k)), net.seen.fill_(k)
        ema.update(net)
        d = min(0.5, (1 + k) / (10 + k))
        slow = d * slow + (1 - d) * k * k
    assert ema.net.weight.item() == pytest.approx(slow, rel=1e-5) and ema.net.seen == 7 and ema.updates == 8
    other = ddpm.EMA(torch.nn.Linear(1, 1, bias=False).register_buffer("seen", torch.tensor(0.0)) or net, 0.5)
    other.load_state_dict(copy.deepcopy(ema.state_dict()))
    assert other.updates == 8 and torch.equal(other.net.weight, ema.net.weight)
    assert not any(p.requires_grad for p in ema.net.parameters())


# ---- sampling ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_picture_i_is_the_same_whatever_n_is(small, eta, monkeypatch):
    many = small.sample(5, seed=4, steps=3, eta=eta)
    assert many.shape == (5, 3, 16, 16) and many.min() >= 0 and many.max() <= 1
    torch.testing.assert_close(small.sample(2, seed=4, steps=3, eta=eta), many[:2], atol=0.02, rtol=0)
    monkeypatch.setattr(ddpm, "generate", functools.partial(generate, batch=2))
    torch.testing.assert_close(small.sample(5, seed=4, steps=3, eta=eta), many, atol=0.02, rtol=0)
    assert torch.equal(small.sample(5, seed=4, steps=3, eta=eta), small.sample(5, seed=4, steps=3, eta=eta))


def test_every_picture_has_noise_of_its_own_afresh_at_each_call():
    draw, all_three = noise_source(2, 9, 3, 4, 4, first=1), noise_source(3, 9, 3, 4, 4)
    first, second = (draw(), all_three()), (draw(), all_three())
    assert torch.equal(first[0], noise_of(3, 9, 3, 4, 4)[1:]) and torch.equal(first[0], first[1][1:])
    assert torch.equal(second[0], second[1][1:]) and not torch.equal(*(each[0] for each in (first, second)))


def test_memory_is_bounded_however_many_pictures(small):
    largest = 0

    def make(draw, rows):
        nonlocal largest
        x = draw()
        assert len(x) == rows.stop - rows.start
        largest = max(largest, len(x))
        return x

    made = generate(make, 1000, 0, 3, 2, 2)
    assert largest == 64 and torch.equal(made, noise_of(1000, 0, 3, 2, 2))
    with pytest.raises(InputError, match="n=100000"):
        generate(make, 100_000, 0, 3, 64, 64)  # 4.6 GiB


def test_thousand_steps_of_ddpm_end_in_a_picture(small):
    draw = noise_source(2, 0, 3, 4, 4)
    made = ddpm.ddpm_sample(lambda x, t: torch.zeros_like(x), draw(), ddpm.alpha_bar("cosine", 50), "x0", draw)
    assert (made == 0).all()


@pytest.mark.parametrize("wrong, part", [
    (lambda: ddpm.alpha_bar("quadratic"), "linear, cosine, zero-snr"), (lambda: ddpm.alpha_bar("linear", 1), "T=1"),
    (lambda: ddpm.DDPM(prediction_type="noise"), "epsilon, v, x0"), (lambda: ddpm.DDPM(size=18), "multiple of 8"),
    (lambda: ddpm.DDPM(widths=(8, 10)), r"widths\[1\]=10.*multiple of 4"), (lambda: ddpm.DDPM(widths=(8, 0)), r"widths\[1\]=0"),
    (lambda: ddpm.DDPM(prediction_type="epsilon", schedule="zero-snr"), "v or x0"), (lambda: ddpm.DDPM(schedule="none"), "cosine"),
    (lambda: ddpm.DDPM(size=0), "size=0"), (lambda: ddpm.DDPM(stem=1.5), "stem=1.5"), (lambda: ddpm.DDPM(widths=()), "widths"),
    (lambda: ddpm.ddim_step(*three()[:2], 5, 4, ddpm.alpha_bar(), "noise"), "epsilon, v, x0"),
    (lambda: ddpm.sampling_times(1000, 0), "from 1 to 1000"), (lambda: ddpm.sampling_times(1000, 1001), "from 1 to 1000"),
    (lambda: ddpm.sampling_times(1000, 2.5), "whole number")])  # fmt: skip
def test_wrong_choices_get_one_line(wrong, part):
    with pytest.raises(InputError, match=part) as error:
        wrong()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given, part", [
    ({"n": 0}, "n=0"), ({"n": 10**6}, "n=1000000"), ({"n": True}, "n=True"), ({"steps": 0}, "steps=0"), ({"steps": 1001}, "steps=1001"),
    ({"eta": 1.5}, "eta=1.5"), ({"eta": math.nan}, "eta=nan"), ({"goal": "sell"}, "no control 'goal'")])  # fmt: skip
def test_wrong_requests_for_samples_get_one_line(small, given, part):
    with pytest.raises(InputError, match=part) as error:
        small.sample(**given)
    assert "\n" not in str(error.value)


# ---- training ----------------------------------------------------------------------------------------------------------


def test_pictures_are_the_designs():
    designs, pictures = Designs("valid", 32, 6), ddpm.Pictures("valid", 32, 6)
    images, _, meta = designs[[0, 3]]
    x, same = pictures[[0, 3]]
    torch.testing.assert_close(ddpm.to_unit(x), images, atol=1e-6, rtol=0)
    assert all(torch.equal(same[name], meta[name]) for name in meta)
    torch.manual_seed(0)
    x, meta = pictures.batch(4)
    torch.manual_seed(0)
    assert torch.equal(pictures.batch(4)[0], x) and x.shape == (4, 3, 32, 32) and meta["tone"].shape == (4,)


def test_a_short_training_learns_something(tmp_path):
    torch.manual_seed(0)
    net, learn, bar = ddpm.DDPM(size=32, widths=(8, 16), stem=2), ddpm.Pictures("train", 32, 64), ddpm.alpha_bar("cosine")
    x0 = learn[:32][0]
    before = ddpm.x0_errors(net.denoise, x0, bar)
    run = Run("ddpm", {}, folder=tmp_path, quiet=True)
    net = ddpm.fit(run, net, learn, lambda net, x0, _: ddpm.denoising_loss(net, x0, bar, "x0"), steps=80, batch_size=8, lr=0.003, decay=0.9)
    after = ddpm.x0_errors(net.denoise, x0, bar)
    assert all(after[name] < 0.6 * before[name] for name in ("x0_error_90", "x0_error_50")), (before, after)
    assert not net.training and run.history["loss"][-1] < run.history["loss"][0]


@pytest.mark.parametrize("wrong", [{"size": 34}, {"n_train": 0}, {"steps": -1}, {"batch_size": 0}, {"lr": 0.0}, {"decay": 1.0},
                                   {"stem": 0}, {"widths": (8, 1.5)}, {"prediction_type": "noise"}, {"schedule": "none"}, {"n_test": 1},
                                   {"floor": -0.1}])  # fmt: skip
def test_parameters_that_make_no_sense_get_one_line_that_names_them(wrong, tmp_path):
    with pytest.raises(InputError) as error:
        ddpm.train(Run("ddpm", {}, folder=tmp_path, quiet=True), **SMALL | wrong)
    assert next(iter(wrong)) in str(error.value) and "\n" not in str(error.value)


# ---- what ships --------------------------------------------------------------------------------------------------------


def test_the_shipped_model_denoises_as_its_criteria_say(shipped):
    figures = ddpm.evaluate(shipped, 64, steps=5)
    assert figures.keys() >= ddpm.CRITERIA.keys() and all(math.isfinite(value) for value in figures.values())
    for name, (_, bound) in ddpm.CRITERIA.items():
        if name.startswith("x0"):  # the Fréchet distance needs more pictures: `imggen evaluate ddpm`
            assert figures[name] <= bound, name
    card = (zoo.find("ddpm") / "README.md").read_text()
    for name in ("x0_error_90", "x0_error_50", "x0_error_10"):
        assert figures[name] == pytest.approx(float(card.split(f"| {name} |")[1].split("|")[0]), rel=0.05)


def test_the_shipped_model_ships_small_and_in_bfloat16():
    from safetensors.torch import load_file

    folder = zoo.find("ddpm")
    assert sum(file.stat().st_size for file in folder.iterdir()) < 8e6
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}


def test_the_shipped_models_samples_are_designs_and_differ(shipped):
    made = shipped.sample(6, seed=0)
    assert made.std((0, 2, 3)).min() > 0.1 and torch.cdist(made.flatten(1), made.flatten(1)).fill_diagonal_(99).min() > 5
    flat = [(image - image.flatten(1).mode(1).values[:, None, None]).abs().amax(0).lt(0.06).float().mean() for image in made]
    assert sorted(flat)[2] > 0.15, "designs have flat pages; noise has none"


@pytest.mark.parametrize("control, value", [("steps", 3), ("eta", 1.0)])
def test_every_slider_of_the_shipped_model_moves_the_picture(shipped, control, value):
    base = {"steps": 6, "eta": 0.0}
    assert (shipped.sample(1, 3, **base) - shipped.sample(1, 3, **base | {control: value})).abs().mean() > 0.002
