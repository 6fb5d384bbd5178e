"""Masks in other people's training loops.

Read ``sparsifier`` first: a call of ``sparsify`` that waits for its model, which all callbacks
share. ``lightning`` and ``transformers`` each hold one callback that counts optimizer steps, saves
and resumes. Each needs the framework that it is named after, and nothing else imports it.
"""
