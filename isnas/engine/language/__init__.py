"""Searches and trainings of language models: run folders, perplexities, results."""
