"""The options of each question, without torch: what --help and a wrong flag need."""
