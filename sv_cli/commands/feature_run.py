"""Options and wiring that `make-fbank` and `make-vad` share."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sv_cli.commands.skipping import finish

if TYPE_CHECKING:
    from sv_cli.features.job import FeatureJob
    from sv_cli.features.making import Made
    from sv_cli.features.settings import VadSettings

Data = Annotated[
    str,
    typer.Argument(
        help="Data directory, `scp:wav.scp`, `ark:wav.ark`, a recording, or a list of paths."
    ),
]
AudioRoot = Annotated[
    str | None,
    typer.Option(
        "--audio-root", envvar="SVTOOL_AUDIO_ROOT", help="Where relative audio paths start."
    ),
]
NumProcs = Annotated[int, typer.Option("--num-procs", min=1, help="Worker processes.")]
NumShards = Annotated[int, typer.Option("--num-shards", min=1, help="Jobs that share the data.")]
Shard = Annotated[int, typer.Option("--shard", min=1, help="Which of them this is, from 1.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the parts that are finished.")]
Channel = Annotated[
    int | None,
    typer.Option("--channel", min=0, help="Channel to read, from 0, where none is named."),
]
Device = Annotated[Literal["cpu", "cuda"], typer.Option("--device", help="Where to compute.")]


@dataclass(frozen=True)
class FeatureRun:
    """Where a table comes from and goes to, and how the work is shared."""

    data: str
    out: str | None
    wanted: str
    num_procs: int
    num_shards: int
    shard: int
    resume: bool
    force: bool

    def make(self, job: "FeatureJob") -> "Made | None":
        """Write the table, and what goes with it; None but in the first process of torchrun."""
        from sv_cli.audio.sources import open_source, take_shard
        from sv_cli.features.making import make_table
        from sv_cli.tables.kaldi.specifier import parse_wspecifier

        spec = parse_wspecifier(self._output(), wanted=self._name())
        with open_source(self.data) as utterances:
            mine = take_shard(utterances, num_shards=self.num_shards, shard=self.shard)
            made = make_table(
                replace(job, text=spec.text),
                mine,
                spec,
                data=self.data,
                num_procs=self.num_procs,
                resume=self.resume,
                force=self.force,
            )
        if made and self.wanted == "feats" and self._is_inside(spec.scp):
            self._write_beside(made, job)
        return made

    def _is_inside(self, scp: str | None) -> bool:
        return scp is not None and Path(scp).parent == Path(self.data)

    def _name(self) -> str:
        return self.wanted if self.num_shards == 1 else f"{self.wanted}.{self.shard}"

    def _output(self) -> str:
        if self.out is not None:
            return self.out
        if not Path(self.data).is_dir():
            return "-"
        place = f"{self.data.rstrip('/')}/{self._name()}"
        return f"ark,scp:{place}.ark,{place}.scp"

    def _write_beside(self, made: "Made", job: "FeatureJob") -> None:
        from sv_cli.tables.text import write_table

        suffix = "" if self.num_shards == 1 else f".{self.shard}"
        frames = {utt: str(count) for utt, count in made.frames.items()}
        write_table(f"{self.data}/utt2num_frames{suffix}", frames)
        shift = job.settings.frame_shift_ms / 1000
        write_table(f"{self.data}/frame_shift", [[f"{shift:g}"]])

    def decide(self, settings: "VadSettings") -> "Made":
        """Write VAD decisions from features whose first column is the log energy."""
        from sv_cli.features.vad_table import decide_from_features
        from sv_cli.tables.kaldi.specifier import parse_wspecifier

        spec = parse_wspecifier(self._output(), wanted=self._name())
        return decide_from_features(self.data, spec, settings, force=self.force)


def finish_made(made: "Made | None", what: str, max_skipped: int) -> None:
    """Say the last line, in the one process that wrote the table."""
    if made is not None:
        done = len(made.frames)
        text = f"wrote {what} of {done} utterances"
        finish(text, done=done, skipped=made.skipped, max_skipped=max_skipped)
