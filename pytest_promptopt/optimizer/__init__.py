"""The optimizer: from failing cases to a better prompt. Knows no pytest and no provider."""
