"""Optimization without pytest: cases written as data or functions, run by an engine of their own."""
