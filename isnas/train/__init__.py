"""How anything is trained: precision, exchange of gradients, optimisers and schedules, a fixed network.

Called, it is the training of :mod:`isnas.api`.
"""

from isnas.base.late import callable_module

callable_module(__name__, "isnas.api.running:train")
