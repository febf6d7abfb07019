"""PoseNet-style regression (Kendall 2015, 2017): the plugin's specs. Importing this imports no torch."""

from posezoo.plugin import ModelSpec, hookimpl


@hookimpl
def posezoo_models() -> tuple[ModelSpec, ...]:
    return (
        ModelSpec(
            name="posenet",
            build="posezoo_posenet.model:PoseNet",
            config="posezoo_posenet.model:PoseNetConfig",
            summary="pooled backbone, one shared hidden layer, two linear heads",
            paper="Kendall et al., ICCV 2015 and CVPR 2017; the baseline of HyperPose, CVPR 2025",
            converters={
                "hyperpose": "posezoo_posenet.convert:authors",
                "ms-transformer": "posezoo_posenet.convert:authors",
            },
        ),
    )
