"""Chapter 03: models trained as one are the models trained alone; killed, spread or repeated, a contest ends the same."""

import json
import math
import os
import re
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_core import population as pop
from imggen_core.kit import processes, training, zoo
from imggen_core.kit.run import Run
from imggen_core.kit.settings import ROOT, InputError

SIZE = {"boxes": 6, "height": 9, "width": 12}
SMALL = {"image_size": 16, "boxes": 6, "population": 33, "rounds": 2, "iterations": 60}
GOAL = torch.linspace(0, 1, 3 * 9 * 12).view(3, 9, 12)


@pytest.fixture(autouse=True)
def one_thread():
    with training.one_thread():
        yield


def trained_alone(model_class, seed: int, steps: int, lr: float = 0.005, goal=GOAL, **size):
    """The slow, obvious way: one model, torch's own Adam."""
    torch.manual_seed(seed)
    model = model_class(**size)
    adam = torch.optim.Adam(model.parameters(), lr)
    for _ in range(steps):
        adam.zero_grad()
        (model() - goal).square().mean().backward()
        adam.step()
    return dict(model.named_parameters())


def crowd(count: int = 8, lr: float = 0.005, model_class=pop.Boxes, **size):
    return pop.populate(model_class, range(count), lr, **(size or SIZE))


def equal(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# ---- one batched computation -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model_class, size", [(pop.Boxes, SIZE), (pop.PixelNet, {"height": 9, "width": 12})])
def test_models_trained_as_one_are_the_models_trained_alone(model_class, size):
    models = crowd(8, model_class=model_class, **size)
    pop.descend(models, GOAL, 20)
    for k in range(8):
        for name, value in trained_alone(model_class, k, 20, **size).items():
            assert (models.parameters[name][k] - value).abs().max() <= 1e-5, (k, name)


def test_survivors_train_on_as_if_they_had_always_been_alone():
    models = crowd(8)
    pop.descend(models, GOAL, 10)
    pop.keep(models, torch.tensor([5, 2]))
    pop.descend(models, GOAL, 10)
    assert models.members.tolist() == [5, 2] and len(models) == 2
    for place, k in enumerate([5, 2]):
        for name, value in trained_alone(pop.Boxes, k, 20, **SIZE).items():
            assert (models.parameters[name][place] - value).abs().max() <= 1e-5, (k, name)


def test_a_part_shares_no_memory_with_the_population_it_comes_from():
    models = crowd(4)
    pop.descend(models, GOAL, 3)
    before = {name: value.clone() for name, value in models.state_dict().items()}
    pop.descend(pop.part(models, torch.arange(4)), GOAL, 3)
    assert equal(models.state_dict(), before)


def test_a_member_depends_on_its_own_seed_alone():
    few, many = pop.pictures(crowd(3)), pop.pictures(crowd(9))
    torch.testing.assert_close(few, many[:3], rtol=0, atol=1e-6)
    assert equal({k: v[:3] for k, v in crowd(9).parameters.items()}, crowd(3).parameters)
    before = torch.get_rng_state()
    crowd(3)
    assert torch.equal(torch.get_rng_state(), before), "building a population must leave the random state alone"


def test_one_thread_gives_the_threads_back_also_after_an_error():
    torch.set_num_threads(2)
    with pytest.raises(ZeroDivisionError), training.one_thread():
        assert torch.get_num_threads() == 1
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2


# ---- the best tenth --------------------------------------------------------------------------------------------------


def test_survivors_are_the_best_tenth_rounded_down_but_never_none():
    counts = [pop.survivors(count) for count in range(1, 1001)]
    assert all(count == max(1, math.floor(k / 10)) for k, count in enumerate(counts, 1))
    assert all(1 <= count <= k for k, count in enumerate(counts, 1)) and counts == sorted(counts)
    with pytest.raises(InputError, match="population=0"):
        pop.survivors(0)


@given(st.lists(st.floats(0, 10) | st.just(math.nan), min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_ranked_puts_the_best_first_keeps_ties_in_order_and_the_diverged_last(values):
    expected = sorted(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i] if values[i] == values[i] else 0))
    assert pop.ranked(torch.tensor(values, dtype=torch.float64)).tolist() == expected


def test_bred_members_are_copies_with_noise_and_the_parents_stay():
    models = crowd(2)
    pop.descend(models, GOAL, 2)
    parents = {name: value.clone() for name, value in models.parameters.items()}
    pop.breed(models, 5, 0.01, torch.Generator().manual_seed(0))
    assert models.members.tolist() == [0, 1, 0, 1, 0]
    for name, value in models.parameters.items():
        assert torch.equal(value[:2], parents[name])
        away = (value[2:] - parents[name][torch.tensor([0, 1, 0])]).abs().max()
        assert 0 < away < 0.06
    pop.descend(models, GOAL, 1)


@pytest.mark.parametrize("budget", [1610, 4600, 23000])
def test_every_way_spends_the_same_steps(budget):
    for way, rounds in pop.schedules(budget).items():
        assert 0.93 * budget <= sum(count * steps for count, steps in rounds) <= budget, way


def test_a_tournament_is_a_function_of_its_seed():
    play = partial(pop.tournament, pop.Boxes, GOAL, rounds=[(12, 5), (12, 5)], lr=0.01, perturb=0.01, **SIZE)
    assert play(1) == play(1) != play(2)


def test_long_runs_are_the_first_members_trained_alone():
    finals = pop.long_runs(pop.Boxes, GOAL, [0, 3], [5, 20], 0.005, **SIZE)
    for place, seed in enumerate([0, 3]):
        values = trained_alone(pop.Boxes, 1000 * seed, 20, **SIZE)
        loss = (torch.func.functional_call(pop.Boxes(**SIZE), values, ()) - GOAL).square().mean()
        assert abs(finals[20][place] - pop.psnr_db(loss)) < 1e-3
    assert (finals[20] > finals[5]).all()


# ---- processes -------------------------------------------------------------------------------------------------------


def test_two_processes_end_bit_for_bit_where_one_ends():
    one, two = crowd(40), crowd(40)  # more than a batch, so that both processes get something
    with processes.spawned(2) as pool:
        losses = [pop.advance(one, GOAL, 8), pop.advance(two, GOAL, 8, pool)]
    assert torch.equal(*losses) and equal(one.state_dict(), two.state_dict())


@pytest.mark.parametrize("workers", [-1, 1.5, "two", True, 65])
def test_a_number_of_workers_that_makes_no_sense_is_refused(workers):
    with pytest.raises(InputError, match=re.escape(f"workers={workers!r}: must be a whole number")):
        processes.spawned(workers)


def test_workers_on_a_gpu_are_refused():
    with pytest.raises(InputError, match="workers=2: processes share a round on the CPU only"):
        pop.train(SimpleNamespace(device=torch.device("cuda")), **SMALL | {"workers": 2})


ORPHANS = """
import os, sys, time
from imggen_core.kit import processes
if __name__ == "__main__":
    pool = processes.spawned(1).__enter__()
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie that nobody has reaped yet does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="looks for the child in /proc")
def test_children_end_when_their_parent_is_killed(tmp_path):
    script = tmp_path / "orphans.py"
    script.write_text(ORPHANS)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 10
    while alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(child)


# ---- the contest -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contest_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contest")
    return pop.train(Run("population", {}, folder=folder, quiet=True), **SMALL), folder


def test_a_contest_leaves_what_it_promises(contest_run):
    contest, folder = contest_run
    results = json.loads((folder / "results.json").read_text())
    assert (results["width"], results["height"], results["population"], results["survivors"]) == (16, 12, 33, [3, 1])
    assert [row["members"] for row in results["rounds"]] == [33, 3]
    goal = pop.targets.target(ROOT / "data/wireframe.svg", 16)
    assert results["psnr_db"] == pytest.approx(pop.psnr_db((contest.sample()[0] - goal).square().mean()).item())
    assert results["psnr_db"] >= pop.psnr_db(contest.losses[-1].min()) - 1e-4, "clipping a picture to [0,1] takes nothing away"
    assert len(list((folder / "progress").glob("*.png"))) == 2
    history = (folder / "history.csv").read_text().splitlines()
    assert len(history) == 1 + 2 * 2 and "best_db" in history[0]


def test_the_members_that_go_on_are_the_best_of_the_round(contest_run):
    contest, _ = contest_run
    went_on = (contest.took_part == 2).nonzero().flatten()
    assert sorted(went_on.tolist()) == sorted(contest.losses[1].argsort()[:3].tolist())
    dropped = contest.took_part == 1
    assert torch.equal(contest.losses[1, dropped], contest.losses[2, dropped]), "who was dropped stays as it was"
    assert contest.ranking()[0] == contest.losses[2].argmin() or contest.losses[2, contest.ranking()[0]] == contest.losses[2, went_on].min()
    assert sorted(contest.ranking().tolist()) == list(range(33))


def test_what_is_recorded_is_what_is_painted(contest_run):
    contest, _ = contest_run
    goal = pop.targets.target(ROOT / contest.target, 16)
    for member in (1, 2, 33):
        for number in (0, 1, 2):
            settings = {"boxes": 6, "height": 12, "width": 16}
            painter, place = pop.Boxes(**settings), (number, contest.ranking()[member - 1])
            state = {name: contest.get_buffer(name)[place] for name, _ in painter.named_parameters()}
            picture = torch.func.functional_call(painter, state, ())
            assert torch.allclose(contest.sample(round=number, member=member)[0], picture.clamp(0, 1), atol=1e-6)
            assert (picture - goal).square().mean() == pytest.approx(contest.losses[place].item(), rel=1e-4)


def test_a_run_keeps_its_contest_as_a_model_with_a_card(contest_run):
    contest, folder = contest_run
    assert equal(zoo.load(folder / "model").state_dict(), contest.state_dict())
    card = (folder / "model" / "README.md").read_text()
    assert f"{pop.evaluate(contest)['psnr_db']:.2f} dB" in card and "| 1 | 33 | 3 |" in card


# ---- what ships ------------------------------------------------------------------------------------------------------


def test_the_shipped_contest_meets_its_criteria():
    figures = pop.evaluate(zoo.load("population"))
    for name, (sign, bound) in pop.CRITERIA.items():
        assert figures[name] >= bound if sign == ">=" else figures[name] <= bound, (name, figures[name])


def test_every_slider_of_the_shipped_contest_moves_the_picture():
    contest = zoo.load("population")
    base = contest.sample()
    assert base.shape == (1, 3, 48, 64) and torch.equal(base, contest.sample())
    for change in ({"round": 0}, {"member": contest.population}, {"wander": 0.1}):
        assert (contest.sample(**change) - base).abs().mean() > 0.005, change
    wandering = contest.sample(3, seed=4, wander=0.1)
    torch.testing.assert_close(contest.sample(2, seed=4, wander=0.1), wandering[:2], rtol=0, atol=1e-6)
    assert not torch.allclose(wandering[0], wandering[1], atol=0.01)
    with pytest.raises(InputError, match="member"):
        contest.sample(member=0)


# ---- several seeds of any fit ----------------------------------------------------------------------------------------


def fit_stub(seed: int, scale: float = 1.0) -> float:
    return scale * {1: 2.0, 2: math.nan, 3: 7.0, 4: 7.0}.get(seed, 0.0)


def test_best_of_seeds_keeps_the_highest_score_the_first_of_equals_and_no_nan():
    best = pop.best_of_seeds(fit_stub, [2, 1, 3, 4], lambda result: result)
    assert (best.result, best.seed) == (7.0, 3) and best.scores[1] == best.results[1] == 2.0 and math.isnan(best.scores[2])
    assert pop.best_of_seeds(fit_stub, (1, 3), lambda result: -result).seed == 1
    with pytest.raises(InputError, match="no seeds"):
        pop.best_of_seeds(fit_stub, [], abs)


def test_best_of_seeds_in_processes_finds_the_same():
    fit = partial(pop.tournament, pop.Boxes, GOAL, rounds=[(2, 3)], lr=0.01, **SIZE)
    assert pop.best_of_seeds(fit, [1, 2], float, workers=1) == pop.best_of_seeds(fit, [1, 2], float)


def test_a_fit_that_no_process_can_import_is_refused_in_one_line():
    def fit(seed):
        return seed

    fit.__module__ = "__main__"
    with pytest.raises(InputError, match="workers=0"):
        pop.best_of_seeds(partial(fit), [1], abs, workers=1)
