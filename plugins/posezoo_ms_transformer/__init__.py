"""MS-Transformer (Shavit, Ferens and Keller 2021): the plugin's specs. Importing this imports no torch."""

from posezoo.plugin import ModelSpec, hookimpl


@hookimpl
def posezoo_models() -> tuple[ModelSpec, ...]:
    return (
        ModelSpec(
            name="ms-transformer",
            build="posezoo_ms_transformer.model:MSTransformer",
            config="posezoo_ms_transformer.model:MSTransformerConfig",
            summary="two transformers with one query a scene: many scenes in one model",
            paper="Shavit, Ferens, Keller, Learning Multi-Scene Absolute Pose Regression with Transformers, ICCV 2021",
            as_published="posezoo_ms_transformer.as_published:as_published",
            converters={
                "ms-transformer": "posezoo_ms_transformer.convert:authors",
                "hyperpose": "posezoo_ms_transformer.convert:authors",
            },
        ),
    )
