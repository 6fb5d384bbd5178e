"""Masks on GPUs: measured where there is one, else predicted from the compiled code."""
