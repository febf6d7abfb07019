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
    goes_on: bool = False
    """Whether it trains models further that are trained already; others take these as they are."""


STUDIES = {
    study.name: study
    for study in (
        Declared(
            "appearance",
            "What another look of the same views costs each model: paired drops by condition (supplement, Table 1).",
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
        Declared(
            "trajectory",
            "Predicted against true paths, several models on the same axes, each test sequence by itself (Figure 2).",
            "posezoo.studies.trajectory:study",
            "posenet-anchors-demo atloc-anchors-hyper-demo --data demo-loop",
        ),
        Declared(
            "weights",
            "Whether embeddings and generated weights gather by place or by appearance, and how far the neighbour under"
            " other light is (Figure 3).",
            "posezoo.studies.weights:study",
            "atloc-anchors-hyper-demo posenet-anchors-demo --data demo-loop study.places=[6,4,12]",
        ),
        Declared(
            "attention",
            "Where models look: saliency of any model, attention maps of those that have some, as overlays.",
            "posezoo.studies.attention:study",
            "atloc ms-transformer --data demo-loop --seeds 0 epochs=10",
        ),
        Declared(
            "few-shot",
            "A scene that was left out, learned from 5 to 75 % of its images, and what the old scenes lose (Figure 6).",
            "posezoo.studies.few_shot:study",
            "--data demo-places --seeds 0 epochs=10 study.fractions=[0.1,0.5] study.epochs=[2,5]",
            grid="few-shot",
            data="demo-places",
            goes_on=True,
        ),
        Declared(
            "size",
            "Accuracy against parameters, and the size of each generated layer (section 8 of the supplement).",
            "posezoo.studies.size:study",
            "--data demo-loop --seeds 0,1,2 epochs=10",
            grid="size",
        ),
        Declared(
            "error-map",
            "Where along the path one model is better than another: a map, and by condition and difficulty (Figure 4).",
            "posezoo.studies.error_map:study",
            "posenet-anchors-demo atloc-anchors-hyper-demo --data demo-loop",
        ),
        Declared(
            "ablation",
            "A table of the paper, 3 to 7, cell against cell; study.grid=NAME takes any other grid.",
            "posezoo.studies.ablation:study",
            "--data demo-loop --seeds 0 study.table=4 epochs=5",
            grid="paper/table-4",
        ),
    )
}


def declared(name: str) -> Declared:
    """The study called so. Raises UsageError with near names."""
    if name not in STUDIES:
        raise unknown_name("study", name, STUDIES, f"one of {', '.join(STUDIES)}")
    return STUDIES[name]
