"""Running cases again: a run ends at its first unknown answer and begins anew when the answer is in."""
