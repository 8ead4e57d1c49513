"""PLDA preprocessing (mean subtraction, LDA, length normalisation) and the files that store it.

`plda` is the model as Kaldi writes it; `plda.json` names the parts of its preprocessing, and
`plda.mean.vec` and `plda.lda.mat` are Kaldi's own files. Scoring applies them, so that all
embeddings get the preprocessing of the training.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.atomic import atomic_open, is_plain_file
from sv_cli.backend.center import normalize_length, subtract_mean
from sv_cli.backend.lda import apply_affine
from sv_cli.errors import TableError
from sv_cli.tables.kaldi.arrays import read_array, write_array
from sv_cli.tables.lineage import Fingerprint, Lineage, embed, read_embedded

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Front:
    """Steps between an embedding and the PLDA; each may be left out.

    Attributes
    ----------
    mean : (embedding_dim,) float64 or None
    transform : (plda_dim, embedding_dim) or (plda_dim, embedding_dim + 1) float64 or None
        LDA or whitening.
    length_norm : bool
        Scale to sqrt(plda_dim) at the end.
    """

    mean: Matrix | None = None
    transform: Matrix | None = None
    length_norm: bool = False

    def apply(self, matrix: NDArray[np.float32], ids: Sequence[str]) -> NDArray[np.float32]:
        """Take embeddings to the PLDA; `matrix` may be changed in place."""
        if self.mean is not None:
            matrix = subtract_mean(matrix, self.mean)
        if self.transform is not None:
            matrix = apply_affine(self.transform, matrix)
        if self.length_norm:
            matrix = normalize_length(matrix, ids, scaleup=True)
        return matrix

    def steps(self) -> str:
        """Name the steps in words, for messages."""
        names = []
        if self.mean is not None:
            names.append("mean")
        if self.transform is not None:
            names.append(f"transform to {len(self.transform)} dimensions")
        if self.length_norm:
            names.append("length norm")
        return ", ".join(names) or "nothing"


def front_paths(plda: str | Path) -> dict[str, Path]:
    """Return the files next to a model: `mean`, `transform` and the `json` that names them."""
    base = str(plda)
    ends = {"mean": ".mean.vec", "transform": ".lda.mat", "json": ".json"}
    return {name: Path(base + end) for name, end in ends.items()}


def model_files(plda: str | Path) -> list[Path]:
    """Return all files of a model: its own and those of its preprocessing."""
    return [Path(plda), *front_paths(plda).values()]


def write_front(plda: str | Path, front: Front, lineage: Lineage) -> None:
    """Write the preprocessing of a model that has just been written, the json last.

    The json also holds the lineage, and the content of the model, so that a copy without it or a
    replaced model is noticed. Files of an older model are removed. A device gets none of them.
    """
    if not is_plain_file(plda):
        return
    paths = front_paths(plda)
    for path in (paths["json"], paths["mean"], paths["transform"]):
        path.unlink(missing_ok=True)
    record: dict[str, Any] = {
        "length_norm": front.length_norm,
        "lineage": embed(lineage),
        "plda": Fingerprint.of(plda).sha256,
    }
    for name, array in (("mean", front.mean), ("transform", front.transform)):
        record[name] = None if array is None else paths[name].name
        if array is not None:
            write_array(str(paths[name]), array)
            record[f"{name}_sha256"] = Fingerprint.of(paths[name]).sha256
    with atomic_open(paths["json"]) as stream:
        stream.write(json.dumps(record, indent=2, sort_keys=True) + "\n")


def read_front(plda: str | Path) -> tuple[Front, Lineage] | None:
    """Return the preprocessing of a model, and the lineage of its training embeddings.

    Returns None where there is no json, as next to a model that Kaldi wrote; that is reported.

    Raises
    ------
    TableError
        When the json is damaged, a file that it names is missing, or one of the files is not the
        one that was written with it.
    """
    paths = front_paths(plda)
    path = paths["json"]
    if not path.exists():
        left = [str(paths[name]) for name in ("mean", "transform") if paths[name].exists()]
        if left:
            raise TableError(
                f"`{left[0]}` exists, but `{path}`, which names the preprocessing, does not",
                hint="copy all files of the model, or score with `--no-front`",
            )
        logs.warn(f"`{plda}` has no `{path}`: no preprocessing is applied, its model is unknown")
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        names = {name: record[name] for name in ("mean", "transform")}
        length_norm = bool(record["length_norm"])
        expected = {Path(plda): record["plda"]}
        for name, file in names.items():
            if file is not None:
                expected[path.parent / file] = record[f"{name}_sha256"]
        lineage = read_embedded(record["lineage"], str(plda))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(
            f"`{path}` does not describe the preprocessing of a PLDA",
            hint="train the PLDA again, or score with `--no-front`",
        ) from error
    for file, sha256 in expected.items():
        if file.is_file() and Fingerprint.of(file).sha256 != sha256:
            raise TableError(
                f"`{file}` is not the file that `{path}` describes",
                hint="train the PLDA again, or score with `--no-front`",
            )
    parts = {
        name: None if file is None else read_array(str(path.parent / file)).astype(np.float64)
        for name, file in names.items()
    }
    return Front(parts["mean"], parts["transform"], length_norm), lineage
