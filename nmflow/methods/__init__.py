"""How a mask is found: one module or folder a method, and the registry that lists them."""
