"""Training: configuration, the loop, checkpoints and the run folder.

config.py      settings and recipes -> TrainConfig and the model's blueprint
setup.py       data, model, loss, optimiser, precision
train.py       the loop; `train` and `resume`
checkpoint.py  the store that survives a kill at any moment
run.py         the run folder: lock, config.toml, metrics.jsonl
"""
