"""Published weights by name: where they are, and how to fetch them; no torch.

Names are those of ModelScope, Hugging Face and WeNet, with or without the owner in front. Sources:
the tables of 3D-Speaker's `infer_sv.py` and its READMEs, WeSpeaker's `docs/pretrained.md`, the
repositories named. A file of a GitHub release is OWNER/REPOSITORY/NAME.
"""

import json
import os
import re
import shutil
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sv_cli.atomic import atomic_open
from sv_cli.checkpoints.hub_fetch import fetch
from sv_cli.errors import CheckpointError, SettingsError
from sv_cli.settings.model import nearest

SCHEME = "hub:"
# Projects whose weights `svtool import` reads: key -> title.
TITLES: dict[str, str] = {
    "wespeaker": "WeSpeaker",
    "3dspeaker": "3D-Speaker",
    "speaker-net": "speaker-net",
    "taoruijie": "TaoRuijie",
    "speechbrain": "SpeechBrain",
    "redimnet": "ReDimNet",
    "wavlm": "WavLM",
    "w2v-bert": "w2v-BERT",
}
# ModelScope names the weights of a model in this file, under `model.pretrained_model`.
_CONFIGURATION = "configuration.json"
_IN_ARCHIVES = ("avg_model.pt", "config.yaml")


@dataclass(frozen=True)
class Published:
    """One published set of weights.

    Attributes
    ----------
    name : str
        Identity on its host, with its owner; of a release, the repository and the file.
    host : str
        `modelscope`, `huggingface`, `github`, `github-release` or `wenet`.
    revision : str
        Tag, branch or commit.
    files : tuple of str
        The weights first, then the files next to them. Weights may be a `.zip` archive with
        `avg_model.pt`, or ModelScope's `configuration.json`, which names the file.
    project : str
        Key of `foreign.detection.PROJECTS`.
    model : str
        Name of the network in the registry.
    threshold : float or None
        Cosine that the model's card calls the same speaker, where it says one.
    sha256 : str or None
        Digest of the weights in hex, where it is known.
    """

    name: str
    host: Literal["modelscope", "huggingface", "github", "github-release", "wenet"]
    revision: str
    files: tuple[str, ...]
    project: str
    model: str
    threshold: float | None = None
    sha256: str | None = None

    @property
    def page(self) -> str:
        """Address for a person."""
        if self.host == "modelscope":
            return f"https://www.modelscope.cn/models/{self.name}"
        if self.host == "github-release":
            return f"{self._releases}/tag/{self.revision}"
        if self.host == "wenet":
            return "https://github.com/wenet-e2e/wespeaker/blob/master/docs/pretrained.md"
        start = "https://github.com/" if self.host == "github" else _huggingface()
        return f"{start}{self.name}"

    def url(self, file: str) -> str:
        """Address of a file."""
        if self.host == "modelscope":
            return f"{self.page}/resolve/{self.revision}/{file}"
        if self.host == "github-release":
            return f"{self._releases}/download/{self.revision}/{file}"
        if self.host == "wenet":
            return f"https://wenet.org.cn/downloads?models=wespeaker&version={file}"
        if self.host == "github":
            return f"https://raw.githubusercontent.com/{self.name}/{self.revision}/{file}"
        return f"{self.page}/resolve/{self.revision}/{file}"

    @property
    def _releases(self) -> str:
        return f"https://github.com/{self.name.rpartition('/')[0]}/releases"


def _huggingface() -> str:
    """Return the address of Hugging Face or of the mirror in HF_ENDPOINT, which may be http."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    if not re.fullmatch(r"(https?|file)://[!-~]*", address):
        raise SettingsError(
            f"HF_ENDPOINT: {address!r} is not the address of a host", hint="https://HOST"
        )
    return address.rstrip("/") + "/"


def _modelscope(
    name: str,
    revision: str,
    file: str,
    model: str,
    *,
    threshold: float | None = None,
    sha256: str | None = None,
) -> Published:
    files, project = (file,), "3dspeaker"
    name = f"iic/{name}"
    return Published(name, "modelscope", revision, files, project, model, threshold, sha256)


def _wespeaker(name: str, model: str) -> Published:
    files = ("avg_model.pt", "config.yaml")
    return Published(f"Wespeaker/{name}", "huggingface", "main", files, "wespeaker", model)


def _redimnet2(size: str, data: str, stage: str) -> Published:
    name = f"{size}-{data}-{stage}"
    return Published(
        f"PalabraAI/redimnet2/{name}", "github-release", "v1.0.0", (f"{name}.pt",), "redimnet",
        f"redimnet2_{size}",
    )  # fmt: skip


def _wenet(name: str, model: str) -> Published:
    files = (f"{name}.zip",)
    return Published(f"wenet/{name}", "wenet", "unversioned", files, "wespeaker", model)


def _wavlm(name: str, model: str) -> Published:
    files = ("pytorch_model.bin",)
    return Published(f"microsoft/{name}", "huggingface", "main", files, "wavlm", model)


_ROWS: tuple[Published, ...] = (
    _modelscope(
        "speech_campplus_sv_zh-cn_16k-common", "v1.0.0", "campplus_cn_common.bin",
        "campplus_3dspeaker",
    ),
    _modelscope(
        "speech_campplus_sv_zh_en_16k-common_advanced", "v1.0.0", "campplus_cn_en_common.pt",
        "campplus_3dspeaker",
        sha256="92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199",
    ),
    _modelscope(
        "speech_campplus_sv_en_voxceleb_16k", "v1.0.2", "campplus_voxceleb.bin",
        "campplus_3dspeaker",
    ),
    _modelscope(
        "speech_campplus_sv_cn_cnceleb_16k", "master", "campplus_cnceleb.bin",
        "campplus_3dspeaker",
    ),
    _modelscope(
        "speech_eres2net_sv_zh-cn_16k-common", "v1.0.5", "pretrained_eres2net_aug.ckpt",
        "eres2net_huge", threshold=0.365,
    ),
    _modelscope(
        "speech_eres2netv2_sv_zh-cn_16k-common", "v1.0.1", "pretrained_eres2netv2.ckpt",
        "eres2netv2", threshold=0.365,
    ),
    _modelscope(
        "speech_eres2netv2w24s4ep4_sv_zh-cn_16k-common", "v1.0.1",
        "pretrained_eres2netv2w24s4ep4.ckpt", "eres2netv2_w24s4ep4",
    ),
    _modelscope(
        "speech_eres2net_base_200k_sv_zh-cn_16k-common", "v1.0.0", "pretrained_eres2net.pt",
        "eres2net_base",
    ),
    _modelscope(
        "speech_eres2net_sv_en_voxceleb_16k", "v1.0.2", "pretrained_eres2net.ckpt",
        "eres2net_base",
    ),
    _modelscope(
        "speech_eres2net_base_sv_zh-cn_3dspeaker_16k", "v1.0.1", "eres2net_base_model.ckpt",
        "eres2net_base",
    ),
    _modelscope(
        "speech_eres2net_large_sv_zh-cn_3dspeaker_16k", "v1.0.0", "eres2net_large_model.ckpt",
        "eres2net_large",
    ),
    _modelscope(
        "speech_eres2net_base_sv_zh-cn_cnceleb_16k", "master", _CONFIGURATION, "eres2net_base",
    ),
    _modelscope(
        "speech_eres2net_large_sv_zh-cn_cnceleb_16k", "master", _CONFIGURATION, "eres2net_large",
    ),
    _modelscope(
        "speech_ecapa-tdnn_sv_zh-cn_cnceleb_16k", "v1.0.0", "ecapa-tdnn.ckpt",
        "ecapa_3dspeaker_c1024",
    ),
    _modelscope(
        "speech_ecapa-tdnn_sv_zh-cn_3dspeaker_16k", "v1.0.0", "ecapa-tdnn.ckpt",
        "ecapa_3dspeaker_c1024",
    ),
    _modelscope(
        "speech_ecapa-tdnn_sv_en_voxceleb_16k", "v1.0.1", "ecapa_tdnn.bin",
        "ecapa_3dspeaker_c1024",
    ),
    _modelscope(
        "speech_rdino_ecapa_tdnn_sv_en_voxceleb_16k", "v1.0.2", "pretrained_rdino.pth",
        "ecapa_3dspeaker_c1024",
    ),
    _modelscope(
        "speech_rdino_ecapa_tdnn_sv_zh-cn_3dspeaker_16k", "v1.0.1", "rdino.pth",
        "ecapa_3dspeaker_c1024",
    ),
    _modelscope(
        "speech_sdpn_ecapa_tdnn_sv_en_voxceleb_16k", "v1.0.0", "sdpn.pth",
        "ecapa_3dspeaker_c1024",
    ),
    _wespeaker("wespeaker-voxceleb-resnet34", "resnet34"),
    _wespeaker("wespeaker-voxceleb-resnet34-LM", "resnet34"),
    _wespeaker("wespeaker-voxceleb-resnet152-LM", "resnet152"),
    _wespeaker("wespeaker-voxceleb-resnet221-LM", "resnet221"),
    _wespeaker("wespeaker-voxceleb-resnet293-LM", "resnet293"),
    _wespeaker("wespeaker-voxceleb-campplus", "campplus"),
    _wespeaker("wespeaker-voxceleb-campplus-LM", "campplus"),
    _wespeaker("wespeaker-voxceleb-ecapa-tdnn512", "ecapa_glob_c512"),
    _wespeaker("wespeaker-ecapa-tdnn512-LM", "ecapa_glob_c512"),
    _wespeaker("wespeaker-voxceleb-ecapa-tdnn1024", "ecapa_glob_c1024"),
    _wespeaker("wespeaker-voxceleb-ecapa-tdnn1024-LM", "ecapa_glob_c1024"),
    _wespeaker("wespeaker-voxceleb-gemini-DFresnet114-LM", "dfresnet114"),
    _wespeaker("wespeaker-cnceleb-resnet34", "resnet34"),
    _wespeaker("wespeaker-cnceleb-resnet34-LM", "resnet34"),
    _wenet("voxblink2_samresnet34", "simam_resnet34"),
    _wenet("voxblink2_samresnet34_ft", "simam_resnet34"),
    _wenet("voxblink2_samresnet100", "simam_resnet100"),
    _wenet("voxblink2_samresnet100_ft", "simam_resnet100"),
    Published(
        "speechbrain/spkrec-ecapa-voxceleb", "huggingface", "main", ("embedding_model.ckpt",),
        "speechbrain", "ecapa_3dspeaker_c1024",
    ),
    Published(
        "TaoRuijie/ECAPA-TDNN", "github", "main", ("exps/pretrain.model",),
        "taoruijie", "ecapa_taoruijie_c1024",
    ),
    *(_redimnet2(f"b{size}", "vox2", stage) for size in range(7) for stage in ("ptn", "lm")),
    *(_redimnet2("b3", "vb2+vox2+cnc2_v0", stage) for stage in ("ptn", "lm")),
    *(_redimnet2("b6", "vb2+vox2+cnc2_v0", stage) for stage in ("ptn", "lm")),
    *(_redimnet2("b6", "vb2+vox2_v0", stage) for stage in ("ptn", "lm", "dis")),
    _wavlm("wavlm-base", "wavlm_base"),
    _wavlm("wavlm-base-plus", "wavlm_base_plus"),
    _wavlm("wavlm-large", "wavlm_large"),
    Published(
        "facebook/w2v-bert-2.0", "huggingface", "main", ("model.safetensors",), "w2v-bert",
        "w2vbert2_mfa",
    ),
)  # fmt: skip
PUBLISHED: dict[str, Published] = {row.name: row for row in _ROWS}


def find_published(name: str) -> Published:
    """Return the published weights called `name`, with or without `hub:` and the owner.

    Raises
    ------
    SettingsError
        When there is none of that name; the message names the nearest one.
    """
    plain = name.removeprefix(SCHEME).strip("/")
    for row in PUBLISHED.values():
        short = row.name.split("/", 1)[1]
        if plain.lower() in (row.name.lower(), short.lower(), f"damo/{short}".lower()):
            return row
    shorts = [row.name.split("/", 1)[1] for row in PUBLISHED.values()]
    raise SettingsError(
        f"`{SCHEME}{plain}`: no such published weights{nearest(plain, [*PUBLISHED, *shorts])}",
        hint="`svtool import --list` names all",
    )


def published_project(file: str) -> str | None:
    """Return the project that published a file of this very name; none for usual names."""
    return next((row.project for row in _published_as(file)), None)


def published_threshold(file: str) -> float | None:
    """Return the threshold of the only weights that were published under this file name."""
    rows = _published_as(file)
    return rows[0].threshold if len(rows) == 1 else None


def _published_as(file: str) -> list[Published]:
    hosts = (row for row in _ROWS if row.host == "modelscope")
    return [row for row in hosts if Path(row.files[0]).name == file]


def download(row: Published, folder: Path) -> Path:
    """Fetch the files of published weights into `folder`; return the weights' path.

    Raises
    ------
    CheckpointError
        When they cannot be fetched or have a wrong SHA-256; says which file to bring from where.
        Also when an archive or configuration does not contain what it should.
    """
    for file in row.files:
        path = folder / Path(file).name
        try:
            pinned = row.sha256 if file == row.files[0] else None
            fetch(row.url(file), path, sha256=pinned)
        except (OSError, ValueError) as error:
            if file != row.files[0] and getattr(error, "code", None) == 404:
                continue  # files next to the weights are optional
            raise _cannot_fetch(row, file, error) from error
    weights = folder / Path(row.files[0]).name
    if weights.name == _CONFIGURATION:
        return download(replace(row, files=(_configured_weights(weights),)), folder)
    return _unpack(weights) if weights.suffix == ".zip" else weights


def _configured_weights(path: Path) -> str:
    """Return the name of the weights in a configuration of ModelScope."""
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["model"]["pretrained_model"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"`{path.name}` names no `model.pretrained_model`") from error
    if not isinstance(name, str) or Path(name).name != name or name == _CONFIGURATION:
        raise CheckpointError(f"`{path.name}`: `model.pretrained_model` {name!r} is no file name")
    return name


def _unpack(path: Path) -> Path:
    """Write the weights and the configuration of an archive next to it; return the weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                if (name := Path(member).name) in _IN_ARCHIVES:
                    with (
                        archive.open(member) as source,
                        atomic_open(path.parent / name, "wb") as target,
                    ):
                        shutil.copyfileobj(source, target)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"`{path.name}` is a damaged archive: {error}") from error
    weights = path.parent / _IN_ARCHIVES[0]
    if not weights.is_file():
        raise CheckpointError(f"`{path.name}` contains no `{weights.name}`")
    return weights


def _cannot_fetch(row: Published, file: str, error: Exception) -> CheckpointError:
    reason = getattr(error, "reason", None) or error
    name = Path(file).name
    return CheckpointError(
        f"{SCHEME}{row.name}: cannot fetch {row.url(file)}: {reason}",
        hint=f"bring `{file}` (revision {row.revision}) from {row.page} and give the file:"
        f" `svtool import {name} OUT --project {row.project}`",
    )
