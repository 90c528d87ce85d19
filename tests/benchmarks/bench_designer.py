"""Training steps of chapter 10's network against the peers', 64 × 64, batches of 16, 7 to 8 million weights; and seconds for a design.

make bench, or: pip install -e '.[bench]' and python -m pytest -s -o addopts= -o python_files=bench_*.py tests/benchmarks/bench_designer.py
"""

import time

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from imggen_core.ddpm import DenoisingUNet
from imggen_core.designer import Designer, seconds_per_picture
from imggen_core.kit import settings, show, zoo

BATCH, TOKENS, CONTEXT = 16, 3, 128
DEVICE = settings.choose_device()


def lucidrains() -> nn.Module:
    peer = pytest.importorskip("denoising_diffusion_pytorch", reason="the peers come with the bench extra: pip install -e '.[bench]'")
    return peer.Unet(dim=56, dim_mults=(1, 2, 4))


def diffusers_plain() -> nn.Module:
    from diffusers import UNet2DModel

    down, up = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")
    return UNet2DModel(sample_size=64, block_out_channels=(64, 96, 160), down_block_types=down, up_block_types=up)


def diffusers_conditional() -> nn.Module:
    from diffusers import UNet2DConditionModel

    down, up = ("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"), ("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D")
    return UNet2DConditionModel(
        sample_size=64, in_channels=3, out_channels=3, block_out_channels=(64, 96, 128), cross_attention_dim=CONTEXT,
        attention_head_dim=8, down_block_types=down, up_block_types=up,
    )  # fmt: skip


def ours() -> nn.Module:
    """The designer as it is, but with more channels: 7 million weights."""
    return Designer(size=64, widths=(160, 160))


def ours_without_a_stem() -> nn.Module:
    """As many operations as UNet2DModel, to 1 %: no patches, one block a level, attention at the lowest resolution."""
    return DenoisingUNet((72, 136, 176), 1, attended=2)


CONTESTANTS = {
    "lucidrains Unet": lucidrains, "diffusers UNet2DModel": diffusers_plain, "diffusers UNet2DConditionModel": diffusers_conditional,
    "ours, no stem": ours_without_a_stem, "ours": ours,
}  # fmt: skip


class Contest:
    """One network in one precision and layout, with what a training step needs."""

    def __init__(self, build, half: bool, channels_last: bool):
        torch.manual_seed(0)
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        self.half, self.net = half, build().to(DEVICE, memory_format=self.layout).train()
        self.opt = torch.optim.AdamW(self.net.parameters(), 2e-4, fused=True)
        self.x = torch.randn(BATCH, 3, 64, 64, device=DEVICE).to(memory_format=self.layout)
        self.t, self.tokens = torch.randint(1000, (BATCH,), device=DEVICE), torch.randn(BATCH, TOKENS, CONTEXT, device=DEVICE)
        self.condition = {"goal": self.t % 4, "format": self.t % 3, "tone": self.t / 1000}
        self.build = build

    def forward(self, count: int = BATCH) -> torch.Tensor:
        given = [self.x[:count], self.t[:count]]
        if self.build is diffusers_conditional:
            given.append(self.tokens[:count])
        if self.build is ours:
            given.append({name: values[:count] for name, values in self.condition.items()})
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.half):
            prediction = self.net(*given)
        return getattr(prediction, "sample", prediction)

    def step(self) -> float:
        """Seconds of a training step: of processor time on a CPU."""
        clock = time.process_time if DEVICE.type == "cpu" else time.perf_counter
        begun = clock()
        nn.functional.mse_loss(self.forward().float(), self.x).backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0).item()  # .item waits for a GPU
        self.opt.step()
        self.opt.zero_grad()
        return clock() - begun


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so that processor time is the time of the step, whatever else the machine does
    yield
    torch.set_num_threads(threads)


def test_a_training_step_against_the_peers(one_thread):
    ways = [(half, last) for half in (False, True) for last in (False, True)]
    contests = {(name, *way): Contest(build, *way) for name, build in CONTESTANTS.items() for way in ways}
    seconds = {key: [contest.step()][:0] for key, contest in contests.items()}  # one step to warm up
    for _ in range(3):
        for key, contest in contests.items():
            seconds[key].append(contest.step())
    rows = {}
    for name in CONTESTANTS:
        rates = {way: BATCH / min(seconds[name, *way]) for way in ways}
        best, net = max(rates, key=rates.get), contests[name, False, False].net
        with torch.no_grad(), FlopCounterMode(display=False) as count:
            contests[name, False, False].forward(1)
        rows[name] = {"": name, "million weights": sum(p.numel() for p in net.parameters()) / 1e6,
                      "GFLOP/image": count.get_total_flops() / 1e9, "float32, images/s": max(rates[way] for way in ways if not way[0]),
                      "best, images/s": rates[best],
                      "best way": f"{'bfloat16' if best[0] else 'float32'}{', channels-last' * best[1]}"}  # fmt: skip
    for row in rows.values():
        row["ours is faster by"] = rows["ours"]["best, images/s"] / row["best, images/s"]
    print(f"\n{show.table(list(rows.values()), 'training steps, 64 x 64, batches of 16, one thread')!r}")
    rate = {name: row["best, images/s"] for name, row in rows.items()}
    print(f"at equal FLOPs, against UNet2DModel: {rate['ours, no stem'] / rate['diffusers UNet2DModel']:.2f}")
    assert rate["ours"] >= 5 * max(rate["lucidrains Unet"], rate["diffusers UNet2DConditionModel"])
    assert rate["ours, no stem"] >= 1.5 * rate["diffusers UNet2DModel"]


def test_a_design_takes_at_most_a_second():
    seconds = seconds_per_picture(zoo.load("designer").to(DEVICE))
    print(f"\n{seconds:.2f} s for a design: 25 guided DDIM steps, {torch.get_num_threads()} threads")
    assert seconds <= 1
