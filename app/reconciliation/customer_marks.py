"""What a customer's metadata at Stripe says about its user.

| name                 | value                                                                |
| -------------------- | -------------------------------------------------------------------- |
| `coord_installation` | the id of the installation that the customer belongs to              |
| `coord_user`         | `user_hash` in hexadecimal; in customers of version 1.0, a row's id  |
| `coord_attempt`      | the attempt that created or changed the customer last                |
| `coord_request`      | the request that began that attempt                                  |
| `coord_started`      | when that attempt began, in seconds since the epoch                  |

After a backup was restored, the ids of rows are given to other users. So a row's id proves nothing
by itself: it is trusted only if the row with that id holds this very customer.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from app.stripe_account.account import Customer

INSTALLATION = "coord_installation"
USER = "coord_user"
ATTEMPT = "coord_attempt"
STARTED = "coord_started"

HASH = re.compile("[0-9a-f]{64}")
# At most 18 digits, so that the number fits a BIGINT.
ROW_ID = re.compile("[0-9]{1,18}")
# At most 12 digits: seconds until the year 33658.
SECONDS = re.compile("[0-9]{1,12}")


@dataclass(frozen=True)
class Marks:
    """The metadata of one customer, as far as it has the form that this service writes.

    Attributes:
        row_id: the row that it names in place of the user.
        acknowledged: when that attempt began, or else when the customer was created, in seconds
            since the epoch: of two customers of one user, the later one was acknowledged last.
    """

    installation: str | None
    user_hash: bytes | None
    row_id: int | None
    attempt: str | None
    acknowledged: int

    @classmethod
    def of(cls, customer: Customer) -> "Marks":
        """Read the marks of a customer."""
        metadata = customer.metadata
        user = metadata.get(USER, "")
        started = metadata.get(STARTED, "")
        return cls(
            installation=metadata.get(INSTALLATION) or None,
            user_hash=bytes.fromhex(user) if HASH.fullmatch(user) else None,
            row_id=int(user) if ROW_ID.fullmatch(user) else None,
            attempt=metadata.get(ATTEMPT) or None,
            acknowledged=int(started) if SECONDS.fullmatch(started) else customer.created,
        )


def marks_of_user(installation: str, user_hash: bytes) -> Mapping[str, str]:
    """Return the metadata that names a customer's user."""
    return {INSTALLATION: installation, USER: user_hash.hex()}
