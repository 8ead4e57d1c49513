"""A small world of embeddings for the tests of the scoring commands."""

from pathlib import Path

import numpy as np
from typer.testing import CliRunner

from sv_cli.cli import app
from sv_cli.tables.embeddings import EmbeddingTable, ModelInfo, write_embeddings
from sv_cli.tables.lineage import record_path

DIM, NUM_SPEAKERS, NUM_UTTS = 6, 12, 5


def run(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(word) for word in arguments], input=stdin)


def message(result):
    """The error of a command that failed, without traceback."""
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.stderr


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def read_score_file(path):
    rows = [line.split() for line in Path(path).read_text().splitlines()]
    return {(row[0], row[1]): float(row[2]) for row in rows}


def largest_difference(path, reference):
    """Largest difference of two score files that list the same pairs in the same order."""
    ours, theirs = read_score_file(path), read_score_file(reference)
    assert list(ours) == list(theirs)
    return max(abs(ours[pair] - theirs[pair]) for pair in ours)


class World:
    """Utterances of some speakers on disk, with trials, spk2utt, a cohort."""

    def __init__(self, folder: Path) -> None:
        generator = np.random.default_rng(11)
        self.folder = folder
        self.speakers = [f"s{row:02d}" for row in range(NUM_SPEAKERS)]
        self.utts = [f"{spk}-{utt}" for spk in self.speakers for utt in range(NUM_UTTS)]
        centres = np.repeat(generator.standard_normal((NUM_SPEAKERS, DIM)), NUM_UTTS, axis=0)
        noise = 0.4 * generator.standard_normal((len(self.utts), DIM))
        self.matrix = (centres + noise + 1.0).astype(np.float32)
        self.index = {utt: row for row, utt in enumerate(self.utts)}
        self.write("emb", self.utts, self.matrix)
        self.cohort_ids = [f"c{row}" for row in range(8)]
        self.cohort = generator.standard_normal((8, DIM)).astype(np.float32)
        self.write("cohort", self.cohort_ids, self.cohort)
        self.trials = [(a, b) for a in self.utts[:20:3] for b in self.utts[1::7]]
        self.text("trials", [f"{a} {b} {self.label(a, b)}" for a, b in self.trials])
        self.spk2utt = {spk: [u for u in self.utts if u.startswith(spk)] for spk in self.speakers}
        self.text("spk2utt", [f"{spk} {' '.join(utts)}" for spk, utts in self.spk2utt.items()])

    def label(self, enroll, test):
        return "target" if enroll[:3] == test[:3] else "nontarget"

    def write(self, name, ids, matrix, model="m"):
        info = ModelInfo(model, matrix.shape[1], 16000, "wespeaker", "ecapa")
        write_embeddings(str(self.folder / name), EmbeddingTable(ids, matrix, info))

    def text(self, name, lines):
        path = self.folder / name
        record_path(path).unlink(missing_ok=True)  # it is no longer what a command wrote
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def __truediv__(self, name):
        return self.folder / name

    def cosine(self, mean=0.0):
        rows = unit(self.matrix.astype(np.float64) - mean)
        return {(a, b): rows[self.index[a]] @ rows[self.index[b]] for a, b in self.trials}
