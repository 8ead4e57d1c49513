"""Reading ahead in threads, so that the network never waits for the disk."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_JOIN_SECONDS = 1.0


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], *, num_readers: int, ahead: int = 16
) -> Iterator[Result]:
    """Yield read(item) in the order of `items`, with up to `ahead` of them read beforehand.

    `read` returns errors as results; what it raises ends the iteration. A reader that hangs (a
    FIFO, a network drive) does not keep the process from ending: its thread is a daemon.
    """
    tasks: SimpleQueue[tuple[Future[Result], Item] | None] = SimpleQueue()
    readers = [
        Thread(target=_read_all, args=(read, tasks), name=f"reader-{number}", daemon=True)
        for number in range(num_readers)
    ]
    for reader in readers:
        reader.start()
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(Future())
            tasks.put((waiting[-1], item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for _ in readers:
            tasks.put(None)
        for reader in readers:
            reader.join(_JOIN_SECONDS)


def _read_all(
    read: Callable[[Item], Result], tasks: "SimpleQueue[tuple[Future[Result], Item] | None]"
) -> None:
    while (task := tasks.get()) is not None:
        future, item = task
        if not future.set_running_or_notify_cancel():
            continue
        try:
            future.set_result(read(item))
        except BaseException as error:
            future.set_exception(error)
