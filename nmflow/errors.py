"""The one error family of the library.

Every mistake that a caller can make raises :class:`NmflowError`, with a message that says what
was wrong, where, and what to do about it.
"""

from __future__ import annotations


class NmflowError(ValueError):
    """Wrong input to nmflow, or work that nmflow cannot do as asked."""


class MissingExtraError(NmflowError, ImportError):
    """A feature was asked for whose optional packages are not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs packages that are not installed; "
            f"install them with: pip install 'nmflow[{extra}]'"
        )
        self._given = feature, extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        # Between processes, an exception is made anew from what it was made of.
        return type(self), self._given
