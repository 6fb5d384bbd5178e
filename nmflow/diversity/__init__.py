"""Mask diversity: how many masks a pattern allows (Hubara et al., NeurIPS 2021).

Read :mod:`count <nmflow.diversity.count>` first: it cuts a shape into groups or tiles and
multiplies what each allows. :mod:`tile <nmflow.diversity.tile>` counts one transposable tile, by a
quadrature (:mod:`quadrature <nmflow.diversity.quadrature>`, in
:mod:`residues <nmflow.diversity.residues>`) or by :mod:`states <nmflow.diversity.states>`;
:mod:`estimates <nmflow.diversity.estimates>` holds the formulas that are not exact, and
:mod:`table <nmflow.diversity.table>` puts the patterns side by side.
"""

from nmflow.diversity.count import log10_mask_diversity, mask_diversity

__all__ = ["log10_mask_diversity", "mask_diversity"]
