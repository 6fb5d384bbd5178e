"""Wrong input gets one family of errors that say what was wrong, where, and what to do."""

import numpy as np
import pytest

import nmflow

GOOD = np.ones((8, 8), np.float32)


def nan_at(*index):
    weights = np.ones((8, 8))
    weights[index] = np.nan
    return weights


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nmflow.solve(GOOD, 5, 4), ["5:4", "1 <= n <= m"]),
        (lambda: nmflow.solve(GOOD, 0, 4), ["0:4", "1 <= n <= m"]),
        (lambda: nmflow.solve(GOOD, -1, 4), ["-1:4"]),
        (lambda: nmflow.solve(GOOD, 2.0, 4), ["n must be an integer", "2.0", "float"]),
        (lambda: nmflow.solve(GOOD, 2, "4"), ["m must be an integer", "'4'", "str"]),
        (lambda: nmflow.solve(GOOD, True, 4), ["n must be an integer", "bool"]),
        (lambda: nmflow.solve(np.ones(8), 2, 4), ["(8,)", "float64", "2 dimensions", "reshape"]),
        (lambda: nmflow.solve(3.0, 2, 4), ["()", "2 dimensions"]),
        (lambda: nmflow.solve(GOOD * 1j, 2, 4), ["complex64", "(8, 8)", "float32"]),
        (lambda: nmflow.solve(np.ones((2, 2), "longdouble"), 1, 2), ["float128", "float64"]),
        (lambda: nmflow.solve([["a", "b"]], 1, 2), ["str", "float32"]),
        (lambda: nmflow.solve([[1, 2], [3]], 1, 2), ["list", "array"]),
        (lambda: nmflow.solve(None, 1, 2), ["object", "float32"]),
        (lambda: nmflow.solve(nan_at(3, 5), 2, 4), ["nan", "(3, 5)", "2:4", "float64"]),
        (lambda: nmflow.solve(-nan_at(0, 0) * np.inf, 2, 4), ["(0, 0)"]),
        (lambda: nmflow.solve(GOOD * np.inf, 2, 4), ["inf", "(0, 0)", "float32"]),
        (lambda: nmflow.solve(GOOD, 2, 4, "flwo"), ["'flwo'", "did you mean 'flow'"]),
        (lambda: nmflow.solve(GOOD, 2, 4, 7), ["unknown method 7"]),
        (lambda: nmflow.solve(GOOD, 2, 4, pattern="diagonal"), ["'diagonal'", "'rows'"]),
        (lambda: nmflow.solve(GOOD, 2, 4, score="l2"), ["'l2'", "'square'"]),
        (lambda: nmflow.solve(GOOD, 2, 4, axes=(0, 2)), ["(0, 2)", "-2 to 1"]),
        (lambda: nmflow.solve(GOOD, 2, 4, axes=(1, 1)), ["(1, 1)", "different"]),
        (lambda: nmflow.solve(GOOD, 2, 4, axes=(1, -1)), ["(1, -1)", "different"]),
        (lambda: nmflow.solve(GOOD, 2, 4, axes=0), ["got 0"]),
        (lambda: nmflow.solve(GOOD, 2, 4, axes=(0, 1, 2)), ["(0, 1, 2)"]),
        (lambda: nmflow.solve(GOOD, 2, 4, workers=0), ["workers", ">= 1", "0"]),
        (lambda: nmflow.solve(GOOD, 2, 4, workers=1.5), ["workers", "1.5"]),
        (lambda: nmflow.solve(GOOD, 2, 4, workers=True), ["workers", "True"]),
        (
            lambda: nmflow.solve(np.full((4, 4), 1e200), 2, 4, score="square"),
            ["overflows float64", "1e+200", "score='abs'"],
        ),
        (
            lambda: nmflow.solve(np.full((4, 4), 2**40), 2, 4, score="square"),
            ["overflows 64 bits", "1099511627776"],
        ),
        (lambda: nmflow.certify(GOOD, GOOD[:4] > 0, 2, 4), ["(4, 8)", "(8, 8)"]),
        (lambda: nmflow.certify(GOOD, GOOD * 0.5, 2, 4), ["0.5", "(0, 0)", "0/1"]),
        (lambda: nmflow.certify(nan_at(1, 1), GOOD > 0, 2, 4), ["nan", "(1, 1)"]),
        (lambda: nmflow.certify(GOOD, None, 2, 4), ["mask", "object"]),
        (
            lambda: nmflow.certify(np.full((4, 4), 1.5e308), np.ones((4, 4), bool), 4, 4),
            ["exceeds float64", "power of two"],
        ),
    ],
)
def test_message(call, words):
    with pytest.raises(nmflow.NmflowError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_is_a_value_error():
    assert issubclass(nmflow.NmflowError, ValueError)
    assert issubclass(nmflow.MissingExtraError, (nmflow.NmflowError, ImportError))
    assert "pip install 'nmflow[plot]'" in str(nmflow.MissingExtraError("plotting", "plot"))


def test_index_is_that_of_the_array_as_given():
    weights = np.zeros((3, 4, 5, 6))
    weights[2, 1, 3, 4] = np.inf
    with pytest.raises(nmflow.NmflowError, match=r"inf at index \(2, 1, 3, 4\)"):
        nmflow.solve(weights, 2, 4, axes=(0, 1))


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch):
    def broken(*_):
        raise RuntimeError("from a worker")

    monkeypatch.setattr("nmflow.solvers.flow.method.solve_window", broken)
    with pytest.raises(RuntimeError, match="from a worker"):
        nmflow.solve(np.ones((2048, 1024)), 2, 4, workers=2)
