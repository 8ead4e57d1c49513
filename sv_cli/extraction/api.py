"""The Python API: a model that embeds waveforms and files, by the extractor of `svtool extract`."""

from os import PathLike, fspath
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sv_cli.audio.read import INTEGER_PEAK, read_waveform
from sv_cli.audio.resample import resample
from sv_cli.checkpoints.foreign.conversion import import_published
from sv_cli.checkpoints.hub import SCHEME
from sv_cli.checkpoints.model_file import LoadedModel
from sv_cli.checkpoints.onnx_file import load_any_model
from sv_cli.errors import AudioError, ShapeError
from sv_cli.extraction.crops import describe_embeddings
from sv_cli.extraction.device import choose_device
from sv_cli.extraction.extractor import Embedding, Extractor
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.extraction.verification import Verdict, verify


class SpeakerModel:
    """A model with its front-end: recordings in, embeddings out.

    Parameters
    ----------
    model : LoadedModel
    settings : ExtractSettings, optional
        Those of `svtool extract`.
    device : torch.device, optional
        Where to compute; the CPU by default.

    Attributes
    ----------
    info : ModelInfo
        Name, hash, front-end and sizes, as embedding tables record them.
    threshold : float or None
        Cosine at or above which its publishers call two voices the same, where they say one.
    """

    def __init__(
        self,
        model: LoadedModel,
        settings: ExtractSettings | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        self.info = describe_embeddings(model.info, settings or ExtractSettings())
        # published thresholds are for cosines
        self.threshold = None if self.info.inner_product else model.threshold
        device = device or torch.device("cpu")
        encoder = model.encoder.to(device)
        self._extractor = Extractor(encoder, model.frontend, settings, device=device)

    @property
    def sample_rate(self) -> int:
        """Rate in Hz that the model hears; others are resampled to it."""
        return self.info.sample_rate

    @property
    def embedding_dim(self) -> int:
        """Size of an embedding."""
        return self.info.embedding_dim

    def embed(self, waveform: ArrayLike, sample_rate: int) -> Embedding:
        """Return the embedding of a waveform.

        Parameters
        ----------
        waveform : array_like, shape (num_samples,)
            Floating-point samples in [-1, 1].
        sample_rate : int
            Their rate in Hz; resampled where the model has another.

        Returns
        -------
        ndarray, shape (embedding_dim,)
            float32, not length-normalised; with crops their mean after the whole.

        Raises
        ------
        AudioError
            When they are not floating-point numbers, not finite, too few for a frame, or contain
            no usable signal by the limits of the settings (`audio.signal.check_signal`).
        ShapeError
            When there is more than one channel.
        """
        samples = _check_samples(waveform)
        if sample_rate <= 0:
            raise AudioError(f"sample_rate {sample_rate} is not a rate in Hz")
        return self._embed(resample(samples, sample_rate, self.sample_rate))

    def embed_file(self, path: str | PathLike[str]) -> Embedding:
        """Return the embedding (embedding_dim,) of a recording; its first channel is taken.

        Raises
        ------
        AudioError
            When there is no such file, it cannot be read or embedded, or contains no usable
            signal.
        """
        name = fspath(path)
        # A specifier of a command could also be a pipe; here a name is never run.
        if name.rstrip().endswith("|") or not Path(name).is_file():
            raise AudioError(f"`{name}`: no such file")
        waveform, _ = read_waveform(name, sample_rate=self.sample_rate)
        try:
            return self._embed(waveform)
        except AudioError as error:
            raise AudioError(f"`{name}`: {error.message}", hint=error.hint) from error

    def similarity(self, first: ArrayLike, second: ArrayLike) -> float:
        """Return the cosine of two embeddings (embedding_dim,), as `svtool score` does.

        Of embeddings with crops it is the inner product.

        Raises
        ------
        ShapeError
            When they are not two embeddings of this model's size.
        """
        vectors = [np.asarray(vector, np.float64) for vector in (first, second)]
        for vector in vectors:
            if vector.shape != (self.embedding_dim,):
                raise ShapeError(
                    f"expected an embedding of {self.embedding_dim}, got shape {vector.shape}"
                )
        if self.info.inner_product:
            return float(vectors[0] @ vectors[1])
        norms = float(np.linalg.norm(vectors[0]) * np.linalg.norm(vectors[1]))
        return float(vectors[0] @ vectors[1]) / norms if norms else 0.0

    def verify(
        self,
        enroll: str | PathLike[str],
        test: str | PathLike[str],
        *,
        threshold: float | str | PathLike[str] | None = None,
        calibration: str | PathLike[str] | None = None,
        p_target: float = 0.5,
    ) -> Verdict:
        """Return whether two recordings are of one speaker, as `svtool verify` does.

        Parameters
        ----------
        enroll, test : str or path
            Recordings.
        threshold : float, str or path, optional
            A number, or a file of `svtool calibrate threshold`; otherwise that of `p_target` for
            calibrated scores, or the one that was published with the weights.
        calibration : str or path, optional
            File of `svtool calibrate train`: the score becomes a log-likelihood ratio in nats.
        p_target : float
            Prior of the same speaker, with `calibration`.

        Returns
        -------
        Verdict
            `score`, `same` (None where no threshold is known), `threshold`, `threshold_source`.

        Raises
        ------
        AudioError
            When a recording cannot be read or embedded.
        SettingsError, TableError
            When the threshold is no number, or a file is of another kind or another model.
        """
        return verify(
            self, enroll, test, threshold=threshold, calibration=calibration, p_target=p_target
        )

    def _embed(self, waveform: NDArray[np.float32]) -> Embedding:
        if self._extractor.frontend.num_frames(len(waveform)) == 0:
            raise AudioError(f"{len(waveform)} samples are too few for a frame")
        return self._extractor.embed(waveform)


def load_model(
    spec: str | PathLike[str],
    *,
    settings: ExtractSettings | None = None,
    device: str = "cpu",
) -> SpeakerModel:
    """Return a model that is ready to embed.

    Parameters
    ----------
    spec : str or path
        What `svtool extract` takes for MODEL (a file, a directory, `DIR:best`, `DIR:epoch:12`, an
        ONNX file of `svtool export`), or `hub:NAME`, which is fetched at every call; `svtool
        import` keeps it.
    settings : ExtractSettings, optional
        Those of `svtool extract`.
    device : str
        `cpu`, `cuda` or `auto`.

    Raises
    ------
    CheckpointError
        When there is no such model, or its file is damaged or foreign.
    """
    name = fspath(spec)
    model = _fetch(name) if name.startswith(SCHEME) else load_any_model(name)
    return SpeakerModel(model, settings, device=choose_device(device))


def _fetch(name: str) -> LoadedModel:
    """Return published weights as a model."""
    return import_published(name).model.loaded(Path(name))


def _check_samples(waveform: ArrayLike) -> NDArray[np.float32]:
    samples = np.asarray(waveform)
    if samples.ndim != 1:
        raise ShapeError(f"expected one channel (num_samples,), got shape {samples.shape}")
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(
            f"samples are {samples.dtype}, not floating-point numbers in [-1, 1]",
            hint="divide 16-bit integers by 32768",
        )
    if not np.isfinite(samples).all():
        raise AudioError("samples hold NaN or infinity")
    if samples.size and (peak := float(np.abs(samples).max())) > INTEGER_PEAK:
        raise AudioError(
            f"samples up to {peak:g}, where [-1, 1] is the scale",
            hint="divide 16-bit integers by 32768",
        )
    return np.ascontiguousarray(samples, np.float32)
