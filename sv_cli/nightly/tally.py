"""What a run of a job did, counted."""

from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of a run, as in its summary."""

    found: int = 0
    done_before: int = 0
    scored: int = 0
    rows: int = 0
    waiting: int = 0
    not_in_trials: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    given_up: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
