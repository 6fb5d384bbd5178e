"""The model counts what the compiler made, and its committed figures say what they are."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.gpu import disassembly, host_kernels, static_model
from benchmarks.gpu.counting import count
from benchmarks.gpu.devices import DEVICES, PIPES, pipe
from benchmarks.gpu.predicted_table import table
from nmflow.cuda.source import source

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


def test_the_text_is_the_reports():
    report = json.loads((RESULTS / "gpu_predicted.json").read_text())
    text = (RESULTS / "gpu_predicted.txt").read_text()
    assert table(report) + "\n" == text
    assert report["predicted"]
    assert text.startswith("PREDICTED, not measured")


def test_nothing_spills_where_that_was_asked_for():
    report = json.loads((RESULTS / "gpu_predicted.json").read_text())
    for pattern, found in report["patterns"].items():
        assert not any(kernel["spills"] for kernel in found["kernels"]["sm_90"].values()), pattern


def test_opcodes_have_their_pipes():
    names = ["VIMNMX3.U16x2", "IMAD.MOV.U32", "SHFL.IDX", "POPC", "BRA", "LOP3.LUT", "LDG.E.EF"]
    expected = ["ALU", "FMA", "memory", "XU", "control", "ALU", "memory"]
    assert [pipe(name) for name in names] == expected
    assert set(expected) == set(PIPES)


LISTING = """
        Function : solve_all
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   IADD3 R2, R2, 0x1, RZ ;
        /*0020*/                   VIMNMX R3, R2, R4, PT ;
        /*0030*/              @!P0 BRA 0x20 ;
        /*0040*/               @P1 BRA 0x10 ;
        /*0050*/               @P2 BRA 0x60 ;
        /*0060*/                   EXIT ;
"""
RESOURCES = """ptxas info    : Compiling entry function 'solve_all' for 'sm_90'
    0 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads
ptxas info    : Used 86 registers, used 0 barriers, 640 bytes smem
"""


def test_loops_registers_and_spills_are_read():
    kernel = disassembly._read(RESOURCES, LISTING)["solve_all"]
    assert (kernel.registers, kernel.spills, kernel.shared) == (86, 12, 640)
    assert kernel.total == Counter(ALU=3, control=4)
    assert sorted((s, e) for s, e, _ in kernel.loops) == [(0x10, 0x40), (0x20, 0x30)]
    assert kernel.innermost == [Counter(ALU=1, control=1)]
    assert static_model._rounds(kernel) == Counter(ALU=1, control=1)


def test_seconds_are_those_of_the_busiest_class():
    device = DEVICES["H100 SXM"]
    clocks = device.processors * device.gigahertz * 1e9 * static_model.EFFICIENCY
    work = Counter(ALU=1000, memory=100, control=10)
    assert static_model._seconds(work, device) == pytest.approx(1000 * 32 / 64 / clocks)
    work = Counter(ALU=1000, FMA=1000, memory=600)
    assert static_model._seconds(work, device) == pytest.approx(2600 * 32 / 128 / clocks)


def test_what_is_counted_apart_stands_in_the_source():
    texts = source(4, 8, "float32", False) + source(2, 4, "float32", False)
    for condition in static_model.NOW_AND_THEN:
        assert condition in texts


@pytest.mark.skipif(host_kernels.compiler() is None, reason="no C++ compiler")
def test_runs_are_counted():
    rng = np.random.default_rng(1)
    runs = count(4, 8, rng.standard_normal((64, 64)).astype(np.float32))
    # Eight tiles a warp, between the first look and the last round.
    assert 3 / 8 <= runs["rounds"] <= 1
    assert runs["looks"] == pytest.approx(runs["rounds"] - 2 / 8)
    again = count(4, 8, rng.integers(0, 2, (64, 64)).astype(np.float32))
    assert again["open"] > runs["open"]


def test_clocks_are_those_of_the_data_sheets():
    for name, device in DEVICES.items():
        lanes = device.processors * device.float_lanes
        told = 2 * lanes * device.gigahertz / 1e3
        assert told == pytest.approx(device.teraflops, rel=0.005), name


def test_refreshes_of_a_model_are_predicted_from_what_was_left():
    report = json.loads((RESULTS / "gpu_predicted.json").read_text())
    for pattern, found in report["patterns"].items():
        known = list(found["refresh"])
        assert known[0] == "anew"
        assert bool(known[1:]) == (not pattern.endswith(":4"))
        for share in known[1:]:
            warm = found["warm"][share]
            assert warm["runs a tile"]["rounds"] < found["runs a tile"]["rounds"]
