"""How many samples does a straight-through estimator need? Experiments B-1 to B-9.

The question, and the finding that label noise makes the iterates leave the optimum and return, are
those of Jeong, Xin and Yin, "Beyond discreteness: finite-sample analysis of straight-through
estimator for quantization", arXiv 2505.18113, 2025 (its second version: "sample complexity analysis
of straight-through estimator for 1-bit quantization"), which is known here by its abstracts and by
third parties' reports of its rates, n^2 and n^4. The closed forms in `closed_forms` are lemmas of
Yin et al., ICLR 2019. The model in `model` and Propositions 1 to 5 in `predictions` are this
package's own; every claim of an experiment says whose it is.

    closed_forms   population gradients of a two-layer network       lemmas       B-1
    model          the binary neuron, its samples and its runs       one_step     B-2
    runs           what is counted along a run                       recovery     B-3
    predictions    Propositions 1 to 5                               bounds       B-4, B-5
    shapes         inputs that are not N(0, I), and their mending    recurrence   B-6, B-7
                                                                     inputs       B-8
                                                                     teacher      B-9

`python -m minizo.lab B` runs them.
"""
