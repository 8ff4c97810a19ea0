"""Questions to runs, solvers and matrices, answered with a table, its numbers and pictures: ``tools/analyse.py``."""
