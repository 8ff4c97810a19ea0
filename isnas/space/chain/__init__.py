"""Chains of inverted bottlenecks: candidates of a block, genotypes, networks, the search space."""
