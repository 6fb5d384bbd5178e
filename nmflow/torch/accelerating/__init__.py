"""Layers of 2:4 transposable weights on sparse tensor cores.

``support`` says what a device and a layer allow; ``sparse_linear`` is a linear layer that
multiplies by compressed weights in both directions; ``accelerate`` puts them into a model;
``doctor`` measures what they bring, ``examine`` layer by layer of a model.
"""
