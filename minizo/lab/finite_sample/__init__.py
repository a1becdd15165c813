"""How many samples does a straight-through estimator need? Experiments B-1 to B-9.

The question, and the finding that label noise makes the iterates leave the optimum and return, are
those of Jeong, Xin and Yin, "Beyond discreteness: finite-sample analysis of straight-through
estimator for quantization", arXiv 2505.18113, 2025, which is known here by its abstracts and by
reports of its rates, n^2 and n^4. The closed forms in `closed_forms` are lemmas of Yin et al., ICLR
2019. The model in `model` and Propositions 1 to 5 in `predictions` are this package's own; every
claim of an experiment says whose it is.

    closed_forms   population gradients of a two-layer network       lemmas       B-1
    model          the binary neuron, its samples and its runs       one_step     B-2
    predictions    Propositions 1 to 5                               recovery     B-3
    shapes         inputs that are not Gaussian, and their mending   bounds       B-4, B-5
    experiments    the table, and the command                        recurrence   B-6, B-7
                                                                     inputs       B-8
                                                                     teacher      B-9
"""
