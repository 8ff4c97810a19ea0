"""Cells as pictures: a layered layout, and PNG and SVG files of both cells of a genotype."""
