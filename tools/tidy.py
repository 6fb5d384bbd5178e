"""Files as they are to be committed: no blanks at line ends, one newline at the end, not large.

``python tools/tidy.py FILE...`` mends text and names what it mended or can't mend; it exits with 1
where there was anything, so that the commit is looked at again. Files that programs write, such as
pictures and results, are only weighed.
"""

from __future__ import annotations

import sys
from pathlib import Path

# Of a notebook with its pictures, the largest that there is.
LARGEST_BYTES = 1_000_000
WRITTEN = {".json", ".svg", ".png", ".ipynb"}


def mended(text: str) -> str:
    """The text without blanks at line ends and with one newline at its end."""
    lines = [line.rstrip() for line in text.split("\n")]
    return "\n".join(lines).rstrip("\n") + "\n" if text.strip() else ""


def complaints(path: Path) -> list[str]:
    """What was wrong with a file; text is mended."""
    found = []
    size = path.stat().st_size
    if size > LARGEST_BYTES:
        found.append(f"{path}: {size} bytes, more than {LARGEST_BYTES}")
    if path.suffix in WRITTEN:
        return found
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError:
        return found
    if mended(text) != text:
        path.write_bytes(mended(text).encode())
        found.append(f"{path}: blanks at the ends, mended")
    return found


def main(names: list[str]) -> int:
    """Tidy the files; 1 if something was wrong."""
    found = [line for name in names for line in complaints(Path(name))]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
