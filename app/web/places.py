"""Admission: how many requests are in flight at once."""

from collections.abc import Callable

from app.errors import Overloaded


class Places:
    """Places for requests in flight; a request holds one while the context manager lasts.

    Args:
        limit: the number of places.
        observe: called with the number of places taken, each time it changes.
    """

    def __init__(self, limit: int, observe: Callable[[int], object] = lambda _: None) -> None:
        self._limit = limit
        self._observe = observe
        self._taken = 0

    def __enter__(self) -> None:
        """Take a place.

        Raises:
            Overloaded: all places are taken.
        """
        if self._taken >= self._limit:
            raise Overloaded
        self._taken += 1
        self._observe(self._taken)

    def __exit__(self, *_: object) -> None:
        self._taken -= 1
        self._observe(self._taken)
