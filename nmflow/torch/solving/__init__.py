"""Masks of a model brought up to date."""
