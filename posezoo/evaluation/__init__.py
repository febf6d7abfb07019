"""How good a model really is: errors, baselines, reports and figures.

evaluate.py   runs a model and the baselines over the same frames -> Report
report.py     Report: tables, warnings, files
baselines.py  what needs no model: mean training pose, image retrieval, oracle
metrics.py    pose errors and their summary (numpy, float64)
statistics.py a data set in numbers, before anybody trains
figures.py    trajectory and cumulative errors (matplotlib)
"""
