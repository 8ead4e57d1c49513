"""Fetching published weights: encrypted, bounded, checked; nothing is left of what is refused."""

import hashlib
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sv_cli.checkpoints import hub, hub_fetch
from sv_cli.errors import CheckpointError, SettingsError

DATA = b"weights" * 1000
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Return a function that starts a server of one answer and returns its address."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer(self)

            def log_message(self, *words: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def send(length: int | None, body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 1000)
            time.sleep(0.01)
    except OSError:
        pass


def test_a_whole_file_is_written(serve, tmp_path: Path) -> None:
    digest = hashlib.sha256(DATA).hexdigest()
    for length in (None, len(DATA)):
        path = tmp_path / str(length)
        hub_fetch.fetch(serve(send(length, DATA)), path, sha256=digest)
        assert path.read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (send(len(DATA) + 1, DATA), "bytes came"),
        (send(1 << 40, DATA), "1099511627776 bytes are announced"),
        (send(len(DATA), b"y" * len(DATA)), "its SHA-256 is"),
        (endless, "bytes came"),
    ],
)
def test_what_is_refused_leaves_nothing(
    serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Answer, reason: str
) -> None:
    monkeypatch.setattr(hub_fetch, "MAX_BYTES", 1 << 20)
    with pytest.raises(ValueError, match=reason):
        hub_fetch.fetch(serve(answer), tmp_path / "a", sha256=hashlib.sha256(DATA).hexdigest())
    assert list(tmp_path.iterdir()) == []


def test_the_whole_time_is_bounded(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_fetch, "MAX_SECONDS", 0.2)
    with pytest.raises(ValueError, match=r"not complete after 0\.2 s"):
        hub_fetch.fetch(serve(endless), tmp_path / "a")


def test_no_redirect_from_https_to_http() -> None:
    redirects, request = hub_fetch._Redirects(), urllib.request.Request("https://a.b/c")
    with pytest.raises(ValueError, match="which is not encrypted"):
        redirects.redirect_request(request, None, 302, "", Message(), "http://a.b/c")
    assert (
        redirects.redirect_request(request, None, 302, "", Message(), "https://d.e/f") is not None
    )


def test_published_addresses_are_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    for row in hub.PUBLISHED.values():
        assert all(row.url(file).startswith("https://") for file in row.files)
    assert hub.find_published("speech_campplus_sv_zh_en_16k-common_advanced").sha256


@pytest.mark.parametrize("value", ["https://a.b\nX: y", "a.b", "", "https://a b"])
def test_a_wrong_mirror_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", value)
    with pytest.raises(SettingsError, match="HF_ENDPOINT"):
        hub.find_published("wespeaker-voxceleb-resnet34").url("a")


def test_a_pinned_digest_is_checked(serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = serve(send(len(DATA), DATA))
    monkeypatch.setattr(hub.Published, "url", lambda row, file: address)
    row = hub.find_published("speech_campplus_sv_zh_en_16k-common_advanced")
    with pytest.raises(CheckpointError, match="its SHA-256 is"):
        hub.download(row, tmp_path)
    assert list(tmp_path.iterdir()) == []
