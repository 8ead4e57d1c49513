"""Training crops of utterances in Shar archives, read a stretch of many utterances at a time."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.audio.info import AudioInfo
from sv_cli.audio.read import read_chosen_bytes
from sv_cli.errors import AudioError, TableError, name_some
from sv_cli.sampling.dataset import ANYWHERE, CropRule, WaveformCrops
from sv_cli.sampling.items import CropItems
from sv_cli.sampling.selection import choose_utterances
from sv_cli.sampling.settings import DataSettings
from sv_cli.sampling.shar import Stored, read_shards
from sv_cli.sampling.storage import CHUNK_ITEMS, LANES, WINDOW_ITEMS, StorageOrder
from sv_cli.tables.datadir.directory import Utterance
from sv_cli.tables.text import encode, sort_keys

_HEADER_BYTES = 512
_NAME_BYTES = 100
# A worker that reads for all lanes holds a window and its edges of each.
_MAX_CHUNKS = LANES[0] * (WINDOW_ITEMS // CHUNK_ITEMS + 2)


@dataclass(frozen=True)
class Chunk:
    """A stretch of an archive, from the header of its first utterance to the end of its last."""

    archive: Path
    start: int
    end: int


@dataclass
class _Held:
    """The bytes of a chunk, and how many crops of it are still to be taken."""

    data: bytes
    left: int


class SharItems:
    """The utterances of a Shar directory that are chosen, numbered in byte order.

    Attributes
    ----------
    utts : list of str
    utt2spk : dict
    storage : StorageOrder
    chunks : list of Chunk
    chunk_of : (num_items,) int64
        The chunk that contains each.
    offset, size : (num_items,) int64
        The bytes of each in its archive.
    seconds : (num_items,) float64
        Length of each.
    """

    def __init__(self, path: str | Path, settings: DataSettings) -> None:
        shards = read_shards(path)
        rows = [row for _, stored in shards for row in stored]
        _refuse_repeated([row.utt for row in rows], str(path))
        speakers = {row.utt: row.speaker for row in rows}
        durations = {row.utt: row.num_samples / row.sample_rate for row in rows}
        known = sort_keys(durations)
        seconds = np.array([durations[utt] for utt in known], dtype=np.float64)
        chosen = choose_utterances(known, speakers, seconds, settings)
        self.utts = [known[number] for number in chosen.tolist()]
        self.utt2spk = {utt: speakers[utt] for utt in self.utts}
        self.seconds = seconds[chosen]
        self.chunk_of, self.offset, self.size = np.zeros((3, len(self.utts)), np.int64)
        self.chunks: list[Chunk] = []
        self.storage = self._place(shards)

    def _place(self, shards: Sequence[tuple[Path, list[Stored]]]) -> StorageOrder:
        """Note the chunk and bytes of each utterance; return their order."""
        number = {utt: item for item, utt in enumerate(self.utts)}
        items: list[int] = []
        starts: list[int] = []
        for archive, stored in shards:
            kept = [row for row in stored if row.utt in number]
            for at in range(0, len(kept), CHUNK_ITEMS):
                part = kept[at : at + CHUNK_ITEMS]
                starts.append(len(items))
                for row in part:
                    item = number[row.utt]
                    self.chunk_of[item] = len(self.chunks)
                    self.offset[item], self.size[item] = row.offset, row.size
                    items.append(item)
                start = max(0, part[0].offset - _HEADER_BYTES)
                end = part[-1].offset + part[-1].size
                self.chunks.append(Chunk(archive, start, end))
        return StorageOrder(np.array(items, np.int64), np.array(starts, np.int64))


class SharCrops(WaveformCrops):
    """Crops of utterances in archives; each chunk is read once in an epoch and worker."""

    def __init__(
        self,
        items: SharItems,
        crops: CropItems,
        *,
        num_samples: int,
        sample_rate: int,
        silence_threshold: float = 0.0,
        rule: CropRule = ANYWHERE,
    ) -> None:
        super().__init__(
            [Utterance(utt, utt) for utt in items.utts],
            num_samples=num_samples,
            sample_rate=sample_rate,
            silence_threshold=silence_threshold,
            rule=rule,
        )
        self._items = items
        self._uses = np.bincount(items.chunk_of, weights=crops.per_utt).astype(np.int64)
        self._held: OrderedDict[int, _Held] = OrderedDict()

    def _read_span(
        self, utt: int, choose: Callable[[AudioInfo], tuple[int, int]]
    ) -> NDArray[np.float32]:
        archive = self._items.chunks[self._items.chunk_of[utt]].archive
        return read_chosen_bytes(
            self._take(utt), choose, name=f"{archive}:{self._items.offset[utt]}"
        )

    def _take(self, utt: int) -> bytes:
        """Return the bytes of an utterance, out of a chunk that is dropped after its last crop."""
        number = int(self._items.chunk_of[utt])
        chunk = self._items.chunks[number]
        held = self._held.get(number)
        if held is None:
            while len(self._held) >= _MAX_CHUNKS:
                self._held.popitem(last=False)
            held = self._held[number] = _Held(_read_chunk(chunk), int(self._uses[number]))
        self._held.move_to_end(number)
        held.left -= 1
        if held.left <= 0:
            del self._held[number]
        at = int(self._items.offset[utt]) - chunk.start
        name = held.data[at - _HEADER_BYTES : at - _HEADER_BYTES + _NAME_BYTES]
        if not name.startswith(encode(self._items.utts[utt])[:_NAME_BYTES]):
            raise AudioError(
                f"`{chunk.archive}` holds something else at byte {self._items.offset[utt]}",
                hint="its index belongs to another archive: make both again",
            )
        return held.data[at : at + int(self._items.size[utt])]


def _read_chunk(chunk: Chunk) -> bytes:
    try:
        with chunk.archive.open("rb", buffering=0) as stream:
            stream.seek(chunk.start)
            data = _read_all(stream.read, chunk.end - chunk.start)
    except OSError as error:
        raise AudioError(f"cannot read `{chunk.archive}`: {error.strerror}") from error
    if len(data) < chunk.end - chunk.start:
        present = chunk.start + len(data)
        raise AudioError(f"`{chunk.archive}` breaks off at byte {present}", hint="copy it again")
    return data


def _read_all(read: Callable[[int], bytes | None], count: int) -> bytes:
    """Return `count` bytes, or what there is: one read may give fewer."""
    parts = []
    while count and (part := read(count)):
        parts.append(part)
        count -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _refuse_repeated(utts: Sequence[str], path: str) -> None:
    if len(set(utts)) < len(utts):
        seen: set[str] = set()
        twice = [utt for utt in utts if utt in seen or seen.add(utt)]  # type: ignore[func-returns-value]
        raise TableError(f"`{path}`: {len(twice)} utterances occur twice: {name_some(twice)}")


def say_order(items: SharItems) -> None:
    """Warn where neighbours in the archives are mostly of one speaker: batches would be, too."""
    speakers = [items.utt2spk[items.utts[item]] for item in items.storage.items]
    same = sum(one == two for one, two in pairwise(speakers))
    if same > len(speakers) / 2:
        logs.warn(
            "utterances are in the order of speakers, and batches will hold few speakers each: "
            "`svtool data to-shar` writes them in random order"
        )
