"""What the git hook mends, and what it only tells."""

import importlib.util
from pathlib import Path

PATH = Path(__file__).parents[2] / "tools" / "tidy.py"
SPEC = importlib.util.spec_from_file_location("tidy", PATH)
tidy = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(tidy)


def test_text_is_mended_once(tmp_path, capsys):
    file = tmp_path / "a.md"
    file.write_bytes(b"one  \n\n\ttwo\t\r\n\n\n")
    assert tidy.main([str(file)]) == 1
    assert file.read_bytes() == b"one\n\n\ttwo\n"
    assert "a.md: blanks" in capsys.readouterr().out
    assert tidy.main([str(file)]) == 0
    assert capsys.readouterr().out == ""


def test_what_programs_write_is_only_weighed(tmp_path, capsys):
    small, large, binary = (tmp_path / name for name in ("a.svg", "b.png", "c.bin"))
    small.write_bytes(b"x  ")
    large.write_bytes(b"x" * 1_000_001)
    binary.write_bytes(b"\xff \n\n")
    assert tidy.main([str(small), str(binary)]) == 0
    assert tidy.main([str(small), str(large)]) == 1
    assert "1000001 bytes" in capsys.readouterr().out
    assert small.read_bytes() == b"x  "
    assert binary.read_bytes() == b"\xff \n\n"
