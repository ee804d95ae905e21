"""promptfoo's configurations as suites: what is done as promptfoo does it runs, else it is skipped."""
