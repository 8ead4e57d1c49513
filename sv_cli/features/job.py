"""What is computed from each utterance: features or VAD decisions, the same in every process."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sv_cli.audio.info import hash_sources
from sv_cli.audio.read import read_waveform
from sv_cli.errors import AudioError
from sv_cli.features.fbank import fbank, log_energy
from sv_cli.features.settings import FbankSettings, VadSettings
from sv_cli.features.vad import energy_vad
from sv_cli.tables.datadir.directory import Utterance


@dataclass(frozen=True)
class FeatureJob:
    """Settings that every worker needs.

    Parameters
    ----------
    settings : FbankSettings or VadSettings
        What to compute.
    audio_root : str or None
        Where relative paths start.
    channel : int or None
        Channel of recordings for which `segments` names none.
    device : str
        "cpu" or "cuda".
    seed : int
        Together with the name of the utterance it makes the dither.
    compression : int or None
        Kaldi's method 1 to 7 for matrices.
    text : bool
        Text archives.
    """

    settings: FbankSettings | VadSettings
    audio_root: str | None = None
    channel: int | None = None
    device: str = "cpu"
    seed: int = 0
    compression: int | None = None
    text: bool = False

    @property
    def command(self) -> str:
        """Name of the command that does this."""
        return "make-vad" if isinstance(self.settings, VadSettings) else "make-fbank"

    def compute(self, utterance: Utterance) -> NDArray[np.float32]:
        """Return features (num_frames, feat_dim), or VAD decisions (num_frames,) of 0 and 1.

        Raises
        ------
        AudioError
            When the recording cannot be read or is shorter than a frame.
        """
        waveform, _ = read_waveform(
            utterance.rx,
            start=utterance.start,
            end=utterance.end,
            channel=self.channel if utterance.channel is None else utterance.channel,
            sample_rate=self.settings.sample_rate,
            audio_root=self.audio_root,
        )
        array = self._compute(torch.from_numpy(waveform).to(self.device), utterance.utt)
        if len(array) == 0:
            raise AudioError(
                f"{len(waveform)} samples are too few for a frame", hint="leave the utterance out"
            )
        values: NDArray[np.float32] = array.cpu().numpy()
        return values

    def _compute(self, waveform: torch.Tensor, utt: str) -> torch.Tensor:
        if isinstance(self.settings, VadSettings):
            return energy_vad(log_energy(waveform, self.settings).cpu(), self.settings).float()
        generator = self._generator(utt) if self.settings.dither else None
        return fbank(waveform, self.settings, generator=generator)

    def _generator(self, utt: str) -> torch.Generator:
        digest = hashlib.sha256(f"{self.seed} {utt}".encode("utf-8", "surrogateescape")).digest()
        seed = int.from_bytes(digest[:7], "little")
        return torch.Generator(self.device).manual_seed(seed)

    def fingerprint(self, utterances: Iterable[Utterance]) -> str:
        """Return a digest of everything that the results follow from, but the samples."""
        values = {**asdict(self), "settings": self.settings.model_dump()}
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
        for utterance in utterances:
            digest.update(repr(utterance).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def sources(self, utterances: Iterable[Utterance]) -> str:
        """Return a digest that changes when a recording is replaced or vanishes."""
        return hash_sources(utterances, self.audio_root)
