"""Places for requests in flight."""

import pytest

from app.errors import Overloaded
from app.web.places import Places


def test_request_beyond_the_places_is_refused() -> None:
    """Until one of the others has ended, however it ended."""
    places = Places(2)
    with places:
        with places, pytest.raises(Overloaded), places:
            pass
        with pytest.raises(LookupError), places:
            raise LookupError
        with places:
            pass


def test_number_in_flight_is_observed() -> None:
    """A refused request is not among them."""
    seen: list[int] = []
    places = Places(1, seen.append)
    with places, pytest.raises(Overloaded), places:
        pass
    assert seen == [1, 0]
