"""Reads the recorded numbers of Kaldi and WeSpeaker for the back-end tests."""

from pathlib import Path

import kaldiio
import numpy as np


class Vectors:
    """Keys, one float32 matrix, and the row of each key."""

    def __init__(self, ids: list[str], matrix: np.ndarray) -> None:
        self.ids, self.matrix = ids, matrix
        self.index = {key: row for row, key in enumerate(ids)}

    def rows(self, ids: list[str]) -> np.ndarray:
        return np.array([self.index[key] for key in ids])


def read_vectors(path: Path) -> Vectors:
    table = dict(kaldiio.load_ark(str(path)))
    return Vectors(list(table), np.stack(list(table.values())).astype(np.float32))


def read_columns(path: Path) -> list[list[str]]:
    """The columns of a text table."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return [list(column) for column in zip(*rows, strict=True)]


def read_groups(path: Path, vectors: Vectors) -> list[np.ndarray]:
    return [vectors.rows(line.split()[1:]) for line in path.read_text().splitlines()]


def read_text_matrix(path: Path) -> np.ndarray:
    text = path.read_text().replace("[", "").replace("]", "")
    return np.array(
        [[float(w) for w in line.split()] for line in text.splitlines() if line.split()]
    )


def align_signs(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Turn each row to the side of the reference row: eigenvectors have no sign."""
    return rows * np.sign((rows * reference).sum(axis=1, keepdims=True))
