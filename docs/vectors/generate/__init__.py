"""Writes the vectors of docs/vectors/v1: ``python -m docs.vectors.generate``; with ``--check`` only compares them."""
