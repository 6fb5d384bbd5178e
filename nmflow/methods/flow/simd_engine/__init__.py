"""The SIMD engine of flow."""
