"""Which tensors of a network are matrices to be masked, and which stay dense.

One table for models in memory and for files: it knows names and shapes, and no framework. Read
``roles`` first, why a tensor stays dense by its name (``heads`` and ``names`` help it), and
``layout``, how a tensor is a batch of matrices. ``layouts`` chooses that by shape and name,
``stacks`` for experts in one tensor. ``rule`` says it all in words.
"""

from nmflow.models.layout import Layout
from nmflow.models.layouts import layouts_of
from nmflow.models.roles import Role, role_of, roles_of
from nmflow.models.rule import RULE
from nmflow.models.stacks import stack_layouts

__all__ = ["RULE", "Layout", "Role", "layouts_of", "role_of", "roles_of", "stack_layouts"]
