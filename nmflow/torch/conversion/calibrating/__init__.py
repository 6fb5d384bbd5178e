"""What layers see when a model runs.

Read :mod:`calibration <nmflow.torch.conversion.calibrating.calibration>` first, what is run;
``recorder`` puts hooks on modules, and ``features`` makes what they are called with into samples.
``order`` finds which weights see the same, one stage after the other, and ``blocks`` the chains
that can be run a block at a time. ``gather`` runs a stage and adds up its ``moments``.
"""
