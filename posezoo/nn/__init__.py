"""The mathematics: the contract of models, heads, hypernetworks, backbones, losses, geometry."""
