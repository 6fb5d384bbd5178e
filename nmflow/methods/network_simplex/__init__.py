"""Primal network simplex."""
