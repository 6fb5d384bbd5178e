"""Masks on GPUs: measured where there is one, predicted from the compiled code where there is none."""
