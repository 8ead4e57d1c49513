"""xi-vector: ECAPA-TDNN or x-vector whose pooling weighs frames by their estimated precision.

Paper: Lee et al., "Xi-vector embedding for speaker recognition", IEEE SPL 2021.
State-dict keys are those of WeSpeaker's `xi_vector.py`. The pooling is `pooling.XI`.
"""

from typing import Any

from sv_cli.models.ecapa import EcapaSettings, EcapaTdnn
from sv_cli.models.xvector import Xvector, XvectorSettings
from sv_cli.settings.model import build_settings


def _build_ecapa(name: str, channels: int, overrides: dict[str, Any]) -> EcapaTdnn:
    values = {"channels": channels, "pooling": "XI", **overrides}
    return EcapaTdnn(build_settings(EcapaSettings, values, where=name))


def xi_vector_ecapa_c512(**overrides: Any) -> EcapaTdnn:
    """Return WeSpeaker's XI_VEC_ECAPA_TDNN_c512 (5.90 M parameters)."""
    return _build_ecapa("xi_vector_ecapa_c512", 512, overrides)


def xi_vector_ecapa_c1024(**overrides: Any) -> EcapaTdnn:
    """Return WeSpeaker's XI_VEC_ECAPA_TDNN_c1024 (14.4 M parameters)."""
    return _build_ecapa("xi_vector_ecapa_c1024", 1024, overrides)


def xi_vector_xvec(**overrides: Any) -> Xvector:
    """Return WeSpeaker's XI_VEC_XVEC (4.62 M parameters)."""
    values = {"pooling": "XI", **overrides}
    return Xvector(build_settings(XvectorSettings, values, where="xi_vector_xvec"))
