"""Events, one line each, on stderr: JSON for machines, colours for people."""

import logging
import re
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from app.telemetry import trace

HERE = Path(__file__).parents[1]
# The last line of defence: no event is built from a secret, and yet none gets past here.
SECRETS = re.compile(
    r"\b(?:(?:tok|sk|rk|whsec)_[A-Za-z0-9_]{4,}|coord_ak_[A-Za-z0-9_-]+"
    r"|eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]+){0,2})"
)


def configure(log_format: str) -> None:
    """Send all events, those of libraries too, to stderr.

    Args:
        log_format: `json` or `console`.
    """
    shared: list[Any] = [
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_own_frames,
        _without_secrets,
    ]
    last: Any = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, last],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def own_frames(trace: TracebackType | None) -> list[str]:
    """Tell where in our own code an error came from, the innermost last."""
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
        if Path(frame.filename).is_relative_to(HERE)
    ]


def _with_request_id(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Say in which request it happened, if in one."""
    if request_id := trace.current().request_id:
        event["request_id"] = request_id
    return event


def _with_own_frames(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Turn `exc_info` into the error's name and our own frames: the rest is middlewares."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = f"{type(error).__name__}: {error}"
        event["trace"] = own_frames(error.__traceback__)
    return event


def _without_secrets(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    return {name: _masked(value) for name, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return SECRETS.sub("[secret]", value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    return value
