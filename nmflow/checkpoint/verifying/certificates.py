"""What certificates say, held against what methods promise."""

from __future__ import annotations

from collections.abc import Iterable

from nmflow.checkpoint.report import Failure
from nmflow.proof.certificate import Certificate


def certificate_failures(
    certificates: Iterable[tuple[str, Certificate]], *, exact: bool
) -> tuple[Failure, ...]:
    """What certificates do not say though the method promises it.

    Parameters
    ----------
    certificates : iterable of (str, Certificate)
        With the names of their layers.
    exact : bool
        Whether masks are promised to be full and optimal.
    """
    failures = []
    for name, certificate in certificates:
        if not certificate.feasible:
            problem = f"the mask keeps too many: {certificate.violations[0]}"
        elif exact and not certificate.full:
            problem = f"the mask keeps too few: {certificate.violations[0]}"
        elif exact and certificate.optimal_tiles != certificate.tiles:
            short = certificate.tiles - certificate.optimal_tiles
            problem = f"{short} tiles are not optimal: certified gap {certificate.gap:.3g}"
        else:
            continue
        failures.append(Failure(name, problem))
    return tuple(failures)
