"""Judges: a prompt with a model that grades answers for a criterion, and how far a judge can be trusted."""
