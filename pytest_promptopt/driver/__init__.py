"""Carrying out an optimization, whoever runs the cases: a pytest session or a script."""
