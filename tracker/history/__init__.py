"""What happened: lives of grants, what the tables held, and each change of lists and settings."""
