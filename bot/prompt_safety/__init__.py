"""Which words may not be painted: what no setting allows, and the list of terms that moderators of a server keep.

Everything here is pure. `fold.py` undoes spelling tricks, `terms.py` finds terms in what is left, `block.py` is the
hard block, and `data/` has its words. `bot.policy.policy` calls it, for every request and again when its turn comes.
"""
