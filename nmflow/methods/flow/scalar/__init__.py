"""Tile by tile, in 64-bit and unbounded integers."""
