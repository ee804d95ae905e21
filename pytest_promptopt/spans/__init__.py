"""What a session does as spans of OpenTelemetry; imported only where ``--promptopt-otel`` asks for it."""
