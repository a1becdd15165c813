"""The command line: what the commands share.

shell       errors that end in one sentence and a code; the parser of every command
completion  what a shell is answered after a tab
flags       the flags of the training commands
parts       a part and its settings, ``fogzo:n=10,beta=.999``: read, checked, built
own         a part from a user's own file, ``my_rule.py:MyRule,n=10``
explain     ``--help fogzo``
settings    one object for everything that a training command is told, from flags or a file
cases       what is compared: every combination of parts, with names that tell them apart
running     the cases trained, one after the other or together; tables and files
training    a whole training command
"""

from .shell import Parser, guarded

__all__ = ["Parser", "guarded"]
