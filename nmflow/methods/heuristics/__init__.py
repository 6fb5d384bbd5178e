"""Approximate methods."""
