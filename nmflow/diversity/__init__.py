"""How many masks a pattern allows, and how many random ones it takes in (Hubara et al., 2021).

Read :mod:`count <nmflow.diversity.count>` first: it cuts a shape into groups or tiles and
multiplies what each allows. :mod:`tile <nmflow.diversity.tile>` counts one transposable tile, by a
quadrature (:mod:`quadrature <nmflow.diversity.quadrature>`, in
:mod:`residues <nmflow.diversity.residues>`) or by :mod:`states <nmflow.diversity.states>`;
:mod:`estimates <nmflow.diversity.estimates>` holds the formulas that are not exact, and
:mod:`table <nmflow.diversity.table>` puts the patterns side by side.

:mod:`fit <nmflow.diversity.fit>` asks how likely sparse weights are n:m as they are, a
:mod:`probability <nmflow.diversity.probability>` in integers; for tiles it takes the masks by their
number of ones, :mod:`graded <nmflow.diversity.graded>`.
"""

from nmflow.diversity.count import log10_mask_diversity, mask_diversity
from nmflow.diversity.fit import group_fit_probability, suggest_n

__all__ = ["group_fit_probability", "log10_mask_diversity", "mask_diversity", "suggest_n"]
