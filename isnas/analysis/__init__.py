"""Questions to run folders, answered with a table, its numbers and a picture: ``tools/analyse.py``."""
