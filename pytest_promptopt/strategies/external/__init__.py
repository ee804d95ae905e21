"""Engines of other libraries, driven with the same cases, models and ceilings as ours."""
