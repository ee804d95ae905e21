"""Who gets the spans: the tracer provider that the host has set up, else one that the environment describes.

A global provider is never set or changed here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pytest_promptopt.errors import SettingsError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

OPTION = "--promptopt-otel"
INSTALL = 'pip install "pytest-promptopt[otel]"'

#: Any of these asks for an exporter.
_ASKING = ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

#: Whether contents may be sent, by the conventions; what stands for yes of the values in use.
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_YES = ("true", "1", "span_only", "span_and_event")

#: Milliseconds that the last spans may take to be sent.
_FLUSHING = 10_000


@dataclass(frozen=True)
class Tracing:
    """Makes spans.

    :param own: a provider that is ours to close; None for one of the host.
    """

    tracer: Tracer
    own: Any = None

    def close(self) -> None:
        """Send what is left."""
        if self.own is not None:
            with suppress(Exception):  # whoever receives them is no concern of the tests
                self.own.force_flush(_FLUSHING)
                self.own.shutdown()


def open_tracing(version: str) -> Tracing:
    """Raises `SettingsError` where a package is missing, or nobody would get the spans."""
    try:
        from opentelemetry import trace
    except ImportError:
        raise SettingsError(f"{OPTION}: OpenTelemetry is not installed: {INSTALL}") from None
    provider: Any = trace.get_tracer_provider()
    own = None
    if isinstance(provider, trace.ProxyTracerProvider):
        provider = own = _of_environment()
    return Tracing(provider.get_tracer("pytest_promptopt", version), own)


def captures_content() -> bool:
    """Whether what models are asked and answer may stand in spans."""
    return os.environ.get(_CONTENT, "").strip().lower() in _YES


def parent_context(carrier: Mapping[str, str]) -> Context | None:
    """What the session is a part of: a span of the host that is under way, else `carrier`.

    :param carrier: with ``traceparent``, as between processes.
    """
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    if trace.get_current_span().get_span_context().is_valid:
        return context.get_current()
    return TraceContextTextMapPropagator().extract(carrier) if carrier.get("traceparent") else None


def carrier_of(span: Span) -> dict[str, str]:
    """What another process needs to go on below a span."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span))
    return carrier


def _of_environment() -> Any:
    """A provider with the exporters that OTEL_* variables name. Raises `SettingsError`."""
    if not any(os.environ.get(name) for name in _ASKING):
        raise SettingsError(
            f"{OPTION}: nobody would get the spans: set OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_TRACES_EXPORTER, "
            "run pytest under opentelemetry-instrument, or set up a tracer provider in conftest.py"
        )
    try:
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        said = f"{OPTION}: the environment names an exporter, and OpenTelemetry's SDK is not installed"
        raise SettingsError(f"{said}: {INSTALL}") from None
    provider = TracerProvider()
    names = os.environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")
    for name in filter(None, (each.strip() for each in names)):
        if name != "none":
            provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return provider


def _exporter(name: str) -> Any:
    """The exporter of this name, as installed packages offer it. Raises `SettingsError`."""
    from importlib.metadata import entry_points

    wanted = name
    if name == "otlp":
        protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get(
            "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"
        )
        wanted = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = entry_points(group="opentelemetry_traces_exporter", name=wanted)
    if not found:
        package = f"opentelemetry-exporter-{wanted.replace('_', '-')}"
        known = ", ".join(sorted(entry_points(group="opentelemetry_traces_exporter").names)) or "none"
        raise SettingsError(
            f"{OPTION}: OTEL_TRACES_EXPORTER: there is no exporter {name!r}; installed are {known}; "
            f"pip install {package}"
        )
    try:
        return next(iter(found)).load()()
    except Exception as error:  # a package of others: it may raise whatever is wrong with its settings
        raise SettingsError(f"{OPTION}: the exporter {name!r} cannot be set up: {error}") from None
