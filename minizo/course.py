"""The course: which notebook asks what, and builds on which."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """A notebook of the course.

    Parameters
    ----------
    file : str
        Its name, without .ipynb.
    title, question : str
        A few words, and what it answers.
    kind : {"basis", "method", "theory", "practice"}
    needs : tuple of int
        The notebooks that it builds on.
    row : int
        Place in its column of the map, from above.
    """

    file: str
    title: str
    question: str
    kind: str
    needs: tuple = ()
    row: int = 0


LESSONS = {
    0: Lesson("00_backpropagation_by_hand", "Backpropagation by hand",
              "What does a framework do when it differentiates?", "basis", (), 3),
    1: Lesson("01_ste_spsa_fogzo", "STE, n-SPSA, FOGZO",
              "What does each estimator see on a loss made of steps?", "basis", (0,), 3),
    2: Lesson("02_compute_796x", "796 times less?",
              'Where does "796 times less computation" come from, and does it hold?',
              "practice", (1,), 5),
    3: Lesson("03_quantisers_and_surrogates", "Quantisers and surrogates",
              "What do the hand-designed quantisers and surrogates have in common?",
              "method", (1,), 1),
    4: Lesson("04_binary_cnn", "A binary CNN",
              "How does a convolutional network with binary weights learn?", "method", (1,), 0),
    5: Lesson("05_learned_gradients", "Learned gradients",
              "What does a network that generates gradients learn?", "method", (4,), 0),
    6: Lesson("06_proxquant", "ProxQuant",
              "Why do BinaryConnect's signs never rest, and ProxQuant's do?", "method", (3,), 1),
    7: Lesson("07_finite_sample_ste", "How many samples?",
              "How many samples does a straight-through estimator need?", "theory", (1,), 3),
    8: Lesson("08_smoothing_and_bias", "Smoothing and bias",
              "What does a random perturbation smooth?", "theory", (1,), 2),
    9: Lesson("09_numpy_to_cupy", "From NumPy to CuPy",
              "How does one source run on both, and when does a GPU pay?", "practice", (1,), 6),
    10: Lesson("10_write_your_own_estimator", "Write your own rule",
               "Is my own rule better than the STE, and how sure am I?", "practice", (1,), 4),
    11: Lesson("11_attention_in_two_bits", "Attention in two bits",
               "How is a transformer made by hand, and what do two bits cost it?",
               "method", (3,), 2),
}  # fmt: skip
