"""``python -m minizo.text``: a transformer with 2-bit weights that learns to write."""

import sys

from .commands import flags, training

DESCRIPTION = """\
Train a language model with quantised weights on Tiny Shakespeare, with each estimator in turn, and
compare them: validation loss in nats and in bits a character, perplexity, and what it cost. The
best of the quantised networks then writes 300 characters.

A PART is a name and its settings: --estimator fogzo:n=10,beta=.999 --quantizer lsq:bits=2. Several
are compared. --help fogzo says what fogzo does and takes, --help estimator which there are.

Without flags: a LLaMA of 2 layers, 64 wide, whose blocks have 2-bit weights, in full precision and
with three estimators, 1,500 steps of 16 sequences of 64 characters; --model lstm takes an LSTM.
Your own text: --data FILE, or a folder with train.txt and valid.txt, by characters or, --words
5000, by the 5,000 most frequent words. --data synthetic is a language that the package draws, whose
best possible loss is known. A finished run writes again with --resume RUN --sample 'ROMEO:'.
For a fair comparison, with rates of their own and intervals over seeds, python -m minizo.compare
--data tinyshakespeare --model llama --quantize 'layers.*' ... takes most of these flags."""

EPILOG = """\
Tiny Shakespeare is looked for in $MINIZO_DATA/tinyshakespeare, then in the user's cache, then
downloaded; where none of this works the command says so and draws a language of its own. Exit
codes: 0, 1 if a run diverged, 2 for bad input."""

DEFAULTS = {
    "data": "tinyshakespeare",
    "context": 64,
    "estimator": [
        "ste",
        "normalised-ste:over=quantized",
        "fogzo:n=1,beta=.99999,perturb=quantized",
    ],
    "full_precision": "yes",
    "model": "llama",
    "quantize": "layers.*",
    "optimizer": ["adamw:warmup=.07,floor=.1,clip=1"],
    "steps": 1500,
    "batch": 16,
}


def main(argv=None):
    """Run the command; returns its exit code."""
    return training.main("minizo.text", DESCRIPTION, EPILOG, DEFAULTS, argv, flags.TEXT)


if __name__ == "__main__":
    sys.exit(main())
