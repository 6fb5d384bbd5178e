"""Which tensors of a network are matrices to be masked, and which stay dense.

One table for models in memory and for files: it knows names and shapes, and no framework.
"""

from nmflow.models.layout import Layout
from nmflow.models.layouts import layouts_of
from nmflow.models.roles import Role, role_of, roles_of
from nmflow.models.rule import RULE
from nmflow.models.stacks import stack_layouts

__all__ = ["RULE", "Layout", "Role", "layouts_of", "role_of", "roles_of", "stack_layouts"]
