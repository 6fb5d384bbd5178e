"""Models as they lie on a disk: which tensors there are, and where their bytes are.

``opening.open_model`` finds out which of three kinds a path is and returns a ``Model`` of
``model``: its shards, each with its ``tensor``s. ``safetensors_file`` reads the header of a
safetensors file, ``torch_file`` finds the tensors of what ``torch.save`` wrote, without PyTorch,
by ``pickled``, a reader of pickles that runs nothing of them; ``folder`` reads the index of a
Hugging Face folder and says which files go along. ``file_bytes`` reads spans.

All of them refuse what is not right with one line, and nothing here reads weights before they are
asked for. So every kind is written alike: a copy, with other bytes where the layers are.
"""
