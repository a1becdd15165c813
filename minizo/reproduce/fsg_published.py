"""Published numbers of MetaQuant and FSG, as text beside what `minizo.reproduce.fsg` measures.

References
----------
X. Chen, J. Gao, B. Qi, D. Li, Y. Luo, F. Li, P. Li, "Fast and slow gradient approximation for
binary neural network optimization", AAAI 2025, tables 2, 3 and 5, figure 2.
S. Chen, W. Wang, S. J. Pan, "MetaQuant", NeurIPS 2019: raw logs published with its code, summarised
here as the mean of the last ten epochs' test accuracies over the trials.
"""

from .. import report

# (network, optimiser) -> test accuracy in per cent by method
FSG_TABLE_2 = {
    ("ResNet-56", "SGD"): {"STE": 42.27, "FCGrad": 63.25, "LSTMFC": 62.95, "FSG": 64.02},
    ("ResNet-56", "Adam"): {"STE": 64.78, "FCGrad": 66.56, "LSTMFC": 66.30, "FSG": 69.48},
    ("ResNet-110", "SGD"): {"STE": 43.42, "FCGrad": 65.15, "LSTMFC": 64.75, "FSG": 65.23},
    ("ResNet-110", "Adam"): {"STE": 66.84, "FCGrad": 68.74, "LSTMFC": 67.14, "FSG": 68.15},
}
METAQUANT_LOGS = {
    ("ResNet-56", "SGD"): {"STE": 42.27, "FCGrad": 64.35, "LSTMFC": 63.65, "MultiFC": 65.79},
    ("ResNet-56", "Adam"): {"STE": 66.42, "FCGrad": 66.56, "LSTMFC": 66.48, "MultiFC": 66.59},
    ("ResNet-110", "SGD"): {"STE": 43.42, "FCGrad": 66.15, "LSTMFC": 64.75, "MultiFC": 68.27},
    ("ResNet-110", "Adam"): {"STE": 66.84, "FCGrad": 68.74, "LSTMFC": 67.14, "MultiFC": 68.42},
}
WARNINGS = """\
Read them with care. The SGD rows use one learning rate, 0.001, without momentum, for the STE and
for everything else: what the learned methods gain there is what a larger step would gain. Under
Adam the gain over the STE in MetaQuant's logs is 0.1 to 0.2 points with ResNet-56 and 0.3 to 1.9
with ResNet-110. Of FSG's "+-" of the compared methods most equal the variances of MetaQuant's logs,
so those rows may not be runs of FSG's authors. FSG's ResNet-56 with Adam is 69.48 in tables 2 and 5
and 68.04 in table 3; FCGrad's is 66.56 and 67.86. FSG is not the best with ResNet-110 and Adam.
Seconds an epoch (table 5): STE 42.28, fast-net 61.26 (1.4 times), fast and slow 196.47 (4.6 times).
Best beta 0.3 of .1 to .9, best l 6 of 3 to 7 (figure 2, no numbers given)."""


def text():
    """The tables and the warnings."""
    methods = ["STE", "FCGrad", "MultiFC", "LSTMFC", "FSG"]
    rows = []
    for source, table in (("FSG, table 2", FSG_TABLE_2), ("MetaQuant's logs", METAQUANT_LOGS)):
        for (network, optimizer), found in table.items():
            cells = [f"{found[name]:.2f}" if name in found else "-" for name in methods]
            rows.append([source, network, optimizer, *cells])
    table = report.table(["CIFAR-100, test accuracy, %", "network", "optimiser", *methods], rows)
    return f"{table}\n\n{WARNINGS}"
