"""Run where there is no HOME, no writable folder and no CA certificate: calls Stripe.

Prints the customer that the first address answers with, and why the second one does not.
"""

import os
import pwd
import sys
import tempfile
from pathlib import Path

from app.stripe_account.account import StripeAccount
from app.stripe_account.outcomes import OutcomeUnknown

with_response, without_trust = sys.argv[1:]
try:
    tempfile.gettempdir()
    pwd.getpwuid(os.getuid())
except (FileNotFoundError, KeyError):
    pass
else:
    sys.exit("this machine is not as bare as it should be")
assert "HOME" not in os.environ
assert not Path("/etc/ssl/certs/ca-certificates.crt").exists()

account = StripeAccount("sk_test_bare", with_response)
print(account.retrieve("cus_1", timeout=5.0).id)
account.close()
account = StripeAccount("sk_test_bare", without_trust)
try:
    account.retrieve("cus_1", timeout=5.0)
except OutcomeUnknown as unknown:
    print(unknown)
account.close()
