"""What a check has measured, kept in a file under version control, and the next check held against it."""
