"""Log events, one line each, on stderr: JSON for machines, colours for people."""

import json
import logging
import re
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import structlog

from app.telemetry import trace

PACKAGE = Path(__file__).parents[1]
# A second defence: no event is built from a secret, and if one ever were, it is masked here.
SECRETS = re.compile(
    r"\b(?:(?:tok|sk|rk|whsec)_[A-Za-z0-9_]{4,}|coord_ak_[A-Za-z0-9_-]+"
    r"|eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]+){0,2})"
)
# Made once: `json.dumps` with arguments makes one for each call.
ENCODER = json.JSONEncoder(default=repr)

Event = dict[str, Any]


def configure(log_format: str) -> None:
    """Send all events, libraries' included, to stderr."""
    processors: list[Any] = [
        _add_request,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _format_error,
        _mask_secrets,
    ]
    renderer: Any = (
        _render_json
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*processors, renderer],
        # Writes a line and its end at once: written apart, lines of two workers would be joined.
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)


def own_frames(trace: TracebackType | None) -> list[str]:
    """Return where in this package an error was raised, the innermost frame last."""
    return [
        f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"
        for frame in traceback.extract_tb(trace)
        if Path(frame.filename).is_relative_to(PACKAGE)
    ]


def _add_request(_logger: Any, _method: str, event: Event) -> Event:
    """Add the names of the current request."""
    traced = trace.current()
    if traced.request_id:
        event["request_id"] = traced.request_id
    if traced.trace_id:
        event["trace_id"] = traced.trace_id
    return event


def _format_error(_logger: Any, _method: str, event: Event) -> Event:
    """Replace `exc_info` by the error's name and this package's frames; the rest is middleware.

    Stripe's words are left out: they may quote an e-mail address or the id of a card.
    """
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        name, package = type(error).__name__, type(error).__module__.partition(".")[0]
        event["error"] = name if package == "stripe" else f"{name}: {error}"
        event["trace"] = own_frames(error.__traceback__)
    return event


def _mask_secrets(_logger: Any, _method: str, event: Event) -> Event:
    return {name: _masked(value) for name, value in event.items()}


def _render_json(_logger: Any, _method: str, event: Event) -> str:
    return ENCODER.encode(event)


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        # Each kind of secret has one of the two; to look for them takes a tenth of the time.
        if "_" not in value and "eyJ" not in value:
            return value
        return SECRETS.sub("[secret]", value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    if isinstance(value, dict):
        return {name: _masked(item) for name, item in value.items()}
    return value
