"""What training under masks is in any framework: words, defaults and checks, and no framework.

``policy`` says when masks are solved anew and ``clock`` where training is on that way, ``rules``
what pruned weights learn, ``patterns`` what users give as n and m, ``sizes`` whether they fit a
matrix, and ``report`` which weights are masked and why others are not.
"""
