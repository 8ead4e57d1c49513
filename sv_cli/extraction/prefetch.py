"""Reading ahead in threads, so that the network never waits for the disk."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    read: Callable[[Item], Result], items: Iterable[Item], *, num_readers: int, ahead: int = 16
) -> Iterator[Result]:
    """Yield read(item) in the order of `items`, with up to `ahead` of them read beforehand.

    `read` hands errors back as results; what it raises ends the iteration.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(num_readers, thread_name_prefix="reader") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(read, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
