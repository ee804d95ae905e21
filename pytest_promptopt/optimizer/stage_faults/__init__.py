"""Which stage of a pipeline lost a case that fails, and which stage gets the next request."""
