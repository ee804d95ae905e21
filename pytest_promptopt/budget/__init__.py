"""What a run may spend: a ledger that every process of it shares, and what a request can cost at most."""
