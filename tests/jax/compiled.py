"""How XLA compiles users' programmes. Those of tests it compiles fast: ``tests/conftest.py``."""

AS_USERS = {
    "xla_backend_optimization_level": 3,
    "xla_llvm_disable_expensive_passes": False,
    "xla_cpu_use_fusion_emitters": True,
}
"""``compiler_options`` of ``jax.jit``, for what is about what the compiler does."""
