"""The DARTS cell: candidates, genotypes, operations, and the networks made of them."""
