"""Chapter 10: tokens, guidance, sampling, redrawing and inpainting, training that goes on where it stopped, what ships, the lab."""

import json
import math

import pytest
import torch

from imggen_core import ddpm, metrics
from imggen_core import designer as de
from imggen_core.kit import zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import InputError
from imggen_core.kit.training import autocast_bf16

SMALL = {"size": 32, "n_train": 24, "steps": 4, "batch_size": 4, "widths": [8, 16], "n_samples": 128}
ASKED = {"goal": "sell", "format": "card", "tone": 0.3}


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def with_random_weights(size: int = 32, widths=(8, 16)) -> de.Designer:
    """A small designer with random weights everywhere, also where a fresh one has zeros."""
    torch.manual_seed(0)
    model = de.Designer(size=size, widths=widths).eval()
    with torch.no_grad():
        for weight in model.net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module")
def small():
    return with_random_weights()


@pytest.fixture(scope="module")
def shipped():
    if "designer" not in zoo.models():
        pytest.skip("checkpoints/designer is still to come")
    return zoo.load("designer")


def noised(n: int = 3, size: int = 32):
    """Noise [n,3,size,size], steps [n] and a condition for it."""
    random = torch.Generator().manual_seed(1)
    condition = {"goal": torch.arange(n) % 4, "format": torch.arange(n) % 3, "tone": torch.linspace(0, 1, n)}
    return torch.randn(n, 3, size, size, generator=random), torch.linspace(50, 950, n).long(), condition


# ---- tokens and attention --------------------------------------------------------------------------------------------


def test_the_null_token_stands_for_all_three_where_the_condition_is_dropped():
    words, (_, _, condition) = de.MetaTokens(16), noised()
    dropped = torch.tensor([True, False, True])
    tokens, plain = words(**condition, dropped=dropped), words(**condition)
    assert tokens.shape == (3, 3, 16) and torch.equal(tokens[1], plain[1])
    assert torch.equal(tokens[0], words.null.expand(3, -1)) and torch.equal(tokens[2], tokens[0])


def test_each_of_the_three_has_a_token_of_its_own():
    words, (_, _, condition) = de.MetaTokens(16), noised()
    plain = words(**condition)
    for place, (name, other) in enumerate({"goal": 3, "format": 2, "tone": 0.77}.items()):
        changed = words(**condition | {name: torch.full_like(condition[name], other)})
        assert [torch.equal(changed[0, k], plain[0, k]) for k in range(3)] == [k != place for k in range(3)]


def test_a_fresh_cross_attention_changes_nothing_and_the_order_of_tokens_never_matters():
    torch.manual_seed(0)
    layer, x, tokens = de.CrossAttention(8, 16), torch.randn(2, 8, 4, 4), torch.randn(2, 3, 16)
    assert torch.equal(layer(x, tokens), x)
    torch.nn.init.normal_(layer.cross.out.weight)
    assert not torch.allclose(layer(x, tokens), x, atol=1e-3)
    torch.testing.assert_close(layer(x, tokens[:, [2, 0, 1]]), layer(x, tokens))


def test_cross_attention_is_pytorchs_attention_with_tokens_as_keys_and_values():
    torch.manual_seed(0)
    layer, x, tokens = ddpm.Attention(8, 16, heads=2), torch.randn(2, 8, 4, 4), torch.randn(2, 3, 16)
    torch.nn.init.normal_(layer.out.weight)
    peer = torch.nn.MultiheadAttention(8, 2, kdim=16, vdim=16, batch_first=True)
    with torch.no_grad():
        peer.q_proj_weight.copy_(layer.q.weight)
        peer.k_proj_weight.copy_(layer.kv.weight[:8])
        peer.v_proj_weight.copy_(layer.kv.weight[8:])
        peer.in_proj_bias.copy_(torch.cat([layer.q.bias, layer.kv.bias]))
        peer.out_proj.load_state_dict(layer.out.state_dict())
    pixels = layer.norm(x).flatten(2).transpose(1, 2)
    attended = peer(pixels, tokens, tokens, need_weights=False)[0].transpose(1, 2).unflatten(2, (4, 4))
    torch.testing.assert_close(layer(x, tokens), x + attended, rtol=1e-4, atol=1e-5)


# ---- guidance --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def test_guidance_one_is_the_conditional_model_and_nought_the_unconditional_one(small):
    x, t, condition = noised()
    with autocast_bf16("cpu"):
        conditional, unconditional = (small(x, t, condition, torch.full((3,), dropped)) for dropped in (False, True))
    assert torch.equal(small.guided(x, t, condition, 1), conditional.clamp(-1, 1))
    assert torch.equal(small.guided(x, t, condition, 0), unconditional.clamp(-1, 1))
    assert torch.equal(small.guided(x, t, condition, 1.0), small.guided(x, t, condition, 1))
    for g in (0.5, 2.0, 4.0):
        wanted = (unconditional + g * (conditional - unconditional)).clamp(-1, 1)
        assert (small.guided(x, t, condition, g) - wanted).abs().max() < 0.05 * g
    assert small.guided(x, t, condition, 8).abs().max() <= 1


@torch.no_grad()
def test_without_guidance_the_condition_has_no_effect(small):
    one, other = (small.sample(2, 3, goal=goal, tone=tone, guidance=0, steps=3) for goal, tone in (("sell", 0.1), ("showcase", 0.9)))
    assert torch.equal(one, other)
    assert not torch.equal(small.sample(2, 3, goal="sell", guidance=1, steps=3), small.sample(2, 3, goal="inform", guidance=1, steps=3))


# ---- sampling --------------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_designs_and_another_seed_others(small):
    one = small.sample(3, 5, steps=3, **ASKED)
    assert one.shape == (3, 3, 32, 32) and one.min() >= 0 and one.max() <= 1 and one.dtype == torch.float32
    assert torch.equal(one, small.sample(3, 5, steps=3, **ASKED)) and not torch.allclose(one, small.sample(3, 6, steps=3, **ASKED))


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_a_design_is_the_same_however_many_are_asked_for(small, guidance):
    many = small.sample(de.PICTURES + 3, 5, steps=3, guidance=guidance, **ASKED)
    few = small.sample(2, 5, steps=3, guidance=guidance, **ASKED)
    assert (many[:2] - few).abs().max() <= 2 / 255
    assert (many[-1] - many[0]).abs().max() > 0.05


def test_designs_for_a_list_of_conditions_are_those_that_are_asked_for_one_by_one(small):
    rows = [small.make_condition(1, goal, "card", 0.3) for goal in ("sell", "inform")]
    two = small.sample_for({name: torch.cat([row[name] for row in rows]) for name in rows[0]}, 5, steps=3)
    one = small.sample(2, 5, goal="inform", format="card", tone=0.3, steps=3)
    assert (two[1] - one[1]).abs().max() <= 2 / 255


def test_many_designs_take_bounded_memory(small, monkeypatch):
    seen = []
    monkeypatch.setattr(small, "design", lambda x, meta, *a: seen.append((len(x), len(meta["tone"]))) or x.clamp(0, 1))
    assert len(small.sample(2 * de.PICTURES + 7, 0)) == 2 * de.PICTURES + 7 and seen == [(de.PICTURES,) * 2, (de.PICTURES,) * 2, (7, 7)]


@pytest.mark.parametrize("wrong, part", [
    ({"goal": "buy"}, "sell"), ({"format": "flyer"}, "poster, card, banner"), ({"tone": 1.5}, "tone"), ({"tone": math.nan}, "tone"),
    ({"guidance": -1}, "guidance"), ({"guidance": 9}, "guidance"), ({"steps": 0}, "steps"), ({"steps": 2.5}, "steps"),
    ({"n": 0}, "n=0"), ({"n": 10**6}, "n=1000000"), ({"n": 2.5}, "n=2.5"), ({"mood": 1}, "mood")])  # fmt: skip
def test_what_cannot_be_asked_gets_one_line(wrong, part):
    model = de.Designer(size=64, widths=(8, 16))
    with pytest.raises(InputError, match=part) as error:
        model.sample(**{"n": 1} | wrong)
    assert "\n" not in str(error.value)


def test_every_function_that_draws_refuses_the_same_things(small):
    image, hole = torch.rand(3, 32, 32), torch.ones(32, 32)
    for draw in (lambda **c: de.redraw(small, image, **c), lambda **c: de.inpaint(small, image, hole, **c),
                 lambda **c: de.interpolate_noise(small, 1, 2, torch.tensor([0.5]), **c)):  # fmt: skip
        for wrong in ({"goal": "buy"}, {"tone": 2}, {"guidance": 99}, {"steps": 0}):
            with pytest.raises(InputError, match=next(iter(wrong))):
                draw(**ASKED | wrong)


@pytest.mark.parametrize("wrong, part", [({"size": 20}, "size=20"), ({"widths": [6, 8]}, "widths"), ({"stem": 0}, "stem"),
                                         ({"attended": -1}, "attended=-1"), ({"attended": 0.5}, "attended=0.5"),
                                         ({"schedule": "square"}, "schedule"), ({"T": 1}, "T=1")])  # fmt: skip
def test_a_model_that_cannot_be_gets_one_line(wrong, part):
    with pytest.raises(InputError, match=part):
        de.Designer(**{"size": 32, "widths": [8, 16]} | wrong)


# ---- between seeds, redraw, inpaint ----------------------------------------------------------------------------------------


def test_the_way_between_two_seeds_begins_and_ends_at_their_designs(small):
    way = de.interpolate_noise(small, 3, 8, torch.linspace(0, 1, 3), steps=3, **ASKED)
    for place, seed in ((0, 3), (2, 8)):
        assert (way[place] - small.sample(1, seed, steps=3, **ASKED)[0]).abs().max() <= 2 / 255
    assert (way[1] - way[0]).abs().mean() > 0.01


def test_redrawing_with_no_strength_returns_the_picture_and_with_all_forgets_it(small):
    image, other = torch.rand(2, 3, 32, 32)
    assert torch.equal(de.redraw(small, image, 0.0, n=2, steps=4, **ASKED), image.expand(2, -1, -1, -1))
    free = [de.redraw(small, picture, 1.0, steps=4, **ASKED) for picture in (image, other)]
    assert torch.equal(*free), "with a zero-SNR schedule nothing of the picture is left"
    assert (free[0] - small.sample(1, 0, steps=4, **ASKED)).abs().max() <= 2 / 255
    half = [de.redraw(small, picture, 0.3, steps=10, **ASKED) for picture in (image, other)]
    assert not torch.allclose(*half, atol=0.01)


def test_inpainting_keeps_what_is_outside_of_the_hole_exactly(small):
    image, hole = torch.rand(3, 32, 32), torch.zeros(32, 32)
    hole[8:20, 4:28] = 1
    made = de.inpaint(small, image, hole, n=2, steps=4, **ASKED)
    outside = hole == 0
    assert torch.equal(made[..., outside], image[..., outside].expand(2, -1, -1))
    assert (made[0][..., ~outside] - made[1][..., ~outside]).abs().mean() > 0.01
    torch.testing.assert_close(de.inpaint(small, image, torch.ones(32, 32), steps=4, **ASKED), small.sample(1, 0, steps=4, **ASKED),
                               atol=2 / 255, rtol=0)  # fmt: skip


@torch.no_grad()
def test_what_is_inpainted_has_seen_what_is_around(small):
    hole = torch.zeros(32, 32)
    hole[8:24, 8:24] = 1
    dark, light = (de.inpaint(small, torch.full((3, 32, 32), grey), hole, steps=6, **ASKED) for grey in (0.0, 1.0))
    assert not torch.allclose(dark[..., 8:24, 8:24], light[..., 8:24, 8:24], atol=0.01)


@pytest.mark.parametrize("wrong, part", [
    ({"image": torch.rand(1, 8, 8)}, r"\[B,3,H,W\]"), ({"image": torch.rand(2, 3, 8, 8)}, r"\[3,H,W\]"), ({"image": "a.png"}, "str"),
    ({"image": 2 * torch.ones(3, 8, 8)}, r"\[0,1\]"), ({"image": torch.full((3, 8, 8), math.nan)}, "NaN"),
    ({"strength": 1.1}, "strength"), ({"n": 0}, "n=0"), ({"n": 10**6}, "n=1000000"), ({"hole": torch.ones(8, 8)}, "hole")])  # fmt: skip
def test_what_cannot_be_redrawn_or_inpainted_gets_one_line(small, wrong, part):
    draw = de.inpaint if "hole" in wrong else de.redraw
    given = {"image": torch.rand(3, 32, 32)} | ({"hole": None} if "hole" in wrong else {}) | wrong
    with pytest.raises(InputError, match=part) as error:
        draw(small, **given, **ASKED)
    assert "\n" not in str(error.value)


# ---- loss and training -----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_the_loss_is_what_its_formula_says(small):
    x0, _, condition = noised(4)
    for drop, dropped in ((0.0, False), (1.0, True)):
        torch.manual_seed(2)
        loss = de.design_loss(small, x0, condition, small.alpha_bar, drop, floor=0.2)
        torch.manual_seed(2)
        t = torch.randint(1000, (4,))
        torch.rand(4)
        noise, total = torch.randn_like(x0), 0.0
        for k in range(4):
            bar = small.alpha_bar[t[k]]
            x_t = bar.sqrt() * x0[k : k + 1] + (1 - bar).sqrt() * noise[k : k + 1]
            answer = small(x_t, t[k : k + 1], {name: values[k : k + 1] for name, values in condition.items()}, torch.tensor([dropped]))
            total += min(max(bar / (1 - bar), 0.2), 5.0) * (answer - x0[k]).square().mean()
        assert loss.item() == pytest.approx(total.item() / 4, rel=1e-3)


def test_two_batches_accumulated_are_one_step_of_the_whole_batch(tmp_path):
    torch.manual_seed(0)
    x0, t, condition = noised(8, 16)
    nets = [with_random_weights(16), with_random_weights(16)]

    def loss(net, some):
        return (net(x0[some], t[some], {name: values[some] for name, values in condition.items()}) - 0.5).square().mean()

    for net, parts in zip(nets, (1, 2), strict=True):
        run = Run("designer", folder=tmp_path / str(parts), accumulate=parts, quiet=True, precision="float32")
        net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
        moved = [run.step(loss(net, some), opt) for some in torch.arange(8).chunk(parts)]
        assert moved == [False] * (parts - 1) + [True]
    for one, two in zip(*(net.parameters() for net in nets), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5)


def fitted(folder, stop_after: int | None = None, accumulate: int = 2):
    """Eight batches of a training that may be cut off; the network, or None."""
    run = Run("designer", folder=folder, accumulate=accumulate, save_seconds=0, quiet=True, precision="float32")
    begun_at, seen = run.count, 0

    def loss_of(net, x0, meta):
        nonlocal seen
        seen += 1
        if stop_after and seen > stop_after:
            raise KeyboardInterrupt
        return de.design_loss(net, x0, meta, bar)

    torch.manual_seed(0)
    net = de.Designer(size=32, widths=[8, 16])
    bar, data = net.alpha_bar, ddpm.Pictures("train", 32, 24)
    try:
        return begun_at, ddpm.fit(run, net, data, loss_of, steps=8, batch_size=4, lr=1e-3)
    except KeyboardInterrupt:
        return begun_at, None


@pytest.mark.parametrize("stop_after", [3, 4, 5])
def test_a_training_that_is_cut_off_ends_bit_identical_with_accumulation(tmp_path, stop_after):
    _, alone = fitted(tmp_path / "alone")
    assert fitted(tmp_path / "cut", stop_after)[1] is None
    begun_at, resumed = fitted(tmp_path / "cut")
    assert begun_at > 0 and equal(alone.state_dict(), resumed.state_dict())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, patch = tmp_path_factory.mktemp("designer"), pytest.MonkeyPatch()
    patch.setattr(de, "condition_diversity", lambda *a, **k: {"same_over_other_meta": 0.5, "diversity_over_real": 1.0})
    patch.setattr(de, "seconds_per_picture", lambda model: 0.1)
    model = de.train(Run("designer", {}, folder=folder, quiet=True), **SMALL)
    patch.undo()
    return model, folder


def test_a_training_leaves_what_it_promises(trained):
    model, folder = trained
    results = json.loads((folder / "results.json").read_text())
    assert de.CRITERIA.keys() <= results.keys() and {"fd", "floor", "precision", "recall", "tone_mae", "cpu_seconds"} <= results.keys()
    kept = zoo.load(folder / "model")
    assert equal(kept.state_dict(), model.state_dict()) and {p.dtype for p in kept.parameters()} == {torch.float32}
    assert torch.equal(kept.alpha_bar, model.alpha_bar) and torch.equal(kept.alpha_bar, ddpm.alpha_bar("zero-snr", 1000))
    assert torch.equal(kept.sample(1, 2, steps=3), model.sample(1, 2, steps=3))
    weights = sum(p.numel() for p in kept.parameters())
    assert (folder / "model" / "model.safetensors").stat().st_size < 2.2 * weights + 30_000, "two bytes a weight"
    card = (folder / "model" / "README.md").read_text()
    assert "Measured on 128 designs" in card and "16 images" in card and f"| fd | {results['fd']:.4g} |" in card


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"lr": 0.0}, {"drop": 1.5}, {"drop": -0.1}, {"size": 20}, {"n_train": 0},
                                   {"n_samples": 50},
                                   {"batch_size": 0}, {"accumulate": 0}, {"decay": 1.0}, {"floor": -1}])  # fmt: skip
def test_parameters_that_make_no_sense_get_one_line_that_names_them(wrong, tmp_path):
    with pytest.raises(InputError) as error:
        de.train(Run("designer", {}, folder=tmp_path, quiet=True), **SMALL | wrong)
    assert next(iter(wrong)) in str(error.value) and "\n" not in str(error.value)


def test_a_last_batch_that_would_move_nothing_is_refused(tmp_path):
    with pytest.raises(InputError, match="accumulate=3"):
        de.train(Run("designer", {}, folder=tmp_path, quiet=True), **SMALL | {"accumulate": 3})


def test_training_learns_to_use_the_condition():
    torch.manual_seed(0)
    data, net = ddpm.Pictures("train", 32, 16), de.Designer(size=32, widths=[16, 32])
    opt = torch.optim.AdamW(net.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = de.design_loss(net, *data.batch(16), net.alpha_bar)
        opt.zero_grad()
        loss.backward()
        opt.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert net.net.middle[0].attention.cross.out.weight.abs().sum() > 0, "it no longer ignores the tokens"
    assert net.tokens.null.grad is not None


# ---- what ships ------------------------------------------------------------------------------------------------------


def test_a_checkpoint_of_another_model_or_a_truncated_one_gets_one_line(trained, tmp_path):
    _, folder = trained
    for name, spoil in (("truncated", lambda bad: bad[: len(bad) // 2]), ("empty", lambda bad: b"")):
        bad = tmp_path / name
        bad.mkdir()
        (bad / "config.json").write_bytes((folder / "model" / "config.json").read_bytes())
        (bad / "model.safetensors").write_bytes(spoil((folder / "model" / "model.safetensors").read_bytes()))
        with pytest.raises(InputError, match="Designer") as error:
            zoo.load(bad)
        assert "\n" not in str(error.value)
    (bad / "model.safetensors").write_bytes((zoo.find("metrics") / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="not a Designer"):
        zoo.load(bad)


def test_the_shipped_designer_is_about_as_good_as_its_card_says(shipped):
    test, reader = ddpm.Pictures("test", shipped.size, 64), zoo.load("metrics")
    made = shipped.sample_for(test.meta, seed=1, steps=12)
    found = metrics.condition_agreement(reader, made, test.meta["goal"], test.meta["format"], test.meta["tone"])
    card = (zoo.find("designer") / "README.md").read_text()
    told = {name: float(card.split(f"| {name} |")[1].split("|")[0]) for name in ("goal_accuracy", "format_accuracy")}
    assert found["goal_accuracy"] == pytest.approx(told["goal_accuracy"], abs=0.12)
    assert found["format_accuracy"] == pytest.approx(told["format_accuracy"], abs=0.08)
    assert found["tone_correlation"] >= de.CRITERIA["tone_correlation"][1] - 0.05


def test_every_slider_of_the_shipped_designer_moves_the_picture(shipped):
    base = shipped.sample(seed=3, steps=6)
    changes = {"goal": "showcase", "format": "banner", "tone": 1.0, "guidance": 6.0, "steps": 3}
    assert changes.keys() == shipped.controls.keys()
    for name, value in changes.items():
        assert (shipped.sample(seed=3, **{"steps": 6} | {name: value}) - base).abs().mean() > 0.002, name


def test_a_shipped_design_is_the_same_however_many_are_asked_for(shipped):
    one, many = (shipped.sample(n, 5, steps=6, **ASKED) for n in (1, 12))
    assert (many[:1] - one).abs().max() <= 2 / 255
