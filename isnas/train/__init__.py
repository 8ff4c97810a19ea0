"""How anything is trained: precision, exchange of gradients, optimisers and schedules, a fixed network."""
