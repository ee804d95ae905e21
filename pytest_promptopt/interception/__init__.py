"""Model calls that the code under test makes by itself: seen at the transport, answered by the engine."""
