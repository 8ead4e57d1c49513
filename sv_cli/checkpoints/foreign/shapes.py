"""What keys and shapes show of a network: depths, channels, pooling, features a frame.

A recogniser says which registered networks may be meant (`names`), what does not follow from the
name (`choices`) and all sizes (`sizes`), which are used when no registered network fits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from sv_cli.errors import CheckpointError
from sv_cli.features.settings import FrontendSettings


class Shapes(Mapping[str, tuple[int, ...]]):
    """Key -> shape; a key that its family must have and that is not there is a clear error."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], *, what: str) -> None:
        self._shapes = shapes
        self.what = what

    def __getitem__(self, key: str) -> tuple[int, ...]:
        if key not in self._shapes:
            raise CheckpointError(f"{self.what}: a part of a network only, has no `{key}`")
        return self._shapes[key]

    def __contains__(self, key: object) -> bool:
        return key in self._shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)

    def select(self, wanted: Callable[[str], bool]) -> "Shapes":
        """Return the shapes whose keys are wanted."""
        return Shapes({key: self[key] for key in self if wanted(key)}, what=self.what)

    def rename(self, ours: Callable[[str], str]) -> "Shapes":
        """Return the shapes under other keys."""
        return Shapes({ours(key): shape for key, shape in self.items()}, what=self.what)

    def has(self, part: str) -> bool:
        """Return whether some key has `part` in it."""
        return any(part in key for key in self._shapes)

    def rows(self, key: str) -> int:
        """Return the outputs of a layer."""
        return self._axis(key, 0)

    def columns(self, key: str) -> int:
        """Return the inputs of a layer."""
        return self._axis(key, 1)

    def depth(self, prefix: str) -> int:
        """Return how many numbered parts `prefix.0`, `prefix.1`, ... there are."""
        start = prefix + "."
        numbers = {key[len(start) :].split(".", 1)[0] for key in self if key.startswith(start)}
        return sum(number.isdigit() for number in numbers)

    def depths(self, prefix: str, numbers: range) -> tuple[int, ...]:
        """Return the depths of `prefix1`, `prefix2`, ..."""
        return tuple(self.depth(f"{prefix}{number}") for number in numbers)

    def divide(self, total: int, parts: int, *, key: str) -> int:
        """Return `total / parts`, which must be whole, as the shape of `key` says."""
        if parts <= 0 or total % parts or total <= 0:
            raise CheckpointError(
                f"{self.what}: `{key}` {self[key]} does not fit the layers before it"
            )
        return total // parts

    def _axis(self, key: str, axis: int) -> int:
        shape = self[key]
        if len(shape) <= axis:
            raise CheckpointError(f"{self.what}: `{key}` has the shape {shape}")
        return shape[axis]


@dataclass(frozen=True)
class Layout:
    """A network as read from its keys and shapes.

    Attributes
    ----------
    names : tuple of str
        Registered networks that it may be; the first is taken when none fits.
    choices : dict
        Settings that do not follow from the name, `feat_dim` and `embedding_dim` among them.
    sizes : dict
        All other settings, for a network of no registered size.
    rename : callable
        The project's key -> ours.
    notes : tuple of str
        What was taken for granted.
    frontend : str or None
        Name of the front-end where it is not the project's.
    settings : FrontendSettings or None
        The front-end that the file itself describes.
    backend : Layout or None
        Network after a learned front-end; its renamed weights are those of `head.network`.
    """

    names: tuple[str, ...]
    choices: Mapping[str, Any]
    sizes: Mapping[str, Any] = field(default_factory=dict)
    rename: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = dict
    notes: tuple[str, ...] = ()
    frontend: str | None = None
    settings: FrontendSettings | None = None
    backend: "Layout | None" = None


@dataclass(frozen=True)
class Pooled:
    """A pooling and the channels (times bins) under it."""

    name: str
    map_dim: int


def pooling_of(shapes: Shapes, head: str) -> Pooled:
    """Return the pooling of keys `pool.*` in front of the linear layer `head`."""
    values = shapes.columns(head)
    if "pool.n_query.0.heads_att_trans.0.att_0.weight" in shapes:
        queries = shapes.depth("pool.n_query")
        return Pooled("MQMHASTP", shapes.divide(values, 2 * queries, key=head))
    if "pool.heads_att_trans.0.att_0.weight" in shapes:
        return Pooled("MHASTP", shapes.divide(values, 2, key=head))
    if "pool.prior_mean" in shapes:
        return Pooled("XI", shapes.columns("pool.prior_mean"))
    if "pool.linear2.weight" in shapes:
        return Pooled("ASTP", shapes.rows("pool.linear2.weight"))
    return Pooled("TSTP", shapes.divide(values, 2, key=head))


def sees_context(shapes: Shapes) -> bool:
    """Return whether the attention of ASTP sees mean and deviation, too."""
    return shapes.columns("pool.linear1.weight") == 3 * shapes.rows("pool.linear2.weight")
