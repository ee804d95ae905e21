"""Cases that are written without Python: their data, their checks, and the files that they stand in."""
