"""What all errors have in common, checked."""

from typing import Any

import httpx

from app.contract.document import Contract


def assert_problem(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Hold an answer against RFC 9457, the contract and the table."""
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["type"].startswith("/v1/users/problems/")
    assert problem["title"]
    assert problem["detail"]
    if code not in ("not_found", "method_not_allowed"):
        contract = Contract.shipped("swagger.yaml").document
        operation = contract["paths"]["/user/current/stripe_info"]["post"]
        assert str(status) in operation["responses"]
    return problem
