"""``python tests/mutations.py``: deliberate errors, and the test that each must make fail.

A test that passes with a wrong formula tests nothing. Each mutation below is one wrong number or
sign, of the kind that is really made, in a copy of the package; the named tests must fail with it,
and pass without any. Exit code 1 if a mutation survives, or if a test fails on the unchanged copy.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent


class Mutation(NamedTuple):
    """One wrong line.

    what : str
    file : str, below ``minizo/``
    right, wrong : str, the text that is there exactly once, and what takes its place
    test : str, below ``tests/``, as pytest wants it
    """

    what: str
    file: str
    right: str
    wrong: str
    test: str


MUTATIONS = (
    Mutation(
        "a factor 2 in the L2 prox", "prox.py",
        "lam == inf else lam / (1.0 + lam)", "lam == inf else 2.0 * lam / (1.0 + 2.0 * lam)",
        "test_prox.py::test_binary_operators_as_the_paper_prints_them",
    ),
    Mutation(
        "the L1 prox goes beyond the level", "prox.py",
        "xp.where(xp.abs(e) <= lam, q, x - xp.clip(e, -lam, lam))",
        "x - lam * xp.sign(e)",
        "test_prox.py::test_no_point_of_a_fine_grid_is_better",
    ),
    Mutation(
        "PARQ's ramp with iota for 1 - iota", "prox.py",
        "xp.abs(e) - (1.0 - iota) * half", "xp.abs(e) - iota * half",
        "test_prox.py::test_ramp_is_an_exact_prox",
    ),
    Mutation(
        "ProxQuant without the learning rate in its strength", "estimators/proxquant.py",
        "rate * self.strength(step)", "self.strength(step)",
        "test_proximal_rules.py::test_twenty_steps_by_hand",
    ),
    Mutation(
        "p in place of q for uniform noise", "laws.py",
        "_uniform, _uniform_p, _uniform_q, 1.8", "_uniform, _uniform_p, _uniform_p, 1.8",
        "test_laws.py::test_zero_bias_density_is_the_integral_of_s_p",
    ),
    Mutation(
        "u / psi(u) of the logistic law without its factor 2", "laws.py",
        "return 2.0 * LOGISTIC_EPSBAR * backend", "return LOGISTIC_EPSBAR * backend",
        "test_smoothing.py::test_the_score_is_that_of_the_density",
    ),
    Mutation(
        "designed noise of the squared width", "laws.py",
        "epsbar = 1.0 / sqrt(float(np.sum(mass)))", "epsbar = 1.0 / float(np.sum(mass))",
        "test_smoothing.py::test_tanh_asks_for_a_law_of_its_own",
    ),
    Mutation(
        "beta in place of sqrt(beta)", "estimators/fogzo.py",
        "return sqrt(self.beta) * s", "return self.beta * s",
        "test_fogzo_moments.py::test_mean_of_fogzo",
    ),
    Mutation(
        "1 - beta in place of sqrt(1 - beta)", "estimators/fogzo.py",
        "+ sqrt(1 - self.beta) * u(", "+ (1 - self.beta) * u(",
        "test_fogzo_moments.py::test_mean_of_fogzo",
    ),
    Mutation(
        "eps in place of 2 eps below the difference", "estimators/spsa.py",
        "total / (2 * n * eps)", "total / (n * eps)",
        "test_spsa_moments.py::test_one_direction_of_a_quadratic_loss_is_the_slope_along_it",
    ),
    Mutation(
        "2^k levels' step in place of 2^k - 1's", "quantizers/dorefa.py",
        "n = self.levels - 1\n        # Q(x) = 2 round",
        "n = self.levels\n        # Q(x) = 2 round",
        "test_dorefa.py::test_ranges_levels_and_signs",
    ),
    Mutation(
        "the slope of tanh without its square", "surrogates.py",
        "return 1.0 - backend.namespace(x).tanh(x) ** 2",
        "return 1.0 - backend.namespace(x).tanh(x)",
        "test_surrogates.py::test_derivative_is_the_central_difference_of_the_value",
    ),
    Mutation(
        "ReLU's coarse gradient twice as large", "lab/finite_sample/closed_forms.py",
        "along * (u + net.w_true)) / (2.0 * sqrt(2.0 * pi))",
        "along * (u + net.w_true)) / sqrt(2.0 * pi)",
        "test_finite_sample_lab.py::test_every_claim_holds_and_every_control_fails[B-1]",
    ),
    Mutation(
        "the variance of delta doubled in Proposition 3", "lab/finite_sample/predictions.py",
        "sqrt(samples * ste.share / (pi * n))", "sqrt(samples * ste.share / (2.0 * pi * n))",
        "test_finite_sample_lab.py::test_every_claim_holds_and_every_control_fails[B-2]",
    ),
    Mutation(
        "the smoothed W's prox stops at the nearest piece", "lab/convergence.py",
        "np.clip(a + lam, delta, 1.0 - delta)", "np.clip(a - lam, delta, 1.0 - delta)",
        "test_lab_proxquant.py::test_prox_of_the_smoothed_w_is_global",
    ),
    Mutation(
        "the mean field without the noise of the error", "lab/mean_field.py",
        "(2.0 * rate - rate**2) * tau", "2.0 * rate * tau",
        "test_lab_relatives.py::test_the_closed_form_solves_its_equation",
    ),
    Mutation(
        "FOGZO's length of g from squares that overflow", "norms.py",
        "length = norm(x)",
        "length = xp.sqrt(xp.sum(x * x, axis=-1, keepdims=True))",
        "test_scales.py::test_estimators_are_homogeneous[fogzo-70]",
    ),
    Mutation(
        "the mean of equal weights taken as it rounds", "quantizers/standardised.py",
        "centred = xp.where(equal, xp.zeros_like(centred), centred)", "centred = 1.0 * centred",
        "test_degenerate.py::test_constant_filters_have_no_deviation",
    ),
    Mutation(
        "examples taken for the members of a population", "layers/activations.py",
        "x.ndim - 1 - self.axes", "1",
        "test_axes.py::test_a_learned_step_is_that_of_the_member_and_not_of_the_example",
    ),
    Mutation(
        "running statistics of mean 0 and variance 1 at the start", "train.py",
        "state = state._replace(running=first_statistics(group, state.theta))", "pass",
        "test_first_statistics.py::test_deep_binary_resnets_start[20]",
    ),
    Mutation(
        "running statistics of the weights that a proximal rule sees", "estimators/proximal.py",
        "seen = objective.statistics(theta, batch)", "pass",
        "test_first_statistics.py::test_records_have_statistics_of_the_quantised_weights[proxquant]",
    ),
)  # fmt: skip


def passes(test, copy):
    """Whether a test passes with the package in ``copy``."""
    options = ["-x", "-q", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *options, f"tests/{test}"]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{test} could not be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.returncode == 0


def survives(mutation, copy):
    """Whether the test passes with the wrong line; the copy is put right again."""
    path = copy / "minizo" / mutation.file
    text = path.read_text()
    count = text.count(mutation.right)
    if count != 1:
        raise SystemExit(f"{mutation.file}: {mutation.right!r} is there {count} times, not once")
    path.write_text(text.replace(mutation.right, mutation.wrong))
    try:
        return passes(mutation.test, copy)
    finally:
        path.write_text(text)


def main(argv=None):
    """Run all mutations; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("words", nargs="*", help="only mutations whose description has these words")
    words = parser.parse_args(argv).words
    chosen = [m for m in MUTATIONS if all(word in m.what for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("minizo", "tests", "pyproject.toml"):
            source = ROOT / name
            copying = shutil.copytree if source.is_dir() else shutil.copy
            copying(source, copy / name)
        for test in dict.fromkeys(m.test for m in chosen):
            if not passes(test, copy):
                print(f"FAILS UNCHANGED  {test}", flush=True)
                bad += 1
        for mutation in chosen:
            alive = survives(mutation, copy)
            bad += alive
            verdict = "SURVIVES" if alive else "found   "
            print(f"{verdict}  {mutation.what}: {mutation.file}, {mutation.test}", flush=True)
    print(f"{len(chosen)} mutations, {bad} survive or have a test that fails by itself")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
