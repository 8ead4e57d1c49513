"""Signs of life: each process says that it is there, so that one that is lost can be named."""

import threading
import time
from typing import Any

INTERVAL_SECONDS = 1.0


class Heartbeat:
    """Counts upwards in a store that all processes see, from a thread of its own.

    A process that is killed, whose machine is gone or that was suspended stops counting; one that
    only waits goes on.

    Parameters
    ----------
    store : torch.distributed.Store
        A connection that nobody else uses.
    rank, size : int
        Number of this process and of all.
    """

    def __init__(self, store: Any, *, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store, rank, size
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to count."""
        self._thread.start()

    def stop(self) -> None:
        """Stop counting."""
        self._over.set()
        self._thread.join(2 * INTERVAL_SECONDS)

    def find_silent(self) -> list[int]:
        """Return the processes that do not count any more, after listening for a while.

        The store itself is gone with the machine of process 0, which is named then.
        """
        try:
            before = self._counts()
            time.sleep(3 * INTERVAL_SECONDS)
            after = self._counts()
        except RuntimeError:
            return [0]
        others = (rank for rank in range(self._size) if rank != self._rank)
        return [rank for rank in others if before[rank] == after[rank]]

    def _beat(self) -> None:
        number = 0
        while not self._over.is_set():
            number += 1
            try:
                self._store.set(_key(self._rank), str(number))
            except RuntimeError:
                return  # the machine of the store is gone, which ends the run anyway
            self._over.wait(INTERVAL_SECONDS)

    def _counts(self) -> dict[int, bytes]:
        keys = {rank: _key(rank) for rank in range(self._size)}
        return {
            rank: self._store.get(key) if self._store.check([key]) else b""
            for rank, key in keys.items()
        }


def _key(rank: int) -> str:
    return f"svtool/alive/{rank}"
