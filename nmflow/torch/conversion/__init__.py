"""Trained models turned into n:m ones: calibration, masks, and weights refitted under them.

Read :mod:`convert <nmflow.torch.conversion.convert>` first, the public call, then ``driver``, which
goes from stage to stage. What layers see is found by
:mod:`calibrating <nmflow.torch.conversion.calibrating>`. ``targets`` and ``matrices`` are the way
of a weight from the model and back, ``fitting`` asks one of the
:mod:`methods <nmflow.torch.conversion.methods>` for its new values, ``store`` keeps finished
layers, ``batch_norm`` is what is left at the end, and ``report`` is what users are told.
"""
