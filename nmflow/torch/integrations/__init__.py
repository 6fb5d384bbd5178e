"""Masks in other people's training loops.

Each module needs the framework that it is named after, and nothing else imports it.
"""
