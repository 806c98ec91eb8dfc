"""Does work for many items at once and yields the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    pool: Executor, items: Iterable[Item], work: Callable[[Item], Result], ahead: int
) -> Iterator[tuple[Item, Result]]:
    """Yield each item with the result of `work`, which runs in the pool.

    At most `ahead` results are under way or wait to be taken. Raises what `work` raises, at the
    place of its item.
    """
    waiting = iter(items)
    under_way: deque[tuple[Item, Future[Result]]] = deque()
    try:
        while True:
            under_way.extend(
                (item, pool.submit(work, item)) for item in islice(waiting, ahead - len(under_way))
            )
            if not under_way:
                return
            item, future = under_way.popleft()
            yield item, future.result()
            del future
    finally:
        for _, future in under_way:
            future.cancel()
