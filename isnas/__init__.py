"""Neural architecture search by sparse coding: ISTA-NAS and its relatives."""
