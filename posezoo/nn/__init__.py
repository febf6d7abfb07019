"""The networks and their mathematics: the contract of models, heads, hypernetworks, backbones, losses, geometry."""
