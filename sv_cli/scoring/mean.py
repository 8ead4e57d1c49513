"""Means of embeddings, from tables to tables."""

from dataclasses import dataclass

import numpy as np

from sv_cli.backend.center import mean_vector, normalize_length
from sv_cli.backend.speakers import Groups, group_means, group_rows
from sv_cli.errors import SettingsError
from sv_cli.tables.embeddings import EmbeddingTable, read_embeddings, write_embeddings
from sv_cli.tables.kaldi.arrays import write_array
from sv_cli.tables.lineage import Lineage, Step, describe_inputs, write_lineage
from sv_cli.tables.text import read_spk2utt, write_table


@dataclass(frozen=True)
class MeanFiles:
    """Where embeddings come from and their means go to; None for what is not wanted."""

    spk2utt: str
    embeddings: str
    out: str
    num_utts: str | None = None
    global_mean: str | None = None


def write_means(
    files: MeanFiles, *, length_norm: bool = False, allow_missing: bool = False
) -> Groups:
    """Average embeddings by speaker and write the means, in the order of the table of speakers."""
    table = read_embeddings(files.embeddings)
    groups = group_rows(read_spk2utt(files.spk2utt), table.index, allow_missing=allow_missing)
    if files.global_mean is not None:
        write_array(files.global_mean, mean_vector(table.matrix).astype(np.float32))
        inputs = describe_inputs(embeddings=files.embeddings)
        mean = Lineage("mean", table.lineage.model, (Step("mean --global-mean"),), inputs)
        write_lineage([files.global_mean], mean)
    if length_norm and table.inner_product:
        raise SettingsError(
            f"`{files.embeddings}` is scored by the inner product, which `--length-norm` would "
            "change",
            hint="leave `--length-norm` out",
        )
    if length_norm:
        normalize_length(table.matrix, table.ids)
    means = group_means(table.matrix, groups.rows)
    inputs = describe_inputs(spk2utt=files.spk2utt, embeddings=files.embeddings)
    step = Step("mean", {"length_norm": length_norm})
    lineage = table.lineage.then("embeddings", step, inputs=inputs)
    write_embeddings(files.out, EmbeddingTable(groups.ids, means, table.info, files.out, lineage))
    if files.num_utts is not None:
        counts = map(str, groups.counts.tolist())
        write_table(files.num_utts, dict(zip(groups.ids, counts, strict=True)))
    return groups
