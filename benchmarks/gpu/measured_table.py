"""What was measured on a GPU, as text."""

from __future__ import annotations

from typing import Any

# Parts of the report after which the masks' share of a step can be told.
_EVERY = " every step"


def table(report: dict[str, Any]) -> str:
    """All figures: milliseconds, medians."""
    lines = [f"{report['device']}, PyTorch {report['torch']}; milliseconds, medians"]
    for name, found in report.get("matrices", {}).items():
        lines.append(f"{name:28}{_parts(found)}{_of_a_copy(found)}")
    if "layers" in report:
        lines += ["", "Linear layers of Llama 3 8B at 2:4, bfloat16, forward and backward"]
        for name, found in report["layers"].items():
            gain = found["dense"]["median"] / found["sparse"]["median"]
            lines.append(f"{name:34}{_parts(found)}; {gain:.2f} x")
    if "training" in report:
        lines += ["", "A training step of two blocks of a language model, bfloat16, AdamW"]
        lines += _training(report["training"])
    if "refresh" in report:
        count = report["refresh"]["parameters"]
        lines += ["", f"All masks of a model of {count / 1e6:.0f} M parameters found anew"]
        times = {name: each for name, each in report["refresh"].items() if ":" in name}
        lines.append(_parts(times))
    return "\n".join(lines)


def _training(found: dict[str, Any]) -> list[str]:
    lines = []
    for name, times in found.items():
        line = f"{name:28}{times['median'] * 1e3:.3f}"
        if name.endswith(_EVERY):
            fixed = found[name.removesuffix(_EVERY) + " fixed"]["median"]
            line += f"; masks take {1 - fixed / times['median']:.0%} of it"
        lines.append(line)
    return lines


def _parts(found: dict[str, Any]) -> str:
    return ", ".join(f"{what} {each['median'] * 1e3:.3f}" for what, each in found.items())


def _of_a_copy(found: dict[str, Any]) -> str:
    if "kernels" not in found:
        return ""
    share = found["floor"]["median"] / found["kernels"]["median"]
    return f"; {share:.0%} of a copy's speed"
