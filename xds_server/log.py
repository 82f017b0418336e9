"""Structured logs: one line per event, for people or as JSON."""

import logging
import sys
from typing import Literal

import structlog

LogFormat = Literal["text", "json"]


def configure(format: LogFormat, level: str = "info", **about: object) -> None:
    """Send every event to stderr: as text (coloured on a terminal), or as one JSON object per line. `about`: what every
    line says.

    Warnings and errors of libraries, too, as `library.message`.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    if about:
        shared.insert(0, lambda _, __, event: {**event, **about})
    renderer: structlog.typing.Processor
    if format == "text":
        shared.append(_without_empty)
    if format == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), sort_keys=False)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


class _Forward(logging.Handler):
    """What libraries log becomes events like ours, so that a line is an event in every format."""

    def emit(self, record: logging.LogRecord) -> None:
        event = structlog.get_logger("library")
        level = record.levelname.lower() if record.levelname in logging.getLevelNamesMapping() else "info"
        getattr(event, level)(
            "library.message", logger=record.name, message=record.getMessage(), exc_info=record.exc_info or None
        )


def _without_empty(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """People need not read of what is not there, nor lists as Python writes them."""
    shown = {name: value for name, value in event.items() if value not in ("", None, ())}
    return {name: "; ".join(map(str, value)) if isinstance(value, tuple) else value for name, value in shown.items()}
