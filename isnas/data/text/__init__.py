"""Text for language models: read from a folder or from Debian, as numbers of words, and cut into batches."""
