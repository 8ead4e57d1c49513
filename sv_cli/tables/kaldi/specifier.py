"""Kaldi's rspecifiers and wspecifiers, and their streams: files, offsets, `-`, pipes."""

import atexit
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from sv_cli import logs
from sv_cli.atomic import atomic_open, is_plain_file, refuse_same_output
from sv_cli.errors import SvError, TableError

READ_OPTIONS = frozenset(["o", "no", "s", "ns", "cs", "ncs", "p", "np", "bg", "t", "b"])
WRITE_OPTIONS = frozenset(["t", "b", "f", "nf", "p"])
_KINDS = frozenset(("ark", "scp"))
_OFFSET = re.compile(r"(?s)(.*):(\d+)\Z")
_BLANKS = " \t\n\r\v\f"
_running: set["subprocess.Popen[bytes]"] = set()
os.register_at_fork(after_in_child=_running.clear)


@dataclass(frozen=True)
class ReadSpec:
    """A table of arrays to read.

    `kind` is "ark" or "scp"; `rx` a file, `-`, `file:offset` or `command |`; `source` the text
    that the user gave.
    """

    kind: Literal["ark", "scp"]
    rx: str
    options: frozenset[str] = frozenset()
    source: str = ""

    @property
    def permissive(self) -> bool:
        """Whether unreadable entries are skipped and counted (`p`)."""
        return "p" in self.options

    @property
    def path(self) -> Path | None:
        """The file of the table, or None for `-` and pipes."""
        return None if self.rx in ("", "-") or "|" in self.rx else Path(strip_offset(self.rx))


@dataclass(frozen=True)
class WriteSpec:
    """A table of arrays to write: an archive, an index of it, or both.

    An `scp` without an `ark` is an existing file that says where each array goes.
    """

    ark: str | None
    scp: str | None
    text: bool = False
    flush: bool = False
    permissive: bool = False
    source: str = ""

    @property
    def path(self) -> Path | None:
        """The file of the table (the scp where there is one), or None for pipes."""
        name = self.scp or self.ark or "-"
        return None if name in ("", "-") or "|" in name else Path(name)

    @property
    def files(self) -> list[str]:
        """The names of the archive and the scp, as far as they are written."""
        return [name for name in (self.ark, self.scp) if name is not None]


def parse_rspecifier(text: str, *, wanted: str = "xvector.scp") -> ReadSpec:
    """Return what an rspecifier or a bare path says; a directory is the table `wanted` in it.

    Raises
    ------
    TableError
        When the text is neither, in the words of the part that is wrong.
    """
    words, rest = _split_specifier(text, READ_OPTIONS, "rspecifier")
    if words is None:
        return _bare_input(text, wanted)
    kinds = [word for word in words if word in _KINDS]
    if len(kinds) != 1:
        raise TableError(f"`{text}`: a table is read as `ark:` or `scp:`, not both")
    check_input(rest, text)
    kind: Literal["ark", "scp"] = "ark" if kinds[0] == "ark" else "scp"
    return ReadSpec(kind, rest or "-", frozenset(words) - _KINDS, text)


def parse_wspecifier(text: str, *, wanted: str = "xvector") -> WriteSpec:
    """Return what a wspecifier or a bare path says.

    A directory, or a new path without suffix, is `ark,scp:DIR/wanted.ark,DIR/wanted.scp`; `x.scp`
    is `ark,scp:x.ark,x.scp`. What begins with a digit is no suffix: `emb/dev-0.9` is a directory.

    Raises
    ------
    TableError
        When the text is neither, in the words of the part that is wrong.
    """
    words, rest = _split_specifier(text, WRITE_OPTIONS, "wspecifier")
    if words is None:
        return _bare_output(text, wanted)
    kinds = [word for word in words if word in _KINDS]
    ark, scp = _output_names(kinds, rest, text)
    for name in (ark, scp):
        if name is not None:
            check_output(name, text)
    return WriteSpec(
        ark, scp, text="t" in words, flush="f" in words, permissive="p" in words, source=text
    )


def pipes_allowed() -> bool:
    """Return whether shell commands may be run (`--no-pipes` and SVTOOL_NO_PIPES=1 refuse them)."""
    return os.environ.get("SVTOOL_NO_PIPES", "").lower() in ("", "0", "false", "no")


def is_pipe(rx: str) -> bool:
    """Return whether an extended file name is a command: `command |` or `| command`."""
    return rx.startswith("|") or rx.endswith("|")


def strip_offset(rx: str) -> str:
    """Return the file of `file:offset`, or the name unchanged."""
    match = _OFFSET.fullmatch(rx)
    return match.group(1) if match else rx


@contextmanager
def open_input(rx: str, *, text: bool = False) -> Iterator[IO[Any]]:
    """Open a file, `file:offset`, `-` or `command |` for reading; bytes unless `text`.

    When the block has read to the end, a command that failed raises.

    Raises
    ------
    TableError
        When the file cannot be opened, or names the command and its status.
    """
    check_input(rx, rx)
    if rx.endswith("|"):
        with _input_pipe(rx[:-1]) as stream:
            yield _as_text(stream) if text else stream
    elif rx in ("", "-"):
        if sys.stdin is None:
            raise TableError("`-`: standard input is closed")
        yield sys.stdin if text else sys.stdin.buffer
    else:
        with open_file(rx) as stream:
            yield _as_text(stream) if text else stream


def open_file(rx: str) -> IO[bytes]:
    """Open a plain file or `file:offset` for reading."""
    match = _OFFSET.fullmatch(rx)
    path, offset = (match.group(1), int(match.group(2))) if match else (rx, 0)
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 - the caller closes it
        if offset:
            stream.seek(offset)
    except FileNotFoundError as error:
        raise TableError(f"`{path}`: no such file") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TableError(f"cannot read `{path}`: {reason}") from error
    return stream


@contextmanager
def open_output(wx: str, *, text: bool = False) -> Iterator[IO[Any]]:
    """Open a file, `-` or `| command` for writing; a file appears when the block ends well.

    A symbolic link is replaced by the file, its target stays as it is. FIFOs, /dev/stdout and
    other devices are written to directly.

    Raises
    ------
    TableError
        When the file cannot be written, or a command failed: names it and its status.
    """
    check_output(wx, wx)
    if wx.startswith("|"):
        with _output_pipe(wx[1:]) as stream:
            yield _flushed_text(stream) if text else stream
    elif wx in ("", "-"):
        yield from _standard_output(text)
    elif is_plain_file(wx):
        with atomic_open(wx, "wb") as stream:
            yield _flushed_text(stream) if text else stream
    else:
        yield from _device(wx, text)


def check_input(rx: str, source: str) -> None:
    """Raise when `rx` cannot be read from: an output pipe, stray `|`, or blanks around."""
    if rx != rx.strip(_BLANKS):
        raise TableError(f"`{source}`: begins or ends with a blank")
    if rx.startswith("|"):
        raise TableError(f"`{source}`: an output pipe, where an input is wanted")
    if rx.endswith("|"):
        _refuse_pipe(source)
    elif "|" in rx:
        raise TableError(
            f"`{source}`: `|` inside a file name", hint="an input pipe ends with `|`: `command |`"
        )
    elif rx.startswith(("ark:", "scp:")):
        raise TableError(f"`{source}`: a specifier, where a file name is wanted")


def check_output(wx: str, source: str) -> None:
    """Raise when `wx` cannot be written to: an input pipe, an offset, or blanks around."""
    if wx.startswith("|"):
        _refuse_pipe(source)
        return
    if wx != wx.strip(_BLANKS):
        raise TableError(f"`{source}`: begins or ends with a blank")
    if "|" in wx:
        raise TableError(
            f"`{source}`: `|` inside a file name", hint="an output pipe starts with `|`"
        )
    if _OFFSET.fullmatch(wx):
        raise TableError(f"`{source}`: cannot write at an offset of a file")
    if wx.startswith(("ark:", "scp:")):
        raise TableError(f"`{source}`: a specifier, where a file name is wanted")


def _split_specifier(text: str, known: frozenset[str], what: str) -> tuple[list[str] | None, str]:
    """Return the words before the colon and what follows it; no words for a bare path."""
    head, colon, rest = text.partition(":")
    words = head.split(",")
    if not colon or not _KINDS & {word.strip(_BLANKS) for word in words}:
        return None, text
    if text != text.strip(_BLANKS) or any(word != word.strip(_BLANKS) for word in words):
        raise TableError(f"`{text}`: an {what} has no blanks around its words")
    unknown = [word for word in words if word not in known | _KINDS]
    if unknown:
        raise TableError(
            f"`{text}`: unknown option `{unknown[0]}`",
            hint=f"options are {', '.join(sorted(known))}",
        )
    return words, rest


def _bare_input(text: str, wanted: str) -> ReadSpec:
    check_input(text, text)
    if text and not is_pipe(text) and text != "-" and Path(text).is_dir():
        path = str(Path(text) / wanted)
        return ReadSpec("scp" if path.endswith(".scp") else "ark", path, source=text)
    kind: Literal["ark", "scp"] = "scp" if text.endswith(".scp") else "ark"
    return ReadSpec(kind, text or "-", source=text)


def _bare_output(text: str, wanted: str) -> WriteSpec:
    check_output(text, text)
    if text in ("", "-") or text.startswith("|"):
        return WriteSpec(text or "-", None, source=text)
    path = Path(text)
    if path.suffix == ".scp" and not path.is_dir():
        return WriteSpec(str(path.with_suffix(".ark")), text, source=text)
    is_name = not path.suffix or path.suffix[1:2].isdigit()
    if path.is_dir() or text.endswith("/") or (is_name and not path.exists()):
        return WriteSpec(str(path / f"{wanted}.ark"), str(path / f"{wanted}.scp"), source=text)
    return WriteSpec(text, None, source=text)


def _output_names(kinds: list[str], rest: str, text: str) -> tuple[str | None, str | None]:
    if kinds == ["ark"]:
        return rest or "-", None
    if kinds == ["scp"]:
        return None, rest or "-"
    if kinds != ["ark", "scp"]:
        raise TableError(f"`{text}`: both tables are written as `ark,scp:ARK,SCP`")
    ark, comma, scp = rest.partition(",")
    if not comma or not ark or not scp:
        raise TableError(f"`{text}`: expected two names, `ark,scp:ARK,SCP`")
    if ark == "-" or is_pipe(ark):
        raise TableError(f"`{text}`: an scp can only point into a plain archive file")
    refuse_same_output(ark, scp)
    return ark, scp


def _refuse_pipe(source: str) -> None:
    if not pipes_allowed():
        raise TableError(
            f"`{source}`: pipes are refused", hint="leave out `--no-pipes` (SVTOOL_NO_PIPES)"
        )


def _as_text(stream: IO[bytes]) -> IO[str]:
    import io

    return io.TextIOWrapper(stream, encoding="utf-8", errors="surrogateescape")


class _TextWriter:
    """Text as UTF-8 onto a binary stream, without closing it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(text.encode("utf-8", "surrogateescape"))

    def flush(self) -> None:
        self._stream.flush()


def _flushed_text(stream: IO[bytes]) -> Any:
    return _TextWriter(stream)


def _standard_output(text: bool) -> Iterator[IO[Any]]:
    with logs.stdout() as stream:
        yield _flushed_text(stream) if text else stream


def _device(wx: str, text: bool) -> Iterator[IO[Any]]:
    """Write to /dev/null, a fifo and the like, where there is nothing to rename."""
    try:
        with Path(wx).open("wb") as stream:
            yield _flushed_text(stream) if text else stream
    except OSError as error:
        raise TableError(f"cannot write `{wx}`: {error.strerror or error}") from error


@contextmanager
def _input_pipe(command: str) -> Iterator[IO[bytes]]:
    process = _start(command, reads=False)
    assert process.stdout is not None
    stream = process.stdout
    try:
        yield stream
        at_end = stream.closed or stream.read(1) == b""
    except SvError:
        # A table that breaks off is most often a command that failed: say that instead.
        if not stream.closed and stream.read(1) == b"":
            _check_status(process, command)
        raise
    else:
        if at_end:
            _check_status(process, command)
    finally:
        _end(process, stream)


@contextmanager
def _output_pipe(command: str) -> Iterator[IO[bytes]]:
    process = _start(command, reads=True)
    assert process.stdin is not None
    stream = process.stdin
    try:
        yield stream
        stream.close()
        _check_status(process, command)
    except BrokenPipeError as error:
        _check_status(process, command)
        raise TableError(f"`{command.strip()}` did not read its whole input") from error
    finally:
        _end(process, stream)


def _start(command: str, *, reads: bool) -> "subprocess.Popen[bytes]":
    if not command.strip():
        raise TableError("an empty command in a pipe")
    # An own process group, so that an interrupt ends the whole pipeline and leaves no orphan.
    process = subprocess.Popen(
        command,
        shell=True,
        process_group=0,
        bufsize=1 << 20,
        stdin=subprocess.PIPE if reads else None,
        stdout=None if reads else subprocess.PIPE,
    )
    _running.add(process)
    return process


def end_pipes() -> None:
    """End the commands that this process still reads from or writes to, before it ends itself."""
    for process in list(_running):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)


atexit.register(end_pipes)  # where a thread still waits for one


def _check_status(process: "subprocess.Popen[bytes]", command: str) -> None:
    status = process.wait()
    if status != 0:
        how = f"ended by signal {-status}" if status < 0 else f"failed with status {status}"
        raise TableError(f"`{command.strip()}` {how}")


def _end(process: "subprocess.Popen[bytes]", stream: IO[bytes]) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGTERM)
    with suppress(BrokenPipeError):
        stream.close()
    process.wait()
    _running.discard(process)
