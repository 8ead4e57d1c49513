"""Utterances -> embeddings: reading ahead, features, batches of equal length, long files in chunks.

Nothing is padded: a batch holds utterances of exactly the same number of frames, so the result is
that of one utterance at a time.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sv_cli.audio.prefetch import read_ahead
from sv_cli.audio.read import read_waveform
from sv_cli.audio.signal import SignalLimits, check_signal
from sv_cli.audio.speed import change_speed_whole
from sv_cli.errors import AudioError, ShapeError, SvError
from sv_cli.extraction.crops import CropPlan, join_crops, plan_crops
from sv_cli.extraction.inference import Embed
from sv_cli.extraction.precision import Form, choose_form
from sv_cli.extraction.settings import ExtractSettings
from sv_cli.features.frontend import Frontend
from sv_cli.features.settings import FrontendSettings
from sv_cli.models.protocol import SpeakerEncoder
from sv_cli.tables.datadir.directory import Utterance

Embedding = NDArray[np.float32]
Array = NDArray[Any]
OnSkip = Callable[[str, SvError], None]
NUM_SAMPLES_TRIED = 3
_SECONDS_TRIED = 10.0
_GPU_BATCH = 32
_WINDOW_BATCHES = 16  # utterances looked through for equal lengths, in batches


class Extractor:
    """A network with its front-end, ready to embed.

    The network is copied: one that is being trained is left as it is, and a new Extractor has to
    be made to see its new weights.

    Parameters
    ----------
    encoder : SpeakerEncoder
    frontend : FrontendSettings
    settings : ExtractSettings, optional
    device : torch.device, optional
        Where to compute; where the network is by default.
    form : Form, optional
        Precision that was settled elsewhere; otherwise it is chosen on the first utterances.
    """

    def __init__(
        self,
        encoder: SpeakerEncoder,
        frontend: FrontendSettings,
        settings: ExtractSettings | None = None,
        *,
        device: torch.device | None = None,
        form: Form | None = None,
    ) -> None:
        self.settings = settings or ExtractSettings()
        self.frontend = Frontend(frontend).eval()
        self.device = device or next(encoder.parameters()).device
        self.form = form
        self._encoder = encoder
        self._embed: Embed | None = None if form is None else form.prepare(encoder, self.device)
        self.batch_size = self.settings.batch_size or (_GPU_BATCH if self._on_gpu else 1)
        self._limits = SignalLimits(
            self.settings.min_speech, self.settings.min_level, self.settings.max_clipped
        )
        self._crops = plan_crops(self.settings, frontend.sample_rate)
        frame_rate = frontend.sample_rate / frontend.frame_shift
        self._max_frames = round(self.settings.max_seconds * frame_rate)
        self._frames_tried = round(_SECONDS_TRIED * frame_rate)

    @property
    def _on_gpu(self) -> bool:
        return self.device.type != "cpu"

    def settle(self, feats: Sequence[Tensor]) -> Form:
        """Choose the precision by the features (num_frames, feat_dim) of a few utterances."""
        samples = [self._stretch(x)[None, : self._frames_tried] for x in feats]
        precision = self.settings.precision
        self.form = choose_form(self._encoder, precision, device=self.device, samples=samples)
        self._embed = self.form.prepare(self._encoder, self.device)
        return self.form

    def embed(self, waveform: NDArray[np.float32]) -> Embedding:
        """Return the embedding (embedding_dim,) of samples (num_samples,) in [-1, 1].

        Raises
        ------
        AudioError
            When they are too few for a frame, or contain no usable signal.
        """
        embedding: Embedding = self.embed_batch([waveform])[0]
        return embedding

    def embed_batch(self, waveforms: Sequence[NDArray[np.float32]]) -> Embedding:
        """Return embeddings (num_waveforms, embedding_dim) of waveforms of any lengths.

        Raises
        ------
        AudioError
            When one is too short for a frame, or contains no usable signal.
        """
        items = [(str(i), self._checked(waveform)) for i, waveform in enumerate(waveforms)]
        rows = dict(self._embed_items(items, None, False))
        return np.stack([rows[str(i)] for i in range(len(waveforms))])

    def extract(
        self,
        utterances: Iterable[Utterance],
        *,
        audio_root: str | None = None,
        on_skip: OnSkip | None = None,
    ) -> Iterator[tuple[str, Embedding]]:
        """Yield (utt, embedding (embedding_dim,)) of recordings, in their order.

        Parameters
        ----------
        utterances : iterable of Utterance
        audio_root : str, optional
            Where relative paths start.
        on_skip : callable, optional
            Called with each utterance that cannot be embedded and why; by default it is raised.
        """
        items = self.read_utterances(utterances, audio_root=audio_root)
        return self._embed_items(items, on_skip, False)

    def extract_feats(
        self, items: Iterable[tuple[str, Array | SvError]], *, on_skip: OnSkip | None = None
    ) -> Iterator[tuple[str, Embedding]]:
        """Yield (utt, embedding) of features (num_frames, feat_dim), in their order."""
        return self._embed_items(items, on_skip, True)

    def read_utterances(
        self, utterances: Iterable[Utterance], *, audio_root: str | None = None
    ) -> Iterator[tuple[str, Array | SvError]]:
        """Yield (utt, waveform or what is wrong with it), read ahead by threads."""

        def read(utterance: Utterance) -> tuple[str, Array | SvError]:
            try:
                waveform, _ = read_waveform(
                    utterance.rx,
                    start=utterance.start,
                    end=utterance.end,
                    channel=utterance.channel,
                    sample_rate=self.frontend.sample_rate,
                    audio_root=audio_root,
                )
                return utterance.utt, self._checked(waveform)
            except AudioError as error:
                return utterance.utt, error

        return read_ahead(read, utterances, num_readers=self.settings.num_readers)

    def _checked(self, waveform: Array) -> Array:
        """Return the waveform at the speed of the settings; refuse one without a signal."""
        if len(waveform) == 0:
            return waveform
        check_signal(waveform, self.frontend.sample_rate, self._limits)
        if self.settings.speed == 1.0:
            return waveform
        played: Array = change_speed_whole(waveform[None], self.settings.speed)[0]
        return played

    def features(self, item: Array, *, is_feats: bool) -> Tensor:
        """Return the network's input (num_frames, feat_dim) for a waveform or stored features.

        Raises
        ------
        AudioError
            When there is no frame.
        ShapeError
            When stored features do not fit the network, or are not finite.
        """
        if is_feats:
            return self._stored(item)
        return self._batch_features([self._trim(item)])[0]

    def _embed_items(
        self, items: Iterable[tuple[str, Array | SvError]], on_skip: OnSkip | None, is_feats: bool
    ) -> Iterator[tuple[str, Embedding]]:
        window = 1 if self.batch_size == 1 else self.batch_size * _WINDOW_BATCHES
        stream = iter(items)
        if self._embed is None:
            stream = self._settle_on(stream, is_feats)
        while taken := list(islice(stream, window)):
            results = self._embed_window(taken, is_feats)
            if self._crops is not None:
                results = self._add_crops(self._crops, taken, results)
            for (utt, _), result in zip(taken, results, strict=True):
                if not isinstance(result, SvError):
                    yield utt, result
                elif on_skip is None:
                    raise type(result)(f"`{utt}`: {result.message}", hint=result.hint)
                else:
                    on_skip(utt, result)

    def _settle_on(
        self, items: Iterator[tuple[str, Array | SvError]], is_feats: bool
    ) -> Iterator[tuple[str, Array | SvError]]:
        """Choose the precision by the first items; return all of them."""
        first = list(islice(items, NUM_SAMPLES_TRIED))
        self.settle(self.usable_features(first, is_feats=is_feats))
        yield from first
        yield from items

    def usable_features(
        self, items: Iterable[tuple[str, Array | SvError]], *, is_feats: bool
    ) -> list[Tensor]:
        """Return the features of the items that can be embedded."""
        found = []
        for _, item in items:
            try:
                if not isinstance(item, SvError):
                    found.append(self.features(item, is_feats=is_feats))
            except SvError:
                continue
        return found

    def _embed_window(
        self, items: Sequence[tuple[str, Array | SvError]], is_feats: bool
    ) -> list[Embedding | SvError]:
        """Return an embedding or an error for each item; equal lengths go together."""
        results: list[Embedding | SvError | None] = [None] * len(items)
        groups: dict[int, list[int]] = {}
        ready: list[Array | Tensor] = []
        for place, (_, item) in enumerate(items):
            prepared = self._prepare(item, is_feats)
            ready.append(prepared if not isinstance(prepared, SvError) else np.empty(0))
            if isinstance(prepared, SvError):
                results[place] = prepared
            else:
                groups.setdefault(len(prepared), []).append(place)
        for places in groups.values():
            for start in range(0, len(places), self.batch_size):
                batch = places[start : start + self.batch_size]
                rows = self._embed_group([ready[place] for place in batch], is_feats)
                for place, row in zip(batch, rows, strict=True):
                    results[place] = row
        return [result for result in results if result is not None]

    def _add_crops(
        self,
        plan: CropPlan,
        items: Sequence[tuple[str, Array | SvError]],
        whole: Sequence[Embedding | SvError],
    ) -> list[Embedding | SvError]:
        """Return embeddings joined to those of crops; the crops of all items share batches."""
        crops: list[tuple[str, Array | SvError]] = []
        wanted: list[tuple[int, Embedding, list[int]]] = []
        for place, ((utt, item), row) in enumerate(zip(items, whole, strict=True)):
            if not isinstance(item, SvError) and not isinstance(row, SvError):
                mine, counts = plan.cut(item)
                crops += [(utt, crop) for crop in mine]
                wanted.append((place, row, counts))
        rows = iter(self._embed_window(crops, False))
        joined = list(whole)
        for place, row, counts in wanted:
            made = list(islice(rows, len(counts)))
            wrong = [one for one in made if isinstance(one, SvError)]
            good = [one for one in made if not isinstance(one, SvError)]
            joined[place] = wrong[0] if wrong else join_crops(row, good, counts)
        return joined

    def _prepare(self, item: Array | SvError, is_feats: bool) -> Array | Tensor | SvError:
        """Return what the batch needs of an item: trimmed samples, or features."""
        if isinstance(item, SvError):
            return item
        try:
            return self._stored(item) if is_feats else self._trim(item)
        except (AudioError, ShapeError) as error:
            return error

    def _trim(self, waveform: Array) -> Array:
        """Return the samples that the frames cover, so that equal frames are equal samples."""
        settings = self.frontend.settings
        count = self.frontend.num_frames(len(waveform))
        if count == 0:
            raise AudioError(f"{len(waveform)} samples are too few for a frame")
        if self.settings.short == "skip" and count < self._encoder.min_frames:
            raise self._too_short(count)
        if settings.kind != "fbank" or not settings.snip_edges:
            return waveform
        return waveform[: (count - 1) * settings.frame_shift + settings.frame_length]

    def _stored(self, array: Array) -> Tensor:
        if array.ndim != 2 or array.size == 0:
            raise ShapeError(f"features are a matrix of frames, got shape {array.shape}")
        if array.shape[1] != self._encoder.feat_dim:
            raise ShapeError(
                f"features have {array.shape[1]} columns, the model needs {self._encoder.feat_dim}"
            )
        feats = torch.as_tensor(np.asarray(array, np.float32))
        if not bool(torch.isfinite(feats).all()):
            raise ShapeError("features hold NaN or infinity")
        if self.settings.short == "skip" and len(feats) < self._encoder.min_frames:
            raise self._too_short(len(feats))
        return self.frontend.normalize(feats) if self.settings.mean_norm else feats

    def _too_short(self, count: int) -> AudioError:
        return AudioError(
            f"{count} frames are too few, the network needs {self._encoder.min_frames}"
        )

    def _batch_features(self, waveforms: Sequence[Any]) -> Tensor:
        with torch.inference_mode():
            samples = torch.from_numpy(np.stack(waveforms)).to(self.device, non_blocking=True)
            feats: Tensor = self.frontend(samples)
        return feats

    def _embed_group(
        self, group: Sequence[Array | Tensor], is_feats: bool
    ) -> list[Embedding | SvError]:
        """Return the embeddings of items of equal length."""
        feats = torch.stack(list(group)) if is_feats else self._batch_features(group)  # type: ignore[arg-type]
        rows = self._embed_feats(feats.to(self.device)).cpu().numpy()
        wrong = AudioError("the embedding is not finite")
        return [row if np.isfinite(row).all() else wrong for row in rows]

    def _embed_feats(self, feats: Tensor) -> Tensor:
        """Return embeddings of features (batch, num_frames, feat_dim) of any length."""
        assert self._embed is not None
        num_frames = feats.shape[1]
        if not self._max_frames or num_frames <= self._max_frames:
            return self._embed(torch.stack([self._stretch(x) for x in feats]))
        num_chunks = -(-num_frames // self._max_frames)
        chunks = torch.tensor_split(feats, num_chunks, dim=1)
        total = torch.zeros((), dtype=torch.float64)
        for chunk in chunks:
            total = total + self._embed(chunk).double().cpu() * (chunk.shape[1] / num_frames)
        return total.float()

    def _stretch(self, feats: Tensor) -> Tensor:
        """Return features (num_frames, feat_dim) repeated up to the network's shortest input."""
        needed = self._encoder.min_frames
        if len(feats) >= needed:
            return feats
        return feats.repeat(-(-needed // len(feats)), 1)[:needed]
