"""`svtool data perturb-speed`, `resample` and `play`: data directories whose signal changes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from sv_cli.atomic import refuse_overwrite
from sv_cli.commands.feature_run import AudioRoot, NumProcs, Resume
from sv_cli.commands.skipping import Force, MaxSkipped, finish
from sv_cli.lock import claim_folder

Directory = Annotated[str, typer.Argument(help="Data directory.", metavar="DIR")]
Out = Annotated[Path, typer.Argument(help="Data directory to write.", metavar="OUT")]
Format = Annotated[Literal["flac", "wav"], typer.Option("--format", help="Of the files.")]


def perturb_speed(
    directory: Directory,
    out: Out,
    speeds: Annotated[str, typer.Option(help="Factors, with commas between.")] = "0.9,1.1",
    only_copies: Annotated[
        bool, typer.Option("--only-copies", help="Leave out the utterances as they are.")
    ] = False,
    write_audio: Annotated[
        bool,
        typer.Option("--write-audio", help="Write files to OUT/audio; by default pipes play them."),
    ] = False,
    format: Format = "flac",
    num_procs: NumProcs = 1,
    audio_root: AudioRoot = None,
    resume: Resume = False,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Add copies of a data directory at other speeds, as speakers of their own.

    Utterances and speakers are called `sp0.9-NAME`, utt2uniq names the utterances before, and
    times are divided. Without `--write-audio` wav.scp gets pipes to `svtool data play`, which
    costs the start of a program at each reading. Features and VAD decisions are left out.
    Training plays speeds by itself (`augment.speeds`) and needs no such directory.

    \b
    Examples:
      $ svtool data perturb-speed data/dev out/dev-sp
      $ svtool data perturb-speed data/dev out/dev-0.9 --speeds 0.9 --only-copies --write-audio
      $ svtool data perturb-speed data/eval out/eval-sp 2>&1 | tail -n 1

    \b
    See also: data play, data resample, data combine
    """
    from sv_cli.corpora import rewritten
    from sv_cli.tables.datadir.directory import DataDir

    factors = rewritten.parse_speeds(speeds)
    data = DataDir.load(directory, extra=True)
    files = rewritten.AudioFiles(out / "audio", format, num_procs, audio_root, resume, force)
    claim_folder(out)
    refuse_overwrite(out / "utt2spk", force=force or resume)
    whole, skipped = rewritten.perturb_speed(
        data, factors, files, write_audio=write_audio, only_copies=only_copies
    )
    whole.write(out, replace=True)
    _finish(len(whole.utts), skipped, max_skipped)


def resample(
    directory: Directory,
    out: Out,
    rate: Annotated[int, typer.Option("--rate", min=1000, max=384000, help="Rate in Hz.")],
    format: Format = "flac",
    num_procs: NumProcs = 1,
    audio_root: AudioRoot = None,
    resume: Resume = False,
    force: Force = False,
    max_skipped: MaxSkipped = 0,
) -> None:
    r"""Write the recordings of a data directory at another sampling rate, in 16 bits.

    They go to OUT/audio with all their channels; segments and durations stay, features and VAD
    decisions are left out. Every command resamples as it reads; this saves doing it each time.

    \b
    Examples:
      $ svtool data resample data/dev out/dev-8k --rate 8000
      $ svtool data resample data/eval out/eval-8k --rate 8000 --num-procs 2 2>&1 | tail -n 1

    \b
    See also: data perturb-speed, data play
    """
    from sv_cli.corpora.rewritten import AudioFiles, resample_data
    from sv_cli.tables.datadir.directory import DataDir

    data = DataDir.load(directory, extra=True)
    files = AudioFiles(out / "audio", format, num_procs, audio_root, resume, force)
    claim_folder(out)
    refuse_overwrite(out / "utt2spk", force=force or resume)
    changed, skipped = resample_data(data, rate, files)
    changed.write(out, replace=True)
    _finish(len(changed.utts), skipped, max_skipped)


def play(
    recording: Annotated[
        str, typer.Argument(help="File, archive:offset, `command |` or -.", metavar="RECORDING")
    ],
    speed: Annotated[float, typer.Option(min=0.5, max=2.0, help="Factor of the speed.")] = 1.0,
    rate: Annotated[
        int | None, typer.Option("--rate", min=1000, max=384000, help="Rate in Hz to write.")
    ] = None,
    audio_root: AudioRoot = None,
) -> None:
    r"""Write a recording to stdout as a WAVE file of 16 bits, at another speed or rate.

    It is what `data perturb-speed` puts into wav.scp; a player or any Kaldi program reads it.

    \b
    Examples:
      $ svtool data play recordings/d0016/d0016-000.wav --speed 0.9 > out/slow.wav
      $ svtool data play recordings/d0016/d0016-000.wav --rate 8000 | wc -c

    \b
    See also: data perturb-speed, data resample
    """
    from sv_cli.audio.rewrite import Change, read_changed
    from sv_cli.audio.write import encode_waveform
    from sv_cli.tables.kaldi.specifier import open_output

    samples, written = read_changed(recording, Change(speed, rate), audio_root=audio_root)
    with open_output("-") as stream:
        stream.write(encode_waveform(samples, written, format="wav"))


def _finish(done: int, skipped: int, max_skipped: int) -> None:
    finish(f"wrote {done} utterances", done=done, skipped=skipped, max_skipped=max_skipped)
