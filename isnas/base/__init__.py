"""What every layer may use: user errors, options, named generators, whole-file writes."""
