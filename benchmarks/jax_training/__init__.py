"""Training under masks in JAX: the transformer on the standard library's source."""
