"""The runs that lie in `.promptopt/runs`: one at a time, listed, continued, taken back."""
