"""Shapes and types that the maths promises, checked at run time (jaxtyping, beartype) while whole models run.

In a process of its own: the checks are put in when a module is imported, and torch.compile does not see through them.
"""

from __future__ import annotations

from another_python import run_python

CHECKED = ["nn.geometry", "nn.losses", "nn.heads", "nn.hyperhead", "nn.transforms", "evaluation.metrics"]
SETUP = f"""
import sys
from jaxtyping import install_import_hook
install_import_hook([f"posezoo.{{name}}" for name in {CHECKED}], "beartype.beartype")
import torch
from posezoo.evaluation import metrics
from posezoo.nn import geometry, losses
from posezoo.zoo.build import create_model
torch.set_num_threads(1)
"""
RUN = """
small = {"backbone": "test_efficientnet.r160_in1k", "pretrained_backbone": False, "resize": 64, "crop": 64}
of_model = {"posenet": {"hidden": 16}, "atloc": {"feature": 64}, "ms-transformer": {"width": 16, "feedforward": 16}}
of_model["ms-transformer"] |= {"position_layers": 1, "orientation_layers": 1, "hidden": 16}
hyper = {"rank": 4, "code_position": 8, "code_orientation": 8}
infusions = ("", "+hyper=residual", "+hyper=single", "+hyper=two")
for arch, more in of_model.items():
    for infusion, rotation in zip(infusions, geometry.NUMBERS, strict=True):
        more = {**small, **more, "rotation": rotation, "scenes": ("a", "b")} | ({"hyper": hyper} if infusion else {})
        model = create_model(arch + infusion, **more)
        images_BCHW = model.prepare(torch.randint(0, 256, (4, 3, 64, 80), dtype=torch.uint8))
        scene_B, truth_B4 = torch.tensor([0, 1, 1, 0]), geometry.unit(torch.randn(4, 4)).double()
        output = model(images_BCHW, scene_B)
        kinds = [losses.PoseLoss(rotation, kind, tuple_length=2) for kind in losses.ROTATION_LOSSES]
        sum(loss(output, torch.zeros(4, 3).double(), truth_B4, scene_B).total for loss in kinds).backward()
        own = [output.position.detach().numpy(), output.quaternion.detach().double().numpy()]
        metrics.summarise(*metrics.pose_errors(*own, torch.zeros(4, 3).double().numpy(), truth_B4.numpy()))
print("ran", flush=True)
losses.norm(torch.zeros(2, 3, 4))
"""


def test_whole_models_keep_the_shapes_they_promise_and_a_wrong_one_is_seen() -> None:
    done = run_python(SETUP + RUN)
    assert done.stdout == "ran\n", done.stderr[-3000:]
    assert done.returncode
    assert "TypeCheckError" in done.stderr
