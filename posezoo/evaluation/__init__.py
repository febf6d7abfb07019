"""How good a model really is: errors, baselines, reports and figures.

evaluate.py   runs a model and the baselines over the same frames -> Report
results.py    what was measured: poses, errors, summaries by group
report.py     Report: notes, tables, files, figures
baselines.py  what needs no model: mean training pose, image retrieval, oracle
retrieval.py  the features that image retrieval compares
metrics.py    pose errors and their summary (numpy, float64)
intervals.py  intervals of medians over the frames of videos
statistics.py a data set in numbers, before any training
figures.py    trajectory and cumulative errors (matplotlib)
named.py      baselines by name, as reports of their own
cost.py       milliseconds, parameters, bytes
compare.py    models on the same images, paired
calibration.py radii that hold, from images held apart
uncertainty.py what radii are worth: coverage, AUSE, rank correlation
page.py       report.html and report.md (templates/), LaTeX, CSV
stored.py     a report's measurements, to be read again
files.py      texts of the report's files
"""
