"""The recurrent cell of language models, one output per word: genotypes, networks, the search space."""
