"""`refine`: ask for several candidates, race them, keep what is better, remember what was learned."""
