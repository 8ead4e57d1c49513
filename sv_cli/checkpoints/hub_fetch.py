"""Fetch a file of published weights: over https, of bounded size and time, checked, whole."""

import hashlib
import time
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from sv_cli.atomic import atomic_open

TIMEOUT_SECONDS = 30  # without a byte
MAX_SECONDS = 4 * 3600.0
MAX_BYTES = 8 << 30
_BLOCK_BYTES = 1 << 18


def fetch(url: str, path: Path, *, sha256: str | None = None) -> None:
    """Write what is at `url` to `path`; it appears whole and checked, or not at all.

    Parameters
    ----------
    url : str
        Redirects from https to http are refused.
    path : Path
        File to write.
    sha256 : str or None
        Digest in hex that the content must have.

    Raises
    ------
    OSError, ValueError
        When it cannot be fetched, is too large or too slow, or has a different digest.
    SvError
        When the file cannot be written.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "svtool"})
    opener = urllib.request.build_opener(_Redirects)
    digest = hashlib.sha256()
    try:
        with (
            opener.open(request, timeout=TIMEOUT_SECONDS) as answer,
            atomic_open(path, "wb") as stream,
        ):
            for block in _blocks(answer):
                digest.update(block)
                stream.write(block)
            if sha256 is not None and digest.hexdigest() != sha256:
                raise ValueError(f"its SHA-256 is {digest.hexdigest()}, not {sha256}")
    except HTTPException as error:
        raise ValueError(f"no answer of HTTP: {error!r}") from error


def _blocks(answer: Any) -> Iterator[bytes]:
    """Yield what comes, within the limits; errors of the network are ValueErrors."""
    expected, size, end = _length(answer.headers), 0, time.monotonic() + MAX_SECONDS
    try:
        while block := answer.read1(_BLOCK_BYTES):
            size += len(block)
            if size > (MAX_BYTES if expected is None else expected):
                raise ValueError(f"more than {size - len(block)} bytes came")
            if time.monotonic() > end:
                raise ValueError(f"not complete after {MAX_SECONDS:g} s")
            yield block
    except OSError as error:
        raise ValueError(f"{size} bytes came, then {error}") from error
    if expected is not None and size != expected:
        raise ValueError(f"{size} of {expected} bytes came")


def _length(headers: HTTPMessage) -> int | None:
    """Return the announced size in bytes."""
    text = headers.get("Content-Length")
    if text is None:
        return None
    length = int(text)
    if not 0 <= length <= MAX_BYTES:
        raise ValueError(f"{length} bytes are announced; at most {MAX_BYTES} are fetched")
    return length


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not from https to http."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Any:
        """Return the request for the new address."""
        if req.type == "https" and urlsplit(newurl).scheme != "https":
            raise ValueError(f"redirected to `{newurl}`, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
