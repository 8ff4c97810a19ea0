"""The options of each method, without torch: what --help and a wrong flag need."""
