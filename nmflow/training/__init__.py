"""What training under masks is in any framework: words, defaults and checks, and no framework.

``policy`` says when masks are solved anew, ``rules`` what pruned weights learn, ``patterns`` what
users give as n and m, and ``report`` which weights are masked and why others are not.
"""
