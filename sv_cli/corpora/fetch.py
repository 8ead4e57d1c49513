"""Fetch a small file from a known address; it appears whole and checked, or not at all."""

import hashlib
import http.client
import urllib.error
import urllib.request
from pathlib import Path

from sv_cli import logs
from sv_cli.atomic import atomic_open
from sv_cli.errors import SvError

_TIMEOUT_SECONDS = 30
_MAX_BYTES = 1 << 30


def fetch(url: str, target: Path, *, md5: str = "") -> None:
    """Write what is at `url` to `target`.

    Raises
    ------
    SvError
        When there is no network, no such file, or its MD5 sum is another one; the hint says which
        file to bring from where.
    """
    remedy = f"bring `{target.name}` from {url} to `{target.parent}` by hand"
    logs.info(f"fetching {url}")
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as stream:
            content = stream.read(_MAX_BYTES)
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise SvError(f"cannot fetch {url}: {reason}", hint=remedy) from error
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 and found != md5:
        raise SvError(f"{url} has the MD5 sum {found}, not {md5}", hint=remedy)
    with atomic_open(target, "wb") as stream:
        stream.write(content)
