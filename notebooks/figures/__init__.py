"""Pictures of the notebooks: what they share in ``style``, then one module a notebook."""
