"""Checks of laws: every law of the package passes, and every fault is found by its sentence."""

from dataclasses import replace

import numpy as np
import pytest

from minizo.laws import LAWS
from minizo.testing import CheckFailed, check_law

UNIFORM = LAWS["uniform"]


def wide(stream, out):
    stream.uniform(out)
    out *= 3.0
    return out


def shifted(stream, out):
    UNIFORM.sample(stream, out)
    out += 0.05
    return out


def skewed(stream, out):
    # -ln of a uniform number, less 1: mean 0, variance 1
    stream.uniform(out)
    out[...] = -np.log(np.maximum((out + 1.0) / 2.0, 1e-300)) - 1.0
    return out


def elsewhere(stream, out):
    return UNIFORM.sample(stream, np.empty_like(out))


def constant(stream, out):
    out[...] = np.resize([1.0, -1.0], out.shape)
    return out


def globally(stream, out):
    out[...] = np.random.uniform(-(3**0.5), 3**0.5, out.shape)
    return out


def box(z):
    return 0.5 * (np.abs(z) <= 1.0)


def negative(z):
    return UNIFORM.pdf(z) - 1e-3 * ((np.abs(z) > 2.0) & (np.abs(z) < 2.5))


FAULTS = {
    "variance": (replace(UNIFORM, sample=wide), "the variance of uniform is .* must be 1"),
    "mean": (replace(UNIFORM, sample=shifted), "the mean of uniform is .* must be 0"),
    "skewness": (replace(UNIFORM, sample=skewed), "the third moment of uniform"),
    "kurtosis": (replace(UNIFORM, kurtosis=1.9), "the kurtosis of uniform is 1.8.* must be 1.9"),
    "another array": (replace(UNIFORM, sample=elsewhere), "must fill the array that it is given"),
    "no stream": (replace(UNIFORM, sample=constant), "the same numbers for two seeds"),
    "global": (replace(UNIFORM, sample=globally), "draws from NumPy's global random state"),
    "area": (replace(UNIFORM, pdf=lambda z: 2.0 * UNIFORM.pdf(z)), "the area of uniform.pdf is 2"),
    "another density": (replace(UNIFORM, pdf=LAWS["gaussian"].pdf), "is not the density of its"),
    "negative": (replace(UNIFORM, pdf=negative), "uniform.pdf is -0.001 somewhere"),
    "zero-bias": (replace(UNIFORM, zero_bias_pdf=box), "variance of uniform.zero_bias_pdf is 0.33"),
    "lambda": (replace(UNIFORM, pdf=lambda z: UNIFORM.pdf(z)), "cannot be pickled"),
    "no law": ("uniform", "the law is a str"),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_laws_of_the_package_pass(name):
    found = check_law(LAWS[name])
    assert all(finding.passed is not False for finding in found.checks)
    assert [f.name for f in found.checks if f.passed is None] == (
        ["density"] if name == "rademacher" else []
    )


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_law_is_found(name):
    law, sentence = FAULTS[name]
    with pytest.raises(CheckFailed, match=sentence):
        check_law(law)
