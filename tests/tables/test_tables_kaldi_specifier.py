"""The grammar of specifiers, and pipes whose failure is seen."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.atomic import atomic_open, atomic_path
from sv_cli.errors import SvError, TableError
from sv_cli.tables.kaldi.specifier import (
    READ_OPTIONS,
    open_input,
    open_output,
    parse_rspecifier,
    parse_wspecifier,
)


@pytest.mark.parametrize(
    ("text", "kind", "rx"),
    [
        ("ark:x.ark", "ark", "x.ark"),
        ("scp:x.scp", "scp", "x.scp"),
        ("ark,t:-", "ark", "-"),
        ("ark:", "ark", "-"),
        ("s,cs,scp:x", "scp", "x"),
        ("scp,p,bg:x", "scp", "x"),
        ("no,ns,np,ncs,ark:x", "ark", "x"),
        ("ark:gunzip -c a:b.gz |", "ark", "gunzip -c a:b.gz |"),
        ("ark:x.ark:12", "ark", "x.ark:12"),
        ("x.scp", "scp", "x.scp"),
        ("x.ark", "ark", "x.ark"),
        ("-", "ark", "-"),
        ("cat x.ark |", "ark", "cat x.ark |"),
        ("C:odd/x.scp", "scp", "C:odd/x.scp"),
    ],
)
def test_rspecifiers_and_bare_paths(text, kind, rx):
    spec = parse_rspecifier(text)
    assert (spec.kind, spec.rx) == (kind, rx)


@pytest.mark.parametrize(
    "text",
    [
        "ark, s:x",
        " ark:x",
        "ark:x ",
        "ark:x\n",
        "ark,scp:a,b",
        "ark,ark:x",
        "ark,q:x",
        "ark:| cat",
        "ark:a | b",
        "ark:scp:x",
    ],
)
def test_what_is_no_rspecifier_is_refused(text):
    with pytest.raises(TableError):
        parse_rspecifier(text)


@given(st.permutations(["ark", *sorted(READ_OPTIONS)]), st.integers(1, 5))
def test_options_stand_in_any_order_around_the_word(words, count):
    kept = [word for word in words[:count] if word != "ark"]
    for place in range(len(kept) + 1):
        text = ",".join([*kept[:place], "ark", *kept[place:]]) + ":some file.ark"
        spec = parse_rspecifier(text)
        assert spec.rx == "some file.ark"
        assert spec.options == set(kept)


def test_a_directory_is_the_table_wanted_in_it(tmp_path):
    spec = parse_rspecifier(str(tmp_path), wanted="feats.scp")
    assert (spec.kind, spec.rx) == ("scp", f"{tmp_path}/feats.scp")
    out = parse_wspecifier(str(tmp_path / "new"))
    assert (out.ark, out.scp) == (f"{tmp_path}/new/xvector.ark", f"{tmp_path}/new/xvector.scp")


@pytest.mark.parametrize(
    ("text", "ark", "scp", "text_form"),
    [
        ("ark,scp:a,b", "a", "b", False),
        ("ark,scp,t:a,b,c", "a", "b,c", True),
        ("t,ark:-", "-", None, True),
        ("ark,f:| gzip -c > x.gz", "| gzip -c > x.gz", None, False),
        ("scp:places.scp", None, "places.scp", False),
        ("x.ark", "x.ark", None, False),
        ("dir/x.scp", "dir/x.ark", "dir/x.scp", False),
        ("new/dev-0.9", "new/dev-0.9/xvector.ark", "new/dev-0.9/xvector.scp", False),
        ("new/spk.mean", "new/spk.mean", None, False),
        ("-", "-", None, False),
    ],
)
def test_wspecifiers(text, ark, scp, text_form):
    spec = parse_wspecifier(text)
    assert (spec.ark, spec.scp, spec.text) == (ark, scp, text_form)


@pytest.mark.parametrize(
    "text", ["scp,ark:a,b", "ark,scp:a", "ark,scp:-,b", "ark,scp:| gzip,b", "ark:x:12", "ark:cat |"]
)
def test_what_is_no_wspecifier_is_refused(text):
    with pytest.raises(TableError):
        parse_wspecifier(text)


def test_row_15_a_failed_input_command_raises(tmp_path):
    for command in ("cat nofile 2>/dev/null |", "printf abc; exit 3 |"):
        with pytest.raises(TableError, match="failed with status"), open_input(command) as stream:
            stream.read()


def test_an_input_command_left_early_is_ended_without_a_word():
    with open_input("yes |") as stream:
        assert stream.read(2) == b"y\n"


def test_row_16_a_failed_output_command_raises():
    with pytest.raises(TableError, match="status 7"), open_output("| cat > /dev/null; exit 7") as s:
        s.write(b"x")
    with pytest.raises(TableError, match="status 7"), open_output("| exit 7") as s:
        for _ in range(100):
            s.write(b"x" * 100_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_row_16_a_full_disk_raises():
    with pytest.raises(TableError, match="No space left"), open_output("/dev/full") as stream:
        stream.write(b"x")


def test_devices_are_written_to_and_not_replaced():
    with open_output(os.devnull) as stream:
        stream.write(b"x")
    assert not Path(os.devnull).is_file()


def test_a_link_is_replaced_and_its_target_kept(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    for name in ("link", "dangling"):
        with open_output(str(tmp_path / name)) as stream:
            stream.write(b"new")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "real").read_bytes() == b"old"
    assert not (tmp_path / "absent").exists()


def test_a_fifo_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    read = subprocess.Popen(["cat", tmp_path / "fifo"], stdout=subprocess.PIPE)
    with open_output(str(tmp_path / "fifo")) as stream:
        stream.write(b"through")
    assert read.communicate()[0] == b"through"


def test_dev_stdout_is_written_to_where_it_is_a_file(tmp_path):
    script = "from sv_cli.tables.text import write_table; write_table('/dev/stdout', {'a': 'b'})"
    with (tmp_path / "out").open("wb") as stream:
        subprocess.run([sys.executable, "-c", script], stdout=stream, check=True)
    assert (tmp_path / "out").read_text() == "a b\n"
    assert Path("/dev/stdout").is_symlink()


@pytest.mark.parametrize("write", [atomic_open, atomic_path])
def test_devices_are_never_replaced(write, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    if write is atomic_path:
        with pytest.raises(SvError, match="not a regular file"), atomic_path(fifo):
            pass
    else:
        with ThreadPoolExecutor() as pool:
            text = pool.submit(fifo.read_text)
            with atomic_open(fifo) as stream:
                stream.write("a")
            assert text.result() == "a"
    assert fifo.is_fifo() and [path.name for path in tmp_path.iterdir()] == ["fifo"]


def test_nothing_appears_when_writing_fails(tmp_path):
    with pytest.raises(RuntimeError), open_output(str(tmp_path / "x")) as stream:
        stream.write(b"half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["ark:cat x |", "cat x |", "scp:cat x |"])
def test_pipes_can_be_refused(text, monkeypatch):
    monkeypatch.setenv("SVTOOL_NO_PIPES", "1")
    with pytest.raises(TableError, match="pipes are refused"):
        parse_rspecifier(text)
    with pytest.raises(TableError, match="pipes are refused"):
        parse_wspecifier("ark:| cat")
    with pytest.raises(TableError, match="pipes are refused"), open_input("echo |"):
        pass


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TableError, match="no such file"), open_input(str(tmp_path / "x")):
        pass
