"""Folders of Hugging Face models: read, calibrated with text, written and read back.

``loading`` makes a model and its tokenizer of a folder, and nothing of the network; ``texts`` makes
batches of a file of text; ``saving`` writes another folder of the kind, and ``reading_back`` counts
what was written. Needs transformers, which is imported when it is used; nothing but the command
line imports this.
"""
