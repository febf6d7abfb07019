"""Training: configuration, the loop, checkpoints and the run folder.

train.py       the entry points: `train`, `start`, `resume`
config.py      settings and recipes -> TrainConfig and the model's blueprint
setup.py       data, model, loss, optimiser, precision
loop.py        phases of epochs of steps, then the report
phase.py       what learns in a phase, and a step of it
selection.py   validation, and the best epoch
saving.py      the state of a run, and when it is saved
checkpoint.py  the store that survives a kill at any moment
run.py         the run folder: lock, config.toml, metrics.jsonl
again.py       evaluate a run, a saved model or an alias
radii.py       how far off poses may be, at the end of a run
calibrate.py   the same for a trained model
"""
