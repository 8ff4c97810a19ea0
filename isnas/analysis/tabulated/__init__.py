"""Tabulated benchmarks: small spaces whose architectures have been trained, all of them or a uniform sample."""
