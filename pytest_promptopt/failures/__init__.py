"""Failure -> category -> description: what failed cases share, for a person and the optimizer."""

from __future__ import annotations

from pytest_promptopt.failures.categories import category_of
from pytest_promptopt.failures.differences import text_diff
from pytest_promptopt.failures.feedback import Categorize, Category, FailedCase, Feedback, describe

__all__ = ["Categorize", "Category", "FailedCase", "Feedback", "category_of", "describe", "text_diff"]
