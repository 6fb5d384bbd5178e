"""Masks on the weights of a model."""
