"""Mistakes that a type checker must find in a user's script, each on a line of its own. Checked, not run."""

from __future__ import annotations

import posezoo

posezoo.trian("atloc", data="demo-loop")  # wrong: no such name
posezoo.train("atloc", epochs=5)  # wrong: no data
posezoo.export("posenet-anchors-demo", to="tflite")  # wrong: no such format
posezoo.load("posenet-anchors-demo").predict(3)  # wrong: no image
head: posezoo.HyperHead = posezoo.create_model("atloc").position_head  # wrong: it may be a plain head
spec = posezoo.ModelSpec("name", build="a:B", config="a:C")  # wrong: no summary
count: int = posezoo.evaluate("RUN").scene_accuracy  # wrong: None, or a share
