"""Messages for people: what comes from outside cannot steer the terminal."""

import json

import pytest

from sv_cli import logs

HOSTILE = "a\x1b]0;owned\x07b\x9bc\x7fd\re"


@pytest.fixture(autouse=True)
def restore():
    yield
    logs.configure(command="svtool", quiet=False, verbose=False, log_format="text")


def test_control_characters_are_shown_not_sent(capsys):
    logs.warn(f"skipped `{HOSTILE}`", utt=HOSTILE)
    logs.error(HOSTILE, hint=f"two\nlines\tof {HOSTILE}")
    shown = capsys.readouterr().err
    assert r"skipped `a\x1b]0;owned\x07b\x9bc\x7fd\x0de`" in shown
    assert "two\nlines\tof a" in shown
    assert not set(shown) & set("\x1b\x07\x9b\x7f\r")


def test_json_lines_keep_the_text_and_send_no_control_character(capsys):
    logs.configure(command="x", quiet=False, verbose=False, log_format="json")
    logs.warn("skipped", utt=HOSTILE)
    shown = capsys.readouterr().err
    assert json.loads(shown)["utt"] == HOSTILE
    assert not set(shown) & set("\x1b\x07\x9b\x7f\r")
