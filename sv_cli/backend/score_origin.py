"""Where a table of scores, statistics or qualities comes from: `.NAME.origin.json` beside it.

A text table has no place for the hash of the embedding model that it was made with. A table in a
file gets a small record beside it, under a name that `scores/*` does not match; what goes through
a pipe has none, and its model is unknown.
"""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from sv_cli import logs
from sv_cli.atomic import atomic_open
from sv_cli.errors import TableError
from sv_cli.tables.embeddings import EmbeddingTable

SUFFIX = ".origin.json"


@dataclass(frozen=True)
class Origin:
    """What made a table; None for what is not known.

    Attributes
    ----------
    model_hash : str or None
        Hash of the embedding model; of several (a fusion), the hash of their hashes.
    made_by : str or None
        Command that wrote the table: score, asnorm, plda, qmf, calibrate, fuse.
    """

    model_hash: str | None = None
    made_by: str | None = None


UNKNOWN = Origin()


def origin_path(table: str) -> Path:
    """Return where the record of a table stands."""
    path = Path(table)
    return path.with_name(f".{path.name}{SUFFIX}")


def write_origin(table: str, origin: Origin) -> None:
    """Write the record of a table that has just been written; pipes get none."""
    if not Path(table).is_file():
        return
    record = {**asdict(origin), "num_bytes": Path(table).stat().st_size}
    with atomic_open(origin_path(table)) as stream:
        stream.write(json.dumps(record, indent=1) + "\n")


def read_origin(table: str) -> Origin:
    """Return the origin of a table; nothing is known of a pipe or of a table without a record.

    A record is that of a table of its size: one that was left behind when something else wrote
    over the table counts for nothing, and that is said.

    Raises
    ------
    TableError
        When the record is damaged.
    """
    if not Path(table).is_file() or not origin_path(table).is_file():
        return UNKNOWN
    path = origin_path(table)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = Origin(record["model_hash"], record["made_by"])
        num_bytes = record["num_bytes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(
            f"`{path}` is no record of a table", hint="remove it, or write the table again"
        ) from error
    if num_bytes != Path(table).stat().st_size:
        logs.warn(f"`{path}` belongs to an earlier `{table}`: the model is taken for unknown")
        return UNKNOWN
    return found


def embedding_hash(table: EmbeddingTable) -> str | None:
    """Return the hash of the model of a table of embeddings, where it tells it."""
    return None if table.info is None else table.info.model_hash


def common_hash(*known: tuple[str, str | None]) -> str | None:
    """Return the one model hash of several (table, hash); None when none is known.

    Raises
    ------
    TableError
        When two tables come from different models.
    """
    first: tuple[str, str] | None = None
    for source, model_hash in known:
        if model_hash is None:
            continue
        if first is not None and first[1] != model_hash:
            raise TableError(
                f"`{first[0]}` and `{source}` come from different models: {first[1][:12]} and "
                f"{model_hash[:12]}",
                hint="make both with the embeddings of one model",
            )
        first = first or (source, model_hash)
    return None if first is None else first[1]


def fused_hash(hashes: list[str | None]) -> str | None:
    """Return one hash for the models of several systems; None unless all are known."""
    known = [each for each in hashes if each is not None]
    if len(known) != len(hashes):
        return None
    return known[0] if len(known) == 1 else sha256(" ".join(known).encode()).hexdigest()
