"""The calls that this service makes to Stripe, and the right that a restricted key needs for each.

Rights are named as in https://docs.stripe.com/keys/restricted-api-keys; Stripe's own name is in
brackets, as its answer shows it.
"""

from app.stripe_account.readings import Call

READ_CUSTOMERS = "read access to Customers (rak_customer_read)"
WRITE_CUSTOMERS = "write access to Customers (rak_customer_write)"
READ_PAYMENT_METHODS = "read access to PaymentMethods (rak_payment_method_read)"
WRITE_PAYMENT_METHODS = "write access to PaymentMethods (rak_payment_method_write)"
READ_TOKENS = "read access to Tokens (rak_token_read)"

# https://docs.stripe.com/api/customers
CREATE = Call("create", WRITE_CUSTOMERS, names="source")
CREATE_WITH_PM = Call(
    "create", f"{WRITE_CUSTOMERS} or {WRITE_PAYMENT_METHODS}", names="payment_method"
)
UPDATE = Call("update", WRITE_CUSTOMERS, names="source", customer=True)
SET_DEFAULT = Call("set_default", WRITE_CUSTOMERS, names="payment_method", customer=True)
SET_METADATA = Call("set_metadata", WRITE_CUSTOMERS, customer=True)
DELETE = Call("delete", WRITE_CUSTOMERS, customer=True)
RETRIEVE = Call("retrieve", READ_CUSTOMERS, customer=True, is_read=True)
LIST = Call("list", READ_CUSTOMERS, is_read=True)
# https://docs.stripe.com/api/payment_methods
CREATE_PM = Call("create_payment_method", WRITE_PAYMENT_METHODS, names="payment_method")
ATTACH = Call("attach", WRITE_PAYMENT_METHODS, names="payment_method", customer=True)
DETACH = Call("detach", WRITE_PAYMENT_METHODS, names="payment_method")
RETRIEVE_PM = Call("retrieve_payment_method", READ_PAYMENT_METHODS, is_read=True)
LIST_PMS = Call("list_payment_methods", READ_PAYMENT_METHODS, customer=True, is_read=True)
# https://docs.stripe.com/api/tokens
RETRIEVE_TOKEN = Call("retrieve_token", READ_TOKENS, is_read=True)
