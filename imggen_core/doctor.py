"""Is this machine ready for the course? One finding after the other: versions, cairo, kernel, disk, device, bfloat16, speed."""

import errno
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from .kit import settings
from .kit.settings import ROOT

# torch takes seconds to import, and may be what is missing: each finding imports what it is about.

Finding = tuple[bool | None, str, str]  # True ok, None worth knowing, False blocking; name; what was found and what to do
CAIRO_HINT = (
    "the cairo library is missing — install it: `apt install libcairo2` (Debian, Ubuntu), `brew install cairo` (macOS) "
    "or `conda install cairo`"
)


def examine() -> Iterator[Finding]:
    """All findings, in the order in which they matter."""
    version = platform.python_version()
    fits = (3, 11) <= sys.version_info < (3, 14)
    yield fits, "Python", version if fits else f"{version} — needs 3.11 to 3.13: make PYTHON=python3.12 install"
    yield from examine_cairo()
    yield from examine_kernel()
    yield from examine_disk()
    try:
        import torch
        import torchvision
    except Exception as error:
        yield False, "torch", f"{described(error)} — install it: make install"
        return
    yield True, "torch", f"{torch.__version__}, torchvision {torchvision.__version__}"
    device = settings.choose_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads, {os.cpu_count()} cores"
    yield True, "device", f"{device.type} ({name})"
    units = settings.bfloat16_units(device)
    yield (True if units else None), "bfloat16", f"{units or 'no units for it'}: training runs in {settings.choose_precision(device)}"
    speed = {kind: conv_speed(device, getattr(torch, kind)) for kind in ("float32", "bfloat16")}
    enough = speed["float32"] >= 10
    text = " · ".join(f"{kind} {value:.0f} GFLOP/s" for kind, value in speed.items())
    yield (True if enough else None), "speed", text if enough else f"{text}: slow, expect several times the stated minutes"


def examine_cairo() -> Iterator[Finding]:
    try:
        import cairosvg

        cairosvg.svg2png(bytestring=b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"/>')
        yield True, "cairo", f"CairoSVG {cairosvg.__version__}, cairo {cairo_version()}"
    except Exception as error:
        yield False, "cairo", CAIRO_HINT if is_cairo(error) else described(error)


def cairo_version() -> str:
    import cairocffi

    return cairocffi.cairo_version_string()


def examine_kernel() -> Iterator[Finding]:
    os.environ.setdefault("JUPYTER_PREFER_ENV_PATH", "1")
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        command = KernelSpecManager().get_kernel_spec("python3").argv[0]
        # Jupyter replaces a bare "python" by the Python that asks.
        same = command.startswith("python") or Path(command).parent.resolve() == Path(sys.executable).parent.resolve()
        text = "python3" if same else f"python3 runs {command}, not this Python — `{sys.executable} -m ipykernel install --sys-prefix`"
        yield (True if same else False), "kernel", text
    except Exception as error:
        yield False, "kernel", f"{described(error)} — `{sys.executable} -m ipykernel install --sys-prefix`"


def examine_disk() -> Iterator[Finding]:
    free = shutil.disk_usage(ROOT).free / 1e9
    text = f"{free:.1f} GB free"
    yield (free >= 0.5 and (True if free >= 3 else None)), "disk", text if free >= 3 else f"{text}: runs want 3 GB, make room"


def conv_speed(device, dtype, seconds: float = 0.8) -> float:
    """GFLOP/s of a 3x3 convolution, 64 channels, 8 images of 64x64, forward and backward."""
    import torch

    convolution = torch.nn.Conv2d(64, 64, 3, padding=1).to(device, dtype).to(memory_format=torch.channels_last)
    images = torch.randn(8, 64, 64, 64, device=device, dtype=dtype).contiguous(memory_format=torch.channels_last).requires_grad_()

    def once() -> None:
        convolution(images).sum().backward()
        if device.type != "cpu":
            getattr(torch, device.type).synchronize()

    once()
    count, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        once()
        count += 1
    return count * 3 * 2 * 8 * 64 * 64 * 64 * 64 * 9 / spent / 1e9


def is_cairo(error: BaseException) -> bool:
    return isinstance(error, OSError) and "cairo" in str(error) and "library" in str(error)


def described(error: BaseException) -> str:
    """An error nobody foresaw, in one line."""
    if is_cairo(error):
        return CAIRO_HINT
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full{f' ({error.filename})' if error.filename else ''} — make room; the same command goes on"
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
