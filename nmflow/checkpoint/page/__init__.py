"""A report as one page of HTML that needs nothing else: no network, no server, no fonts.

``view`` reads what ``prune``, ``convert`` or ``verify`` saved as JSON; ``sections`` and ``figures``
make HTML and SVG of it, with what ``markup`` escapes; ``page`` puts them together with its style
sheet and the script that sorts the table.
"""
