"""AtLoc (Wang 2020): the plugin's specs. Importing this imports no torch."""

from posezoo.plugin import ModelSpec, hookimpl


@hookimpl
def posezoo_models() -> tuple[ModelSpec, ...]:
    return (
        ModelSpec(
            name="atloc",
            build="posezoo_atloc.model:AtLoc",
            config="posezoo_atloc.model:AtLocConfig",
            summary="pooled ResNet-34 with self-attention over the feature vector",
            paper="Wang et al., AtLoc: Attention Guided Camera Localization, AAAI 2020",
            converters={
                "atloc": "posezoo_atloc.convert:authors",
                "hyperatloc": "posezoo_atloc.convert:authors",
                "hyperpose": "posezoo_atloc.convert:hyperpose",
            },
        ),
    )
