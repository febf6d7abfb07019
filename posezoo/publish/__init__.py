"""Publishing trained models: cards, the push to the hub, and building the models of the catalogue.

card.py    the card of a run, a folder or an alias
push.py    a model folder to a repository of the hub
build.py   an alias from its recipe to its published, pinned entry
"""
