"""The one door to lhotse, which takes seconds to import and stumbles over a broken torchaudio."""

import importlib
import warnings
from contextlib import suppress
from types import ModuleType

from sv_cli.audio.torchaudio_door import load_torchaudio
from sv_cli.errors import SvError


def load_lhotse() -> ModuleType:
    """Import lhotse.

    Raises
    ------
    SvError
        When it is missing.
    """
    with suppress(SvError):
        load_torchaudio()  # lhotse looks whether it is there, not whether it works
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return importlib.import_module("lhotse")
        except ImportError as error:
            hint = "install it with `pip install lhotse urllib3`"
            raise SvError(f"lhotse cannot be loaded: {error}", hint=hint) from error
