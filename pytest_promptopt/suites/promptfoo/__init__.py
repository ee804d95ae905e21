"""promptfoo's configurations as suites: what can be done as promptfoo does it runs, all else is skipped by name."""
