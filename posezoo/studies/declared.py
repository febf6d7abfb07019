"""The studies by name: what each needs and where it is. No torch: the command line and its help read this."""

from __future__ import annotations

from dataclasses import dataclass

from posezoo.base.errors import unknown_name


@dataclass(frozen=True)
class Declared:
    """A study."""

    name: str
    summary: str
    """What comes out."""
    run: str
    """module:function, called with (request, options, observer); the function's module has a dataclass `Options`."""
    example: str
    """Words after `posezoo study NAME`."""
    grid: str = "study"
    """The grid of the catalogue that is trained where no models are named."""
    data: str = "demo-loop"


STUDIES = {
    study.name: study
    for study in (
        Declared(
            "appearance",
            "What another look of the same views costs each model: paired drops by condition (HyperPose's Table 1).",
            "posezoo.studies.appearance:study",
            "--data demo-loop --seeds 0,1,2 epochs=10",
        ),
        Declared(
            "robustness",
            "Errors under fog, snow, night, rain, blur and occlusion of growing severity, and a picture of all.",
            "posezoo.studies.robustness:study",
            "posenet-anchors-demo atloc-anchors-hyper-demo --data demo-loop study.severities=[1,3,5]",
        ),
        Declared(
            "occlusion",
            "Errors while an object passes in front of the camera and hides up to 60 % of the picture (Figure 5).",
            "posezoo.studies.occlusion:study",
            "--data demo-loop --seeds 0,1,2 epochs=10",
        ),
    )
}


def declared(name: str) -> Declared:
    """The study called so. Raises UsageError with near names."""
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES, f"one of {', '.join(STUDIES)}")
    return STUDIES[name]
