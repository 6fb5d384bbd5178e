"""The default method: exact min-cost flow."""
