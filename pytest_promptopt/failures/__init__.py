"""Failure -> category -> description: what failed cases share, for a person and the optimizer."""

from __future__ import annotations

from pytest_promptopt.failures.feedback import Categorize, Category, FailedCase, Feedback, describe

__all__ = ["Categorize", "Category", "FailedCase", "Feedback", "describe"]
