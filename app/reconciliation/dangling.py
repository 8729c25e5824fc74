"""Reports users whose customer does not live at Stripe."""

from collections.abc import Callable, Collection, Iterator

from app.reconciliation.finding import Finding, names
from app.reconciliation.ownership import Owner, Ownership
from app.reconciliation.paced_account import PacedAccount, side_by_side
from app.stripe_account.account import CustomerGone, CustomerUnknown


def dangling(
    ownership: Ownership,
    account: PacedAccount,
    living: Collection[str],
    progress: Callable[[str], None],
) -> Iterator[Finding]:
    """Read the customers that were not on Stripe's list, and yield those that do not live.

    Raises:
        Misconfigured, OutcomeUnknown: Stripe does not answer.
        StorageUnavailable: the database cannot be used.
    """

    def look(owner: Owner) -> Finding | None:
        assert owner.customer_id is not None
        what = names(owner.id, owner.customer_id)
        try:
            account.retrieve(owner.customer_id)
        except CustomerGone:
            return Finding("dangling", what, "replaced at the user's next update", False)
        except CustomerUnknown:
            return Finding("dangling", what, "not known to this account: check the key", True)
        return None

    seen = 0
    for page in ownership.pages():
        missing = [
            owner
            for owner in page
            if owner.customer_id is not None and owner.customer_id not in living
        ]
        yield from (found for found in side_by_side(look, missing) if found is not None)
        seen += len(page)
        progress(f"{seen} users compared")
