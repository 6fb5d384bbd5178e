"""Items worked at side by side, their results taken in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew(Protocol):
    """Who works at items: threads here, or a cluster's workers.

    Attributes
    ----------
    threads_each : int
        Threads that an item has which is too large for one.
    """

    @property
    def threads_each(self) -> int:
        """Threads that an item has which is too large for one."""
        ...

    def in_order(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        size_of: Callable[[Item], int],
        most: int,
    ) -> Generator[Result, None, None]:
        """``work`` of each item, in the order of the items, as :func:`in_order`."""
        ...


@dataclass(frozen=True, slots=True)
class Threads:
    """So many threads of this process, as a crew."""

    count: int

    @property
    def threads_each(self) -> int:
        """All: such items are worked at one by one."""
        return self.count

    def in_order(
        self,
        work: Callable[[Item], Result],
        items: Iterable[Item],
        size_of: Callable[[Item], int],
        most: int,
    ) -> Generator[Result, None, None]:
        """:func:`in_order`, by those threads."""
        return in_order(work, items, self.count, size_of, most)


def in_order(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    threads: int,
    size_of: Callable[[Item], int],
    most: int,
) -> Generator[Result, None, None]:
    """``work`` of each item, in the order of the items.

    Up to ``threads`` of them are under way while the caller does something with the last result:
    only the next few, and as many as ``most`` allows, or one. The first error, in the order of the
    items, is raised once those under way are done, and nothing more begins.

    Parameters
    ----------
    work : callable
        One that sets the interpreter's lock free most of the time.
    items : iterable
    threads : int
    size_of : callable
    most : int
        What the sizes of the items under way may add up to.
    """
    if threads == 1:
        yield from map(work, items)
        return
    rest = deque(items)
    waiting: deque[tuple[int, Future[Result]]] = deque()

    def begin_more() -> None:
        while rest and len(waiting) < threads:
            size = size_of(rest[0])
            if waiting and size + sum(taken for taken, _ in waiting) > most:
                return
            waiting.append((size, pool.submit(work, rest.popleft())))

    with ThreadPoolExecutor(threads, thread_name_prefix="nmflow") as pool:
        begin_more()
        while waiting:
            _, first = waiting.popleft()
            first.result()
            begin_more()
            yield first.result()
            # Results may be large: none is held while the next one is waited for.
            del first
