"""The one door to torchaudio, whose compiled part often does not fit the installed torch.

Published wheels link against CUDA libraries: with a CPU-only torch the import fails. The parts
that svtool wants (WavLM models, functional) are plain Python, so the compiled part is replaced by
a stub where it cannot be loaded.
"""

import importlib
import sys
from types import ModuleType
from typing import Any

from sv_cli.errors import SvError

_HINT = "install a torchaudio that fits this torch, or do without this feature"


def load_torchaudio(name: str = "torchaudio") -> ModuleType:
    """Import torchaudio or one of its modules, as `torchaudio.functional`.

    Raises
    ------
    SvError
        When torchaudio is missing, or does not work even without its compiled part.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise SvError(f"`{name}` is not installed", hint=_HINT) from error
    except (OSError, RuntimeError):
        pass
    _forget()
    sys.modules["torchaudio._extension"] = _stub()
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        _forget()
        raise SvError(f"`{name}` cannot be loaded: {error}", hint=_HINT) from error


def _forget() -> None:
    """Drop the modules of an import that failed halfway."""
    for name in list(sys.modules):
        if name == "torchaudio" or name.startswith("torchaudio."):
            del sys.modules[name]


def _stub() -> ModuleType:
    module: Any = ModuleType("torchaudio._extension")
    module._IS_TORCHAUDIO_EXT_AVAILABLE = False
    module._IS_ALIGN_AVAILABLE = False
    module._IS_RIR_AVAILABLE = False
    module._check_cuda_version = lambda: None
    module._load_lib = lambda *_: False
    module.fail_if_no_align = _unavailable
    module.fail_if_no_rir = _unavailable
    return module  # type: ignore[no-any-return]


def _unavailable(function: Any) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise SvError(f"`{function.__name__}` needs the compiled part of torchaudio", hint=_HINT)

    return refuse
