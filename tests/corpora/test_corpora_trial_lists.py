"""Published lists: recognised, fetched, checked, repeated pairs written once."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_corpora import write
from hypothesis import given
from hypothesis import strategies as st

from sv_cli.corpora.archives import check_archives
from sv_cli.corpora.corpus import Job
from sv_cli.corpora.fetch import fetch
from sv_cli.corpora.listing import Listed
from sv_cli.corpora.trial_lists import (
    ListOptions,
    PublishedList,
    find_lists,
    read_published,
    utterance_names,
    write_trial_list,
)
from sv_cli.corpora.voxceleb1 import LISTS
from sv_cli.errors import SvError, TableError
from sv_cli.tables.pairs.trials import read_trials

PAIRS = ["1 id1/v/1.wav id1/w/2.wav", "0 id1/v/1.wav id2/v/3.wav", "0 id2/v/3.wav id1/w/2.wav"]


def names() -> dict[str, Listed]:
    published = ["id1/v/1.wav", "id1/w/2.wav", "id2/v/3.wav"]
    items = [Listed(p.replace("/", "-")[:-4], p[:3], Path(p)) for p in published]
    return utterance_names(items, published)


def convert(tmp_path: Path, lines: list[str], **options: object) -> int:
    source = write(tmp_path / "list.txt", lines)
    return write_trial_list(source, tmp_path / "trials", names(), ListOptions(**options))


@pytest.mark.parametrize(
    "lines",
    [
        PAIRS,
        [f"{b} {c} {a}" for a, b, c in map(str.split, PAIRS)],
        [f"{b} {c} {'target' if a == '1' else 'nontarget'}" for a, b, c in map(str.split, PAIRS)],
    ],
    ids=["label first", "label last", "words"],
)
def test_every_format_comes_out_as_kaldis(tmp_path: Path, lines: list[str]) -> None:
    assert convert(tmp_path, lines) == 0
    assert (tmp_path / "trials").read_text() == (
        "id1-v-1 id1-w-2 target\nid1-v-1 id2-v-3 nontarget\nid2-v-3 id1-w-2 nontarget\n"
    )


UTTS = [f"id{spk}/v{video}/{n}.wav" for spk in (1, 2, 3) for video in (1, 2) for n in (1, 2)]
LINE = {
    "label first": "{label} {enroll} {test}",
    "label last": "{enroll} {test} {label}",
    "words": "{enroll} {test} {word}",
}


@given(
    pairs=st.lists(
        st.tuples(st.sampled_from(UTTS), st.sampled_from(UTTS)), unique=True, min_size=1
    ),
    form=st.sampled_from(sorted(LINE)),
    blank=st.sampled_from([" ", "\t", "  "]),
)
def test_any_list_keeps_its_pairs_labels_and_order(
    pairs: list[tuple[str, str]], form: str, blank: str
) -> None:
    items = [Listed(utt[:-4].replace("/", "-"), utt[:3], Path(utt)) for utt in UTTS]
    lines, expected = [], []
    for enroll, test in pairs:
        same = enroll[:3] == test[:3]
        word = "target" if same else "nontarget"
        line = LINE[form].format(label=int(same), word=word, enroll=enroll, test=test)
        lines.append(line.replace(" ", blank))
        ours = [name[:-4].replace("/", "-") for name in (enroll, test)]
        expected.append(" ".join([*ours, word]))
    with TemporaryDirectory() as folder:
        source, target = write(Path(folder) / "list", lines), Path(folder) / "trials"
        write_trial_list(source, target, utterance_names(items, UTTS), ListOptions())
        assert target.read_text().splitlines() == expected


def test_repeated_pairs_are_written_once(tmp_path: Path, capsys) -> None:
    convert(tmp_path, [*PAIRS, PAIRS[1], PAIRS[1]])
    assert len((tmp_path / "trials").read_text().splitlines()) == 3
    assert "repeats 2 of its trials" in capsys.readouterr().err
    assert len(read_trials(str(tmp_path / "trials"))) == 3


def test_a_pair_with_both_labels_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="1 pairs are target and nontarget"):
        convert(tmp_path, [*PAIRS, "0 id1/v/1.wav id1/w/2.wav"])


def test_labels_against_the_speakers_are_counted(tmp_path: Path, capsys) -> None:
    convert(tmp_path, [*PAIRS[:2], "1 id2/v/3.wav id1/w/2.wav"])
    assert "1 labels of trials do not agree with the speakers" in capsys.readouterr().err


def test_nothing_is_written_where_no_trial_is_left(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="2 recordings of 1 trials are not there"):
        convert(tmp_path, ["1 id8/v/1.wav id8/w/1.wav"], allow_missing=True)
    assert not (tmp_path / "trials").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([*PAIRS, "1 id1/v/1.wav"], r"list\.txt:4`"),
        ([*PAIRS, "x id1/v/1.wav id2/v/3.wav"], r"list\.txt:4`: label `x`"),
        (["a b"], "no labels"),
        ([], "is empty"),
    ],
)
def test_malformed_lists_name_their_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(TableError, match=message):
        convert(tmp_path, lines)


@pytest.mark.parametrize(
    ("file", "count", "targets", "said"),
    [
        ("veri_test.txt", 37720, 18860, "is VoxCeleb1-O (original) by its hash"),
        ("veri_test2.txt", 37611, 18802, "is VoxCeleb1-O (cleaned) by its hash"),
    ],
)
def test_the_real_lists_are_recognised(
    shared: Path, tmp_path: Path, capsys, file: str, count: int, targets: int, said: str
) -> None:
    source = shared / "data/lists" / file
    trials = read_published(source)
    assert (len(trials), int(trials.target.sum())) == (count, targets)
    item = next(item for item in LISTS if item.file == file)
    assert hashlib.md5(source.read_bytes(), usedforsecurity=False).hexdigest() == item.md5
    published = sorted({*trials.enroll_ids, *trials.test_ids})
    items = [Listed(p[:-4].replace("/", "-"), p[:7], Path(p)) for p in published]
    out, options = tmp_path / "trials", ListOptions()
    table = utterance_names(items, published)
    assert write_trial_list(source, out, table, options, known_as=item.known_as) == 0
    assert said in capsys.readouterr().err
    ours = read_trials(str(out), labels="required")
    assert (len(ours), int(ours.target.sum())) == (count, targets)
    assert len({*ours.enroll_ids, *ours.test_ids}) == len(published)


def test_the_list_of_voxsrc_is_read(shared: Path) -> None:
    trials = read_published(shared / "data/lists/voxsrc2021_val_trials.head.txt")
    assert (len(trials), int(trials.target.sum())) == (3000, 1509)


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve a folder with one list."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    write(tmp_path / "served" / "list.txt", PAIRS)

    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "served"))

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_list_is_fetched_once_and_checked(tmp_path: Path, address: str) -> None:
    (tmp_path / "corpus").mkdir()
    content = (tmp_path / "served/list.txt").read_bytes()
    good = hashlib.md5(content, usedforsecurity=False).hexdigest()
    item = PublishedList("list.txt", address=address, md5=good)
    job = Job(tmp_path / "corpus", tmp_path / "out")
    assert find_lists([item], job, ListOptions()) == {}
    found = find_lists([item], job, ListOptions(fetch=True))
    assert found == {item: tmp_path / "out/lists/list.txt"}
    assert found[item].read_bytes() == content
    (tmp_path / "served/list.txt").unlink()
    assert find_lists([item], job, ListOptions(fetch=True)) == found


def test_another_sum_or_no_network_leaves_nothing(tmp_path: Path, address: str) -> None:
    target = tmp_path / "out/list.txt"
    with pytest.raises(SvError, match="has the MD5 sum") as caught:
        fetch(f"{address}list.txt", target, md5="0" * 32)
    assert f"bring `list.txt` from {address}list.txt" in str(caught.value.hint)
    with pytest.raises(SvError, match=r"cannot fetch .*: (Not Found|File not found)"):
        fetch(f"{address}other.txt", target)
    with pytest.raises(SvError, match="cannot fetch"):
        fetch("http://127.0.0.1:9/list.txt", target)
    assert not target.exists()


def test_archives_are_held_against_their_sums(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"abc")
    sums = {"a.zip": "900150983cd24fb0d6963f7d28e17f72", "b.zip": "0" * 32}
    assert check_archives("", sums) == 0
    assert check_archives(str(tmp_path), sums, 2) == 1
    (tmp_path / "b.zip").write_bytes(b"abc")
    with pytest.raises(SvError, match=r"damaged or another version by the MD5 sum: `b\.zip`"):
        check_archives(str(tmp_path), sums)
    with pytest.raises(SvError, match=r"none of the archives `c\.zip`"):
        check_archives(str(tmp_path), {"c.zip": ""})
