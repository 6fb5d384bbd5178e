import os
os.environ["XLA_FLAGS"]="--xla_force_host_platform_device_count=8"
import jax, jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec as P, Mesh
import numpy as np
mesh=jax.make_mesh((4,2),("a","b"))
print(mesh.axis_types)
w=jax.device_put(jnp.ones((16,16)),NamedSharding(mesh,P("a","b")))
print(jax.typeof(w), jax.typeof(w).sharding)
jax.jit(lambda x: print(jax.typeof(x), jax.typeof(x).sharding, x.sharding if hasattr(x,'sharding') else None))(w)
m2=Mesh(np.array(jax.devices()).reshape(4,2),("a","b")); print(m2.axis_types)
w=jax.device_put(jnp.ones((16,16)),NamedSharding(m2,P("a","b")))
jax.jit(lambda x: print(jax.typeof(x), jax.typeof(x).sharding))(w)
