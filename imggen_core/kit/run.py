"""`Run`: one training's folder, progress, history and saved state. Kill it at any moment, run it again, and it ends bit-identical.

A training loop stays visible and asks its run for what is dull:

    net, opt, data = run.prepare(net, opt, data)     # device, precision, processes; goes back to the newest saved state
    for epoch in run.epochs(8):                      # or: for step in run.steps(1000)
        for image, target in run.batches(data):
            run.step(loss(net(image), target), opt)  # backward, clip, step, zero_grad
        run.log(**evaluate(net))                     # history.csv, TensorBoard, live chart

What makes the resumed run identical: everything that went through `prepare` is saved, with every random generator; batches are drawn
from random generators of their own, so that a loader can be wound forward to where it stood; and rows of the history that were written
after the saved step are dropped. What is not given to `prepare` and changes from step to step is lost.
"""

import contextlib
import json
import math
import os
import re
import shutil
import time
from pathlib import Path
from types import MethodType

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader

from . import cards, files, processes, settings, untrusted, zoo
from .files import shown
from .folder import DYING, WRITER, claim, hold, writing
from .history import Clock, History, keep_file, number, read_rows
from .progress import bar
from .settings import InputError
from .state import Randomness, checked, random_state, read_state, set_random_state, unpack_state, write_state

FLUSH_SECONDS = 2.0  # history.csv and log.txt are at most this much behind


class Run:
    """One training in one folder; the same folder again goes on where the last saved state stands.

    chapter: its name; parameters: what the training depends on (JSON values; kept in params.json and compared when the folder is opened
    again); folder: default IMGGEN_RUN_DIR, else a fresh one in runs/; no other process can open it while this object is kept; scale:
    default IMGGEN_SCALE, else laptop; accumulate: `step` calls per optimiser step; clip: largest gradient norm; save_seconds: time
    between saves. Raises InputError for a folder that belongs to another chapter or to other parameters, or in which another process
    trains, and when the disk is full.
    """

    def __init__(self, chapter: str, parameters: dict | None = None, *, folder=None, scale: str | None = None, device: str = "auto",
                 precision: str = "auto", seed: int = 0, accumulate: int = 1, clip: float | None = None, save_seconds: float = 20.0,
                 quiet: bool = False):  # fmt: skip
        self.chapter, self.seed, self.accumulate, self.clip, self.save_seconds = chapter, seed, accumulate, clip, save_seconds
        self.scale = scale or os.environ.get("IMGGEN_SCALE") or "laptop"
        self.device = settings.choose_device(device)
        self.precision = settings.choose_precision(self.device, precision)
        self.rank, self.processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        if "TORCHELASTIC_RUN_ID" in os.environ and not processes.command():
            processes.end_with(os.getppid())  # the torchrun that a person typed
        if self.processes > 1:
            self._join()
        given = folder or os.environ.get("IMGGEN_RUN_DIR")
        self.folder = Path(self._share(str(given or files.fresh_folder(settings.RUNS, chapter)) if self.main else None))
        with self._disk():
            self._open_folder(plain(parameters or {}))

        self.count = 0  # steps (batches; rounds, where there are no batches) that have begun
        self._objects, self._loaders, self._pending = [], [], {}
        self._loop, self._inside, self._epochs, self._batched, self._stopped, self._replayed = 0, False, False, False, False, False
        self._position = {}  # where a save taken now would continue
        self._losses, self._loss_sum = 0, None
        self._next_save = time.monotonic() + save_seconds
        self._log_lines, self._flushed, self._said = [], 0.0, 0.0
        self._history = self._tensorboard = self._chart = None
        if not quiet:
            self.say(self._first_line())
        self._saved = self._restored = self._choose_state()  # _saved: what to go back to, until its loop is reached
        rows = self._share(self._rows() if self.main else None)
        self._history = History(self.path("history.csv"), rows, self.main)
        if self._saved:
            self.count = self._saved["step"]
            self.say(f"{self._label()}: {'finished at' if self._saved['done'] else 'goes on after'} step {self.count}")
        self._data_random = Randomness(seed + 1_000_003)
        torch.optim.SGD([torch.zeros(1)], lr=0)  # the first optimiser imports a second's worth of PyTorch: not on the training's clock
        settings.seed_everything(seed)
        self._clock = Clock()

    # ------------------------------------------------------------------------------------------------------------- the folder

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def path(self, name: str) -> Path:
        """A file of this run's folder."""
        return self.folder / name

    def part(self, name: str, **parameters) -> "Run":
        """A further training inside this folder (parts/NAME), with its own history and state. Create it right before it trains.

        It takes over this run's settings; `precision` may differ.
        """
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"part {name!r}: a part's name is a folder's name: letters, digits, - and _")
        precision = parameters.pop("precision", self.precision)
        return Run(self.chapter, parameters, folder=self.folder / "parts" / name, scale=self.scale, device=self.device.type,
                   precision=precision, seed=self.seed, accumulate=self.accumulate, clip=self.clip, save_seconds=self.save_seconds,
                   quiet=True)  # fmt: skip

    def say(self, text: str) -> None:
        """Print a line, and keep it in log.txt."""
        if self.main:
            text = files.printable(text)
            print(text, flush=True)
            self._log_lines.append(text)
            self._flush()

    def results(self, **values) -> None:
        """Merge `values` into results.json, what other programs read; NaN and infinity become null."""
        if self.main:
            with self._disk():
                path = self.path("results.json")
                try:
                    before = dict(untrusted.read_json(path)) if path.exists() else {}
                except (ValueError, TypeError):
                    before = {}  # not what a run wrote
                files.write(path, json.dumps({**before, **plain(values, finite=True)}, indent=2) + "\n")
            self._flush()

    def _open_folder(self, parameters: dict) -> None:
        """Claim the folder and lock it, once for all processes: each raises what is wrong with it, or that they were not started alike."""
        wrong = None
        if self.main:
            try:
                with claim(self.folder, self.chapter, self.scale, parameters) as held:
                    held.enter_context(hold(self.folder, WRITER, DYING))
                    self._held = held.pop_all()  # as long as this run can write
            except InputError as error:
                wrong = str(error)
        if wrong := self._share(wrong):
            raise InputError(wrong)
        if self.processes > 1:
            everyone = [None] * self.processes
            torch.distributed.all_gather_object(everyone, {"chapter": self.chapter, "scale": self.scale, **parameters})
            first, *others = everyone
            if different := sorted({name for other in others for name in first | other if first.get(name) != other.get(name)}):
                raise InputError(f"{', '.join(different)}: not the same in all processes — give every machine the same command")

    def _first_line(self) -> str:
        words = [self.chapter, f"{self.scale} scale"]
        n = torch.get_num_threads()
        threads = f", {n} thread{'s'[: n > 1]}" if self.device.type == "cpu" else ""
        processes = f", {self.processes} processes" if self.processes > 1 else ""
        words.append(f"{self.device.type}, {'float32' if self.precision == 'no' else 'bfloat16'}{threads}{processes}")
        chapter = settings.chapters().get(self.chapter)
        minutes = chapter.minutes.get(self.scale) if chapter else None
        if minutes:
            words.append(f"about {minutes:g} min" if minutes >= 1 else f"about {60 * minutes:.0f} s")
        folder = self.folder.resolve()
        words.append(str(folder.relative_to(settings.ROOT) if folder.is_relative_to(settings.ROOT) else self.folder))
        return " · ".join(words)

    def _disk(self):
        """Turn a full or read-only disk into one line."""
        return writing(self.folder)

    # ------------------------------------------------------------------------------------------------------- the training loop

    def prepare(self, *objects):
        """Put modules, optimisers, loaders and schedulers on the device, among the processes, and into the state that is saved.

        Modules compute in this run's precision; convolutional ones become channels-last. Loaders give each process its share of every
        batch. Schedulers move when their optimiser does. Any other object with `state_dict` and `load_state_dict`, or a
        torch.Generator, is saved as it is. Whatever the newest good state holds is restored. Returns the objects in the order given.
        """
        known = (nn.Module, Optimizer, DataLoader, LRScheduler)
        for thing in objects:
            if not isinstance(thing, known) and not (hasattr(thing, "state_dict") or isinstance(thing, torch.Generator)):
                raise TypeError(f"prepare: {type(thing).__name__} has no state_dict — move tensors with .to(run.device), wrap the rest")
            if isinstance(thing, DataLoader) and thing.batch_size:
                self.per_process(thing.batch_size)
        placed = {id(thing): self._placed(thing) for thing in objects if isinstance(thing, nn.Module)}  # optimisers follow their modules
        prepared = [placed[id(thing)] if id(thing) in placed else self._prepared(thing) for thing in objects]
        for thing in prepared:
            if isinstance(thing, DataLoader):
                self._loaders.append(thing)
            else:
                self._objects.append(thing)
                self._restore(len(self._objects) - 1)
        if not self._loop:
            if self.rank:
                torch.manual_seed(self.seed + self.rank)  # equal weights, but noise of its own
            self._clock = Clock()
        return prepared[0] if len(prepared) == 1 else tuple(prepared)

    def _placed(self, net: nn.Module) -> nn.Module:
        """`net` on the device, in this run's precision, and averaging its gradients among the processes."""
        if isinstance(net, DistributedDataParallel):
            return net
        if any(isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) for module in net.modules()):
            net.to(memory_format=torch.channels_last)
        net.to(self.device)
        if self.precision == "bf16" and "forward" not in vars(net):  # a network that was prepared before keeps its precision
            net.forward = MethodType(in_bfloat16(type(net).forward, self.device), net)
        if self.processes > 1 and any(p.requires_grad for p in net.parameters()):
            return DistributedDataParallel(net, device_ids=None if self.device.type == "cpu" else [self.device.index])
        return net

    def _prepared(self, thing):
        if isinstance(thing, Optimizer):
            thing.load_state_dict(thing.state_dict())  # moves what it remembers to where its parameters are now
        elif isinstance(thing, LRScheduler):
            return Scheduler(thing, lambda: not self._pending.get(id(thing.optimizer)))
        elif isinstance(thing, DataLoader):
            from accelerate.data_loader import prepare_data_loader

            # split_batches: a batch size means the same however many processes share the batch.
            return prepare_data_loader(thing, self.device, self.processes, self.rank, split_batches=self.processes > 1, put_on_device=True,
                                       rng_types=["generator"])  # fmt: skip
        return thing

    def unwrap(self, net: nn.Module) -> nn.Module:
        """The module itself, without the wrapper that several processes need."""
        return net.module if isinstance(net, DistributedDataParallel) else net

    def steps(self, n: int):
        """0..n-1, with a progress bar and timed saves; goes on after the last saved step, and yields nothing once finished."""
        with self._loop_of(n, self._label()) as (start, progress):
            for step in range(start, n):
                self.count += 1
                self._position = {"at": step + 1}
                yield step
                progress.update()
                self._tick()
                if self._stopped:
                    break

    def epochs(self, n: int):
        """0..n-1 like `steps`, for epochs whose batches come from `batches`; goes on in the middle of an epoch."""
        with self._loop_of(n, self._label("epochs"), epochs=True) as (start, progress):
            for epoch in range(start, n):
                self._position = {"at": epoch}
                self._pass, self._batched = 0, False
                yield epoch
                if not self._batched:
                    self.count += 1
                self._position = {"at": epoch + 1}
                progress.update()
                self._tick()
                if self._stopped:
                    break

    def batches(self, loader):
        """The batches of one epoch, with a progress bar and timed saves; a resumed epoch goes on at the batch after the last saved one.

        To get there the loader is run, without training, from the epoch's first batch: its workers must not persist between epochs.
        """
        if not self._epochs:
            raise RuntimeError("run.batches belongs inside `for epoch in run.epochs(...)`")
        self._pass, self._batched = self._pass + 1, True
        number, begun = self._pass, 0
        if self._saved:
            if number < self._saved["position"]["pass"]:
                return
            begun = self._saved["position"]["batch"]
            self._set_data_random(self._saved["data_random"])
        at, data_random = self._position["at"], self._get_data_random()
        with self._data_random:
            iterator = iter(loader)
            if any(next(iterator, self) is self for _ in range(begun)):
                with self._fitting("the loader"):
                    raise ValueError(f"which has less than {begun} batches")
        if self._saved:
            self._resume()
        length = len(loader) if hasattr(loader, "__len__") else None
        with bar(length, self._label(f"epoch {at + 1}"), begun, self.main) as progress:
            while True:
                with self._data_random:
                    batch = next(iterator, self)
                if batch is self:
                    break
                self.count, begun = self.count + 1, begun + 1
                self._position = {"at": at, "pass": number, "batch": begun, "data_random": data_random}
                yield batch
                progress.update()
                self._tick()
                if self._stopped:
                    break
        self._position = {"at": at, "pass": number, "batch": begun, "data_random": data_random}

    def step(self, loss: torch.Tensor, opt) -> bool:
        """Backward, clip, optimiser step, zero_grad; with accumulate=k the optimiser moves at every k-th call. True if it moved.

        Only `opt`'s own parameters get gradients, so two optimisers (a GAN's) do not disturb each other.
        """
        parameters = [p for group in opt.param_groups for p in group["params"] if p.requires_grad]
        calls = self._pending.get(id(opt), 0) + 1
        self._losses, detached = self._losses + 1, loss.detach()
        self._loss_sum = detached if self._loss_sum is None else self._loss_sum + detached
        if self.accumulate > 1:
            loss = loss / self.accumulate
        if self.processes == 1:
            loss.backward(inputs=parameters)
        else:  # every parameter's hook must fire, so what other losses left is cleared first
            if calls == 1:
                opt.zero_grad(set_to_none=True)
            loss.backward()
        moves = calls == self.accumulate
        self._pending[id(opt)] = 0 if moves else calls
        if moves:
            if self.clip is not None:
                nn.utils.clip_grad_norm_(parameters, self.clip)
            opt.step()
            opt.zero_grad(set_to_none=True)
        return moves

    def stop(self) -> None:
        """End the loop after this step as if it had been the last: early stopping that is saved as the end."""
        self._stopped = True

    def _begin(self, n: int, epochs: bool = False) -> int:
        """Where the loop that begins now goes on."""
        if self._inside:
            raise RuntimeError("a run has one loop at a time — give a further training its own run.part(name)")
        self._loop, self._inside, self._epochs, self._stopped = self._loop + 1, True, epochs, False
        start, saved = 0, self._saved
        self._replayed = bool(saved) and (self._loop < saved["loop"] or saved["done"])
        if saved:
            start = n if self._replayed else saved["position"]["at"]
            if self._loop == saved["loop"] and (saved["done"] or "pass" not in saved["position"]):
                self._resume()
        self._position = {"at": start}
        if not self._replayed:
            self._clock.start()
        return start

    def _end(self) -> None:
        self._clock.stop()
        for thing in self._objects:
            if isinstance(thing, Optimizer) and any(self._pending.values()):
                thing.zero_grad()  # gradients of a begun accumulation are not saved, so nothing may depend on them
            if self.processes > 1 and isinstance(thing, nn.Module):  # batch statistics are each process's own: the first one's count
                for buffer in thing.buffers():
                    torch.distributed.broadcast(buffer, 0)
        self._pending, self._inside, self._epochs = {}, False, False
        if not self._replayed:
            self._save(done=True)
        self._flush()
        if self._chart is not None:
            self._chart.update(self.history, last=True)

    @contextlib.contextmanager
    def _loop_of(self, n: int, label: str, epochs: bool = False):
        """One loop from its start, or from where it is resumed, to its end; a `break` without `stop` is not saved as its end."""
        start = self._begin(n, epochs)
        try:
            with bar(n, label, start, self.main) as progress:
                yield start, progress
        except GeneratorExit:
            self._clock.stop()
            self._inside = self._epochs = False
            self._end() if self._stopped else self._flush()
            raise
        self._end()

    def _tick(self) -> None:
        """The end of a step: save if it is time."""
        if self.processes > 1:
            if self.count % 16 == 0 and self._share(time.monotonic() >= self._next_save):
                self._save()
        elif time.monotonic() >= self._next_save and not any(self._pending.values()):
            self._save()

    # --------------------------------------------------------------------------------------------------- history and pictures

    def log(self, **numbers) -> None:
        """One row of history.csv (step, seconds, cpu_seconds, then `numbers`), TensorBoard scalars, live chart, now and then log.txt."""
        if self._saved:
            return  # this row is already in the history that the saved state left
        seconds, cpu_seconds = self.seconds, self.cpu_seconds
        with self._aside():
            step = self._step()
            numbers = {name: number(name, value) for name, value in numbers.items()}
            self._history.add({"step": step, "seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3), **numbers})
            self._losses, self._loss_sum = 0, None
            if not self.main:
                return
            with self._disk():
                if self._tensorboard is None:
                    from torch.utils.tensorboard import SummaryWriter

                    self._tensorboard = SummaryWriter(str(self.path("tensorboard")), purge_step=step)
                for name, value in numbers.items():
                    self._tensorboard.add_scalar(name, value, step)
            now = time.monotonic()
            if now - self._said >= FLUSH_SECONDS or not self._inside:
                self._said = now
                said = " · ".join(f"{name} {value:.4g}" for name, value in numbers.items())
                self._log_lines.append(f"step {step} · {said} · {seconds:.1f} s")
                self._show_chart(numbers)
            if now - self._flushed >= FLUSH_SECONDS or not self._inside:
                self._flush()

    def _step(self) -> int:
        """The steps so far, this one included; an epoch without batches is one step."""
        return self.count + (self._epochs and not self._batched)

    @property
    def history(self) -> dict[str, list[float]]:
        """Every column logged so far, as lists of equal length (NaN where a row has no value)."""
        return self._history.columns()

    @property
    def mean_loss(self) -> float:
        """The mean of the losses given to `step` since the last `log` (NaN if there were none); it survives a kill."""
        return float(self._loss_sum) / self._losses if self._losses else math.nan

    @property
    def cpu_seconds(self) -> float:
        """Processor time of this training, before a resume included; without what the run itself spends on logs, pictures and saves."""
        return self._clock.read()[1]

    @property
    def seconds(self) -> float:
        """Wall-clock time of this training, counted like `cpu_seconds`."""
        return self._clock.read()[0]

    def picture(self, image, name: str | None = None) -> None:
        """Keep a picture as progress/000123.png (the step), or progress/NAME.png.

        image: floats [3,H,W] or [H,W,3] in [0,1], a PIL picture, or a matplotlib figure.
        """
        if self._saved or not self.main:
            return
        with self._aside(), self._disk():
            path = self.path("progress") / f"{name or f'{self._step():06d}'}.png"
            if hasattr(image, "savefig"):
                path.parent.mkdir(exist_ok=True)
                with files.whole_file(path) as part:
                    image.savefig(part, format="png")
            else:
                from .images import save_image

                save_image(image, path)

    def pictures(self) -> list[Path]:
        """The pictures kept so far, in order."""
        return sorted(self.path("progress").glob("*.png"))

    def keep_best(self, net: nn.Module, name: str, mode: str = "max", card_text: str = "") -> bool:
        """`keep` the network if the newest `name` in the history is the best so far; True if it was."""
        if mode not in ("max", "min"):
            raise ValueError(f"mode {mode!r}: must be max or min")
        if self._saved:
            return False
        values = [row[name] for row in self._history.rows if name in row]
        if not values:
            raise ValueError(f"keep_best: nothing called {name!r} was logged yet")
        sign = 1 if mode == "max" else -1
        best = math.isfinite(values[-1]) and all(not sign * value >= sign * values[-1] for value in values[:-1])
        if best:
            self.keep(net, card_text or f"> {self.chapter}, the best by {name}: {values[-1]:.4g} at step {self._step()}.")
        return best

    def keep(self, net: nn.Module, card_text: str = "", samples=None) -> None:
        """Save the network as model/, loadable by `zoo.load`, in place of the one kept before."""
        if not self._saved and self.main:
            with self._aside(), self._disk():
                zoo.save(self.unwrap(net), self.path("model"), card_text, samples, module=f"imggen_core.{self.chapter}")

    def finish(self, model: nn.Module, figures: dict, criteria: dict | None = None, samples=None, **facts) -> None:
        """The end of a training: `figures` go into results.json, and the model is kept with the card of cards/CHAPTER.md.

        criteria: {figure: (">=" or "<=", bound)}; samples [n,3,H,W] in [0,1]; facts: what else the card's text names. The card also knows
        `minutes`, the processor time of all processes.
        """
        minutes = self.cpu_seconds * self.processes / 60
        self.results(**figures, seconds=self.seconds, cpu_seconds=self.cpu_seconds)
        if self.main:
            self.keep(model, cards.card(self.chapter, model, figures, criteria, **{"minutes": minutes, **facts}), samples)

    def per_process(self, batch_size: int) -> int:
        """How many samples of a batch are this process's; InputError when it cannot be split evenly."""
        if batch_size % self.processes:
            raise InputError(f"batch_size={batch_size}: cannot be split among {self.processes} processes — give a multiple")
        return batch_size // self.processes

    def _show_chart(self, numbers: dict) -> None:
        if settings.headless():
            return
        if self._chart is None:
            from .widgets import LiveChart

            self._chart = LiveChart(list(numbers))
        self._chart.update(self.history)

    def _flush(self) -> None:
        """Bring history.csv, log.txt and the event files up to date."""
        if self.main:
            with self._disk():
                if self._history is not None:
                    self._history.flush()
                lines, self._log_lines = self._log_lines, []
                if lines:
                    with open(self.path("log.txt"), "a", encoding="utf-8") as file:
                        file.write("".join(f"{line}\n" for line in lines))
                if self._tensorboard is not None:
                    self._tensorboard.flush()
            self._flushed = time.monotonic()

    @contextlib.contextmanager
    def _aside(self):
        """Stop the training's clock meanwhile."""
        running = self._clock.stop()
        try:
            yield
        finally:
            if running:
                self._clock.start()

    def _label(self, what: str = "") -> str:
        return " ".join(filter(None, [self.folder.name if self.folder.parent.name == "parts" else self.chapter, what]))

    # --------------------------------------------------------------------------------------------------------- the saved state

    def _save(self, done: bool = False) -> None:
        """Write the state of this moment, complete or not at all."""
        if not self._objects:
            return
        with self._aside():
            begun = time.monotonic()
            position = {key: value for key, value in self._position.items() if key != "data_random"}
            body = {
                "step": self.count, "loop": self._loop, "done": done, "position": position, "history_rows": len(self._history.rows),
                "clock": list(self._clock.read()), "losses": self._losses, "loss_sum": self._loss_sum,
                "random": self._gather(random_state(self.device)),
                "data_random": self._position.get("data_random") or self._get_data_random(),
                "objects": [state_of(self.unwrap(thing)) for thing in self._objects],
                "history_steps": [row.get("step") for row in self._history.rows],
            }  # fmt: skip
            self._flush()
            if self.main:
                with self._disk():
                    write_state(self.path("state"), body)
            # A save that takes long comes less often, so that saving stays below a tenth of the time.
            took = time.monotonic() - begun
            self._next_save = time.monotonic() + self.save_seconds + (10 * took if self.save_seconds else 0)

    def _choose_state(self) -> dict | None:
        """The newest good state; names and removes the damaged ones on the way. Rank 0 chooses and reads it for all."""
        folder, found = self.path("state"), None
        if self.main:
            with self._disk():
                for leftover in folder.glob(".*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                for path in sorted(folder.glob("step-*"), reverse=True):
                    try:
                        found = read_state(path)
                        break
                    except (OSError, ValueError, KeyError, TypeError) as error:
                        self.say(f"{path}: damaged ({error}) — going back to the state before it, or to the beginning if there is none")
                        shutil.rmtree(path, ignore_errors=True)
        if not self._share(found is not None):
            return None
        header, data = found if self.main else (None, b"")
        with self._fitting("a run"):
            return checked(unpack_state(self._share(header), self._share_bytes(data), self.device))

    def _restore(self, index: int) -> None:
        """Give the object prepared as number `index` its saved state, if there is one."""
        if not self._restored or index >= len(self._restored["objects"]):
            return
        thing, state = self.unwrap(self._objects[index]), self._restored["objects"][index]
        self._restored["objects"][index] = None  # once is enough: its memory is free
        with self._fitting(type(thing).__name__):
            thing.set_state(state) if isinstance(thing, torch.Generator) else thing.load_state_dict(state)
            if isinstance(thing, Optimizer):
                same_shapes(thing)

    @contextlib.contextmanager
    def _fitting(self, what: str):
        """Turn what is wrong with the saved state of `what` into one line: nothing in a state is believed before it fits."""
        try:
            yield
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, OverflowError, StopIteration, SafetensorError) as error:
            reason = str(error).strip().splitlines()[0][:80] if str(error).strip() else type(error).__name__
            raise InputError(f"{shown(self.path('state'))}: the saved state does not fit {what} ({reason}) "
                             "— the program has changed since; give another folder (--out)") from None  # fmt: skip

    def _resume(self) -> None:
        """The loop of the saved state has been reached: from here on everything is as it was then."""
        saved, self._saved = self._saved, None
        self._losses, self._loss_sum = saved["losses"], saved["loss_sum"]
        if "pass" not in saved["position"]:
            self._set_data_random(saved["data_random"])
        if self.rank < len(saved["random"]):
            with self._fitting("the random generators"):
                set_random_state(saved["random"][self.rank], self.device)
        self._clock = Clock(*saved["clock"], running=not saved["done"])
        self._next_save = time.monotonic() + self.save_seconds

    def _get_data_random(self) -> dict:
        return {"global": self._gather(self._data_random.get()), "loaders": [generator.get_state() for generator in self._generators()]}

    def _set_data_random(self, state: dict) -> None:
        with self._fitting("the random generators"):
            if self.rank < len(state["global"]):
                self._data_random.set(state["global"][self.rank])
            for generator, saved in zip(self._generators(), state["loaders"], strict=False):
                generator.set_state(saved)

    def _generators(self) -> list[torch.Generator]:
        """The generators that loaders were given: each once, in a fixed order."""
        found = {}
        for loader in self._loaders:
            batches = getattr(loader, "batch_sampler", None)
            batches = getattr(batches, "batch_sampler", batches)
            for owner in (loader, getattr(loader, "sampler", None), batches, getattr(batches, "sampler", None), loader.dataset):
                generator = getattr(owner, "generator", None)
                if isinstance(generator, torch.Generator):
                    found[id(generator)] = generator
        return list(found.values())

    def _rows(self) -> list[dict[str, float]]:
        """The rows of the history that the saved state knows; says which of them are gone, and keeps the file that lacks them."""
        if not self._saved:
            return []
        path, count = self.path("history.csv"), self._saved["history_rows"]
        with self._disk():
            rows, lost = read_rows(path, self._saved.get("history_steps", count))
            if lost:
                kept = f"; the file as it was is {keep_file(path).name}" if path.is_file() else ""
                self.say(f"{path}: {lost} — the training goes on all the same{kept}")
        return rows

    # ------------------------------------------------------------------------------------------------------- several processes

    def _join(self) -> None:
        """Become one of the processes that torchrun started, each with a device of its own (Accelerate knows the environments)."""
        from accelerate import Accelerator

        accelerator = Accelerator(cpu=self.device.type == "cpu", mixed_precision="no")  # precision is each run's own
        self.device, self.rank, self.processes = accelerator.device, accelerator.process_index, accelerator.num_processes

    def _share(self, value):
        """Rank 0's JSON value, on every rank."""
        return value if self.processes == 1 else json.loads(self._share_bytes(json.dumps(value).encode()))

    def _share_bytes(self, data: bytes) -> bytes:
        """Rank 0's bytes, on every rank."""
        if self.processes == 1:
            return data
        size = torch.tensor([len(data)], device=self.device)
        torch.distributed.broadcast(size, 0)
        whole = torch.frombuffer(bytearray(data), dtype=torch.uint8) if self.main else torch.empty(int(size), dtype=torch.uint8)
        whole = whole.to(self.device)
        torch.distributed.broadcast(whole, 0)
        return whole.cpu().numpy().tobytes()

    def _gather(self, state: torch.Tensor) -> list[torch.Tensor]:
        """Every rank's bytes (of equal length), in the order of ranks."""
        if self.processes == 1:
            return [state]
        parts = [torch.empty_like(state, device=self.device) for _ in range(self.processes)]
        torch.distributed.all_gather(parts, state.to(self.device))
        return [part.cpu() for part in parts]


class Scheduler:
    """A learning rate scheduler that moves when its optimiser moved, so that accumulated steps count once; otherwise as it was."""

    def __init__(self, scheduler: LRScheduler, moved):
        self.scheduler, self.moved = scheduler, moved

    def step(self, *arguments) -> None:
        if self.moved():
            self.scheduler.step(*arguments)

    def __getattr__(self, name: str):
        return getattr(self.scheduler, name)


def in_bfloat16(forward, device: torch.device):
    """A module's `forward` with its matrix products in bfloat16 and its outputs in float32."""
    from accelerate.utils import convert_outputs_to_fp32

    return convert_outputs_to_fp32(torch.autocast(device.type, torch.bfloat16)(forward))


def same_shapes(opt: Optimizer) -> None:
    """ValueError unless the moments that an optimiser was given are of their parameters' shapes."""
    for weight, kept in opt.state.items():
        for name in {"exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer"} & kept.keys():
            if getattr(kept[name], "shape", weight.shape) != weight.shape:
                raise ValueError(f"{name} is {list(kept[name].shape)}, and its parameter {list(weight.shape)}")


def state_of(thing):
    return thing.get_state() if isinstance(thing, torch.Generator) else thing.state_dict()


def plain(value, finite: bool = False):
    """`value` as JSON has it: tuples as lists, paths as texts, tensors as numbers; with `finite`, NaN and infinity as None."""
    if isinstance(value, dict):
        return {str(key): plain(item, finite) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, finite) for item in value]
    if isinstance(value, (torch.Tensor, np.ndarray, np.generic)):
        return plain(value.tolist(), finite)
    if isinstance(value, float) and finite and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
