"""Cases as pytest runs them: ordinary sync tests, fifty model calls in flight."""
