"""Recorded model calls, read from the exports of tracing tools, made into cases for people to review."""
