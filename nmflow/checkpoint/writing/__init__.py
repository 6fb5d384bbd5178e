"""From pruned bands to files that appear whole or not at all, and go on after a kill.

``pieces`` cuts each file that is to be written into spans that are copied and bands that are
pruned; ``stream`` writes what they come to, in order, and notes each finished layer in the
``journal`` of the ``work_folder`` beside the target; ``sealing`` brings a format's own checksums up
to date on the way. ``mask_file`` is the layout of a file of masks alone. ``placing`` puts what is
complete in the target's place.
"""
