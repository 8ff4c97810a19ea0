"""Functions of +-1 bits as sparse polynomials: parities, recovery from samples, and where they are least."""
