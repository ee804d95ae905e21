"""Which instructions of a prompt no test notices: the prompt is broken on purpose, and the cases are run."""
