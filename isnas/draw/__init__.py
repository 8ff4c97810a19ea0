"""Cells as pictures: a layered layout, and PNG and SVG files of both cells of a genotype.

Called, it is the picture of :mod:`isnas.api`.
"""

from isnas.base.late import callable_module

callable_module(__name__, "isnas.api.cells:draw")
