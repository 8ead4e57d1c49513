"""What svtool runs on: versions, devices, and which extras work."""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version

import torch

from sv_cli import __version__
from sv_cli.audio.torchaudio_door import load_torchaudio
from sv_cli.errors import SvError
from sv_cli.extraction.precision import gains_by_bf16

REQUIRED = ("torch", "numpy", "scipy", "soundfile", "soxr", "kaldiio", "lhotse", "typer")
EXTRAS: dict[str, tuple[str, ...]] = {
    "ssl": ("transformers",),
    "hub": ("huggingface_hub", "safetensors"),
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "tensorboard": ("tensorboard",),
}


def describe() -> dict[str, str]:
    """Return what to know of this machine and installation, by name, in the order of telling."""
    cores = len(os.sched_getaffinity(0))
    facts = {"svtool": __version__, "python": platform.python_version()}
    facts |= {"system": f"{platform.system()} {platform.machine()}", "cores": str(cores)}
    facts |= {name: _version(name) or "missing" for name in REQUIRED}
    facts["torchaudio"] = _torchaudio()
    facts["cpu"] = torch.backends.cpu.get_cpu_capability()
    gains = gains_by_bf16(torch.device("cpu"))
    facts["bf16 on the cpu"] = "faster than fp32" if gains else "not faster than fp32"
    facts["gpu"] = _gpus()
    facts |= {f"extra {name}": _extra(name, packages) for name, packages in EXTRAS.items()}
    facts["ffmpeg"] = shutil.which("ffmpeg") or "missing (m4a recordings need it)"
    return facts


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _torchaudio() -> str:
    try:
        load_torchaudio()
    except SvError as error:
        return error.message
    return _version("torchaudio") or "of unknown version"


def _gpus() -> str:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ", ".join(torch.cuda.get_device_name(i) for i in range(count)) or "none"


def _extra(name: str, packages: tuple[str, ...]) -> str:
    missing = [package for package in packages if _version(package) is None]
    if missing:
        return f"missing {', '.join(missing)}: pip install 'svtool[{name}]'"
    return ", ".join(f"{package} {_version(package)}" for package in packages)
