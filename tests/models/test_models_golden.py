"""Networks against embeddings recorded with the code of the projects they come from."""

import re
from typing import Any

import pytest
from golden_models import Rename, check_golden, same

from sv_cli.models.registry import build_model

THREED = "modelscope_3D-Speaker-"
WESPEAKER = "wenet-e2e_wespeaker-"


def wespeaker_eres2net(key: str) -> str:
    """WeSpeaker's name of a key: the first convolution of a fusing block stands apart."""
    key = re.sub(r"^(layer[34]\.\d+)\.(conv|bn)s\.0\.", r"\1.\g<2>2_1.", key)
    return re.sub(
        r"^(layer[34]\.\d+\.(?:conv|bn)s)\.(\d+)\.",
        lambda m: f"{m[1]}.{int(m[2]) - 1}.",
        key,
    )


CASES: list[tuple[str, str, dict[str, Any], Rename]] = [
    (THREED + "eres2net-base-192", "eres2net_base", {}, same),
    (THREED + "eres2net-base-512", "eres2net_base", {"embedding_dim": 512}, same),
    (WESPEAKER + "eres2net34-base-512", "eres2net34_base", {}, wespeaker_eres2net),
    (THREED + "res2net-m32-192", "res2net34_3dspeaker", {}, same),
    (WESPEAKER + "res2net34-base-512", "res2net34_base", {"embedding_dim": 512}, same),
    (THREED + "resnet34-m32-192", "resnet34_3dspeaker", {}, same),
    (WESPEAKER + "resnet18-tstp-256", "resnet18", {}, same),
    (WESPEAKER + "resnet34-tstp-256", "resnet34", {}, same),
    (WESPEAKER + "resnet34-tstp-256-two-emb", "resnet34", {"two_emb_layer": True}, same),
    (WESPEAKER + "resnet34-astp-256", "resnet34", {"pooling": "ASTP"}, same),
    (WESPEAKER + "resnet34-mqmhastp-256", "resnet34", {"pooling": "MQMHASTP"}, same),
    (WESPEAKER + "ecapa-glob-c512-astp-192", "ecapa_glob_c512", {}, same),
    (THREED + "ecapa-c512-192", "ecapa_3dspeaker_c512", {}, same),
]
LARGE_CASES: list[tuple[str, str, dict[str, Any], Rename]] = [
    (THREED + "eres2net-large-192", "eres2net_large", {}, same),
    (THREED + "eres2net-large-512", "eres2net_large", {"embedding_dim": 512}, same),
    (THREED + "eres2net-huge-192", "eres2net_huge", {}, same),
    (WESPEAKER + "eres2net34-large-512", "eres2net34_large", {}, wespeaker_eres2net),
    (THREED + "eres2netv2-192", "eres2netv2", {}, same),
    (THREED + "eres2netv2-w24s4ep4-192", "eres2netv2_w24s4ep4", {}, same),
    (WESPEAKER + "res2net34-large-512", "res2net34_large", {"embedding_dim": 512}, same),
    (WESPEAKER + "resnet50-tstp-256", "resnet50", {}, same),
    (WESPEAKER + "resnet101-tstp-256", "resnet101", {}, same),
    (WESPEAKER + "resnet152-tstp-256", "resnet152", {}, same),
    (WESPEAKER + "resnet221-tstp-256", "resnet221", {}, same),
    (WESPEAKER + "resnet293-tstp-256", "resnet293", {}, same),
    (WESPEAKER + "ecapa-c1024-astp-192", "ecapa_c1024", {}, same),
    (WESPEAKER + "ecapa-glob-c1024-astp-192", "ecapa_glob_c1024", {}, same),
    (THREED + "ecapa-c1024-192", "ecapa_3dspeaker_c1024", {}, same),
]


@pytest.mark.parametrize(
    ("golden", "name", "options", "rename"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_recorded(golden: str, name: str, options: dict[str, Any], rename: Rename) -> None:
    check_golden(build_model(name, **options), golden, rename)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("golden", "name", "options", "rename"),
    LARGE_CASES,
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_recorded_large(golden: str, name: str, options: dict[str, Any], rename: Rename) -> None:
    check_golden(build_model(name, **options), golden, rename)
