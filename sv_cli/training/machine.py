"""What the processes of one machine need once: the first works for all of them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from sv_cli.errors import SvError, TrainingError
from sv_cli.training.distributed import World, gather_objects

Result = TypeVar("Result")
# Between two signs of life of a process that works while the others wait for it.
PULSE_SECONDS = 1.0


@dataclass(frozen=True)
class _Answer:
    """What a process has to say: a result, an error, or that it is still at work."""

    machine: int
    is_over: bool = True
    result: Any = None
    error: SvError | None = None


class Machine:
    """The processes of one machine; all of the world call the same methods in the same order.

    Parameters
    ----------
    world : World
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._last_pulse = time.monotonic()

    def once(self, work: Callable[[Callable[[], None]], Result]) -> Result:
        """Return on all processes of a machine what the first made.

        The others hear of the first at least once a second where `work` calls the `pulse` that it
        is given, so that no time-out ends long work, and a process that dies is noticed.

        Raises
        ------
        SvError
            What the first raised, on all processes of all machines.
        """
        answer, caught = None, None
        if self._world.local_rank == 0:
            try:
                answer = _Answer(self._world.machine, result=work(self._pulse))
            except Exception as error:
                answer, caught = self._failure(error), error
        while True:
            answers = [each for each in gather_objects(answer, self._world) if each is not None]
            if all(each.is_over for each in answers):
                break
        self._raise_any(answers, caught)
        mine = [each for each in answers if each.machine == self._world.machine]
        result: Result = mine[0].result
        return result

    def each(self, work: Callable[[], Result]) -> Result:
        """Return what `work` made here, once it is done everywhere.

        Raises
        ------
        SvError
            What it raised on any process, on all.
        """
        caught: Exception | None = None
        try:
            result = work()
        except Exception as error:
            caught = error
        answer = _Answer(self._world.machine) if caught is None else self._failure(caught)
        self._raise_any(gather_objects(answer, self._world), caught)
        return result

    def _pulse(self) -> None:
        if time.monotonic() - self._last_pulse >= PULSE_SECONDS:
            gather_objects(_Answer(self._world.machine, is_over=False), self._world)
            self._last_pulse = time.monotonic()

    def _failure(self, error: Exception) -> _Answer:
        unexpected = TrainingError(f"process {self._world.rank}: {type(error).__name__}: {error}")
        failure = error if isinstance(error, SvError) else unexpected
        return _Answer(self._world.machine, error=failure)

    def _raise_any(self, answers: list[_Answer], own: Exception | None) -> None:
        if own is not None:
            raise own
        for answer in answers:
            if answer.error is not None:
                raise answer.error
