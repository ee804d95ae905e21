"""What the user sees: the terminal's sections, live progress, and report files."""
