from torch import nn

from nmflow.models.layout import Layout


def layouts_of(module):
    if isinstance(module, nn.Linear):
        return {"weight": Layout()}
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return {"weight": Layout(groups=module.groups)}
    if isinstance(module, nn.MultiheadAttention):
        apart = {f"{name}_proj_weight": Layout() for name in "qkv"}
        return apart | {"in_proj_weight": Layout(groups=3)}
    return {}


Layouts = object
