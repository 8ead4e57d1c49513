"""The PLDA commands from tables to tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sv_cli import logs
from sv_cli.backend.center import mean_vector, subtract_mean
from sv_cli.backend.lda import fit_lda, fit_whitening
from sv_cli.backend.plda import Adaptation, Plda, adapt_plda, collect_stats, fit_plda, smooth_plda
from sv_cli.backend.plda_score import PairScorer, project, score_conversation
from sv_cli.backend.plda_settings import AdaptSettings, LengthNorm, PldaSettings
from sv_cli.backend.speakers import Groups, group_means, group_rows
from sv_cli.errors import SettingsError, TableError, name_some
from sv_cli.scoring.labelled_scores import score_list
from sv_cli.scoring.plda_file import read_plda, write_plda
from sv_cli.scoring.plda_preprocessing import Front, front_paths, read_front, write_front
from sv_cli.scoring.sides import Side, Sides, read_mean
from sv_cli.tables.embeddings import (
    EmbeddingTable,
    read_embedding_pair,
    read_embeddings,
    write_embeddings,
)
from sv_cli.tables.kaldi.arrays import ArrayWriter, read_array, read_scalars, write_array
from sv_cli.tables.lineage import (
    Lineage,
    Step,
    check_same_model,
    content_of,
    describe_inputs,
    hash_bytes,
    read_lineage,
    write_lineage,
)
from sv_cli.tables.text import read_spk2utt

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Training:
    """What a PLDA or an LDA is trained of: file names and specifiers."""

    spk2utt: str
    embeddings: str
    mean: str | None = None
    lda: str | None = None


@dataclass(frozen=True)
class Model:
    """A PLDA file and how it is to be used."""

    plda: str
    mean: str | None = None
    use_front: bool = True
    smoothing: float = 0.0


@dataclass(frozen=True)
class EnrollModels:
    """Enrolment models of several utterances: to be averaged, or averaged already."""

    spk2utt: str | None = None
    num_utts: str | None = None


def train(
    sources: Training, plda: str, settings: PldaSettings, *, text: bool, allow_missing: bool
) -> Groups:
    """Train a PLDA and write it with its preprocessing."""
    table, groups = _read_training(sources, allow_missing=allow_missing)
    reads_lda = sources.lda is not None and settings.lda_dim is None
    given = Given(
        mean=None if sources.mean is None else read_mean(sources.mean, table),
        transform=_read_transform(sources.lda, table) if reads_lda and sources.lda else None,
    )
    model, front = train_plda(table.matrix, table.ids, groups.rows, settings=settings, given=given)
    if sources.lda is not None and front.transform is not None and not reads_lda:
        write_array(sources.lda, front.transform)
        _write_transform_lineage(sources, table)
    write_plda(plda, model, text=text)
    write_front(plda, front, table.lineage)
    logs.info(f"preprocessing of the PLDA: {front.steps()}")
    return groups


def estimate_lda(
    sources: Training, settings: PldaSettings, *, text: bool, allow_missing: bool
) -> Groups:
    """Estimate LDA or whitening and write it to `sources.lda`."""
    table, groups = _read_training(sources, allow_missing=allow_missing)
    given = Given(None if sources.mean is None else read_mean(sources.mean, table))
    front = fit_front(table.matrix, groups.rows, settings, given)
    if front.transform is not None and sources.lda is not None:
        write_array(sources.lda, front.transform, text=text)
        _write_transform_lineage(sources, table)
    return groups


def _write_transform_lineage(sources: Training, table: EmbeddingTable) -> None:
    inputs = describe_inputs(spk2utt=sources.spk2utt, embeddings=sources.embeddings)
    step = Step("plda lda")
    write_lineage([sources.lda], Lineage("transform", table.lineage.model, (step,), inputs))


def _read_training(sources: Training, *, allow_missing: bool) -> tuple[EmbeddingTable, Groups]:
    table = read_embeddings(sources.embeddings)
    spk2utt = read_spk2utt(sources.spk2utt)
    _refuse_shared(spk2utt, sources.spk2utt)
    return table, group_rows(spk2utt, table.index, allow_missing=allow_missing)


def _refuse_shared(spk2utt: Mapping[str, Sequence[str]], source: str) -> None:
    """Raise when an utterance is listed under two speakers."""
    speaker: dict[str, str] = {}
    shared: dict[str, str] = {}
    for spk, utts in spk2utt.items():
        for utt in utts:
            if speaker.setdefault(utt, spk) != spk:
                shared[utt] = f"{utt} of {speaker[utt]} and {spk}"
    if shared:
        raise TableError(
            f"`{source}`: {len(shared)} utterances are listed under two speakers: "
            f"{name_some(list(shared.values()))}"
        )


def _read_transform(source: str, table: EmbeddingTable) -> Matrix:
    check_same_model(table.lineage, read_lineage(source, wanted=None))
    transform = read_array(source)
    if transform.ndim != 2:
        raise TableError(f"`{source}` holds a vector, where a transform is wanted")
    return transform.astype(np.float64)


def transform(files: tuple[str, str, str], *, mean: str | None, length_norm: bool) -> int:
    """Apply a transform, or the front of a PLDA: (transform, embeddings, out)."""
    source, embeddings, out = files
    table = read_embeddings(embeddings)
    if front_paths(source)["json"].exists():
        front = _load_front(Model(source), table)
        front = replace(front, length_norm=front.length_norm or length_norm)
    else:
        front = Front(None, _read_transform(source, table), length_norm)
    if mean is not None:
        front = replace(front, mean=read_mean(mean, table))
    matrix = front.apply(table.matrix, table.ids)
    info = None if table.info is None else replace(table.info, embedding_dim=matrix.shape[1])
    applied = [part for part in (front.mean, front.transform) if part is not None]
    values = {
        "transform": hash_bytes(*(part.astype(np.float32).tobytes() for part in applied)),
        "length_norm": front.length_norm,
    }
    inputs = describe_inputs(transform=source, embeddings=embeddings, mean=mean)
    step = Step("plda transform", values)
    lineage = table.lineage.then("embeddings", step, inputs=inputs)
    write_embeddings(out, EmbeddingTable(table.ids, matrix, info, out, lineage))
    return len(table.ids)


def adapt(model: Model, embeddings: str, out: str, *, settings: AdaptSettings, text: bool) -> int:
    """Adapt a PLDA to unlabelled embeddings; the front goes with it."""
    table = read_embeddings(embeddings)
    front = _load_front(model, table)
    options = Adaptation(
        settings.within_covar_scale, settings.between_covar_scale, settings.mean_diff_scale
    )
    adapted = adapt_plda(read_plda(model.plda), front.apply(table.matrix, table.ids), options)
    write_plda(out, adapted, text=text)
    write_front(out, front, table.lineage)
    return len(table.ids)


def copy(plda: str, out: str, *, smoothing: float, text: bool) -> None:
    """Copy a model, smoothed, with its preprocessing."""
    model = read_plda(plda)
    write_plda(out, smooth_plda(model, smoothing) if smoothing else model, text=text)
    found = read_front(plda)
    if found is not None and Path(out) != Path(plda):
        write_front(out, *found)


def score(
    model: Model,
    files: tuple[str, str, str, str],
    *,
    models: EnrollModels,
    length_norm: LengthNorm,
    allow_missing: bool,
) -> tuple[int, int]:
    """Score trials; `files` are (enroll, test, trials, scores); returns (done, skipped)."""
    enroll, test, trials_file, scores_file = files
    plda = smooth_plda(read_plda(model.plda), model.smoothing)
    sides = _read_sides(model, enroll, test, models=models, allow_missing=allow_missing)
    sides = _project_sides(plda, sides, length_norm)

    scorer = PairScorer(plda, sides.enroll.matrix, sides.test.matrix, num_utts=sides.enroll.counts)
    counts = score_list(trials_file, sides, scorer.score, scores_file, allow_missing=allow_missing)
    step = Step(
        "plda",
        {
            "plda": content_of(model.plda, wanted=None),
            "smoothing": model.smoothing,
            "length_norm": length_norm,
            "front": model.use_front,
        },
    )
    inputs = describe_inputs(plda=model.plda, trials=trials_file, enroll=enroll, test=test)
    write_lineage([scores_file], Lineage("scores", sides.model, (step,), inputs))
    return counts


def _read_sides(
    model: Model, enroll: str, test: str, *, models: EnrollModels, allow_missing: bool
) -> Sides:
    """Return both sides after the preprocessing, enrolment models averaged."""
    left, right = read_embedding_pair(enroll, test)
    front = _load_front(model, left)
    test_side = Side(right.ids, front.apply(right.matrix, right.ids))
    if left is right:
        enroll_side = test_side
    else:
        enroll_side = Side(left.ids, front.apply(left.matrix, left.ids))
    if models.spk2utt is not None:
        spk2utt = read_spk2utt(models.spk2utt)
        groups = group_rows(spk2utt, enroll_side.index, allow_missing=allow_missing)
        means = group_means(enroll_side.matrix, groups.rows)
        enroll_side = Side(groups.ids, means, groups.counts)
    if models.num_utts is not None:
        counts = read_num_utts(models.num_utts, enroll_side.ids)
        enroll_side = Side(enroll_side.ids, enroll_side.matrix, counts)
    return Sides(enroll_side, test_side, tables=(left, right))


def _project_sides(plda: Plda, sides: Sides, length_norm: LengthNorm) -> Sides:
    def projected(side: Side) -> Side:
        matrix = project(plda, side.matrix, side.ids, num_utts=side.counts, length_norm=length_norm)
        return replace(side, matrix=matrix)

    test = projected(sides.test)
    enroll = test if sides.enroll is sides.test else projected(sides.enroll)
    return replace(sides, enroll=enroll, test=test)


def read_num_utts(source: str, ids: Sequence[str]) -> NDArray[np.int64]:
    """Utterances of each enrolment model, in the order of `ids`."""
    table = read_scalars(source)
    missing = [key for key in ids if key not in table]
    if missing:
        raise TableError(
            f"{len(missing)} enrolment models are not in `{source}`: {name_some(missing)}"
        )
    wrong = [key for key in ids if table[key] < 1 or table[key] % 1]
    if wrong:
        raise TableError(f"`{source}`: no number of utterances of {name_some(wrong)}")
    return np.array([table[key] for key in ids], dtype=np.int64)


def score_dense(
    model: Model,
    files: tuple[str, str, str],
    *,
    target_energy: float,
    length_norm: LengthNorm,
) -> int:
    """Score the segments of each recording: `files` are (reco2utt, embeddings, scores)."""
    reco2utt, embeddings, scores = files
    plda, table = read_plda(model.plda), read_embeddings(embeddings)
    front = _load_front(model, table)
    side = Side(table.ids, front.apply(table.matrix, table.ids))
    groups = group_rows(read_spk2utt(reco2utt, what="reco2utt"), side.index)
    with ArrayWriter(scores, wanted="scores") as writer:
        for reco, rows in zip(groups.ids, groups.rows, strict=True):
            ids = [side.ids[row] for row in rows.tolist()]
            found = score_conversation(
                plda, side.matrix[rows], ids, target_energy=target_energy, length_norm=length_norm
            )
            writer.write(reco, found.astype(np.float32))
    return len(groups.ids)


def _load_front(model: Model, table: EmbeddingTable) -> Front:
    """Return the preprocessing of a PLDA; embeddings of a different model are refused."""
    found = read_front(model.plda) if model.use_front else None
    front = Front()
    if found is not None:
        front, lineage = found
        check_same_model(lineage, table.lineage)
        logs.info(
            f"preprocessing of the PLDA, from `{front_paths(model.plda)['json']}`: {front.steps()}"
        )
    if model.mean is not None:
        front = replace(front, mean=read_mean(model.mean, table))
    return front


SpeakerRows = Sequence[NDArray[np.integer]]


@dataclass(frozen=True)
class Given:
    """Parts of the front that were made before; None where they are to be estimated or left out."""

    mean: Matrix | None = None
    transform: Matrix | None = None


def fit_front(
    matrix: NDArray[np.float32], groups: SpeakerRows, settings: PldaSettings, given: Given
) -> Front:
    """Estimate the preprocessing of a PLDA; `matrix` is centred in place.

    Raises
    ------
    SettingsError
        When a transform is both given and asked for.
    """
    wanted = [
        name
        for name, is_wanted in (
            ("--lda-dim", settings.lda_dim is not None),
            ("--whiten", settings.whiten),
            ("a given transform", given.transform is not None),
        )
        if is_wanted
    ]
    if len(wanted) > 1:
        raise SettingsError(f"{' and '.join(wanted)}: a PLDA takes one transform")
    mean = given.mean
    if mean is None and settings.center:
        mean = mean_vector(matrix)
    if mean is not None:
        subtract_mean(matrix, mean)
    transform = given.transform
    if settings.lda_dim is not None:
        factor = settings.total_covariance_factor
        transform = fit_lda(
            matrix, groups, lda_dim=settings.lda_dim, total_covariance_factor=factor
        )
    elif settings.whiten:
        transform = fit_whitening(matrix)
    return Front(mean, transform, settings.length_norm)


def train_plda(
    matrix: NDArray[np.float32],
    ids: Sequence[str],
    groups: SpeakerRows,
    *,
    settings: PldaSettings,
    given: Given,
) -> tuple[Plda, Front]:
    """Estimate the preprocessing, and the PLDA of its output.

    Parameters
    ----------
    matrix : (num_utts, embedding_dim) float32
        Changed in place.
    ids : sequence of str
        The utterance of each row, for messages.
    groups : sequence of (num_utts_of_speaker,) int
        Rows of each speaker.
    """
    front = fit_front(matrix, groups, settings, given)
    centred = Front(None, front.transform, front.length_norm).apply(matrix, ids)
    return fit_plda(collect_stats(centred, groups), num_iters=settings.num_iters), front
