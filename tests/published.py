"""The published recipes as their sources state them: constants, never read from our registry.

    paper      HyperPose (Ferens and Keller, CVPR 2025), AtLoc (Wang et al., AAAI 2020) or MS-Transformer (Shavit et
               al., ICCV 2021), whichever the recipe is of, with supplement
    readme     what the authors' readme says to run
    settings   what their published settings and weights show
    not stated none of these says it

`docs/reference/published-recipes.md` shows every row beside ours; tests/test_published_recipes.py compares all three.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Rows = dict[str, tuple[Any, str]]
"""Setting -> (published value, source)."""


class Published(NamedTuple):
    """One recipe for one model on one kind of data."""

    title: str
    model: str
    data: str
    recipe: str
    rows: Rows
    aliases: tuple[str, ...] = ()
    """The start of the names of the aliases that it trains."""


PAPER, README, SETTINGS, SILENT = "paper", "readme", "settings", "not stated"
THREE_PHASES = "all {0}; position {0}, weights (1, 0); orientation {0}, weights (0, 1)"

# what is alike in HyperPose and MS-Transformer: one code base
FERENS: Rows = {
    "resize": (256, PAPER),
    "crop": (224, PAPER),
    "normalise_pixels": ("backbone", SETTINGS),
    "normalise_position": (False, SETTINGS),
    "batch_size": (8, PAPER),
    "optim.name": ("adam", PAPER),
    "optim.lr": (1e-4, PAPER),
    "optim.betas": ((0.9, 0.999), PAPER),
    "optim.eps": (1e-10, PAPER),
    "optim.weight_decay": (1e-4, PAPER),
    "optim.schedule": ("step", PAPER),
    "optim.warmup_epochs": (0.0, SILENT),
    "optim.clip": (float("inf"), SILENT),
    "loss.rotation": ("quaternion", PAPER),
    "loss.position": ("l2", PAPER),
    "loss.unit": ("metre", PAPER),
    "loss.balance_lr": (1e-4, SETTINGS),
    "loss.balance_decay": (True, SETTINGS),
    "augment.geometry": ("crop", PAPER),
    "rotation": ("quaternion", PAPER),
}
B0: Rows = {
    "backbone": ("tf_efficientnet_b0.in1k", PAPER),
    "drop_path": (0.2, SETTINGS),
    "batch_norm_momentum": (0.01, SETTINGS),
}
POSENET: Rows = {**B0, "hidden": (1024, PAPER), "dropout": (0.1, PAPER), "init": ("published", SETTINGS)}
ATLOC: Rows = {
    "backbone": ("resnet34.tv_in1k", PAPER),
    "feature": (2048, PAPER),
    "dropout": (0.5, PAPER),
    "drop_path": (0.0, SETTINGS),
    "batch_norm_momentum": (None, SETTINGS),
    "init": ("published", SETTINGS),
}
MS: Rows = {
    **B0,
    "heads": (8, SETTINGS),
    "hidden": (1024, PAPER),
    "dropout": (0.1, PAPER),
    "shared_heads": (True, SETTINGS),
    "init": ("published", SETTINGS),
}
ONE_LAYER: Rows = {  # HyperPose on PoseNet and AtLoc
    "hyper.infusion": ("residual", PAPER),
    "hyper.condition": ("image", PAPER),
    "hyper.input": ("image", PAPER),
    "hyper.code_position": (256, PAPER),
    "hyper.code_orientation": (512, PAPER),
    "hyper.hidden_position": ((), PAPER),
    "hyper.hidden_orientation": ((), PAPER),
    "hyper.rank": (None, PAPER),
    "hyper.init": ("paper", SETTINGS),
    "hyper.paper_init": ("kaiming", SETTINGS),
}
THREE_LAYERS: Rows = {
    **ONE_LAYER,
    "hyper.condition": ("image+latent", PAPER),
    "hyper.input": ("latent", PAPER),
    "hyper.code_orientation": (256, SETTINGS),
    "hyper.hidden_position": ((256, 128), PAPER),
    "hyper.hidden_orientation": ((512, 512), PAPER),
    "hyper.paper_init": ("torch", SETTINGS),
}
STILL: Rows = {f"augment.{key}": (0.0, PAPER) for key in ("brightness", "contrast", "saturation", "hue")}
# the paper varies three of them; the authors' code the hue too
VARIED: Rows = {
    **{f"augment.{key}": (0.5, PAPER) for key in ("brightness", "contrast", "saturation")},
    "augment.hue": (0.2, SETTINGS),
}
TEST: Rows = {"selection": ("test", SETTINGS), "precision": ("fp32", SILENT)}


def hyperpose(indoor: bool, epochs: int, step: int) -> Rows:
    """HyperPose's own rows: phases, steps, start of the balance, colours, frame of the labels."""
    return {
        **FERENS,
        **(STILL if indoor else VARIED),
        "phases": (THREE_PHASES.format(epochs), PAPER),
        "optim.step_epochs": (step, PAPER),
        "optim.gamma": (0.75, PAPER),
        "loss.start": ((0.0, 0.0) if indoor else (-3.0, -6.5), PAPER),
        "label_frame": ("camera-to-world" if indoor else "world-to-camera", SETTINGS),
        **TEST,
    }


LAYERS_44: Rows = {"position_layers": (4, SETTINGS), "orientation_layers": (4, SETTINGS)}

BINGCS: Rows = {  # AtLoc's own code, and HyperAtLoc's on RobotCar
    **ATLOC,
    "rotation": ("log-quaternion", PAPER),
    "resize": (256, PAPER),
    "crop": (256, PAPER),
    "normalise_pixels": ("data", SETTINGS),
    "normalise_position": (True, SETTINGS),
    "batch_size": (64, PAPER),
    "optim.name": ("adam", PAPER),
    "optim.lr": (5e-5, PAPER),
    "optim.betas": ((0.9, 0.999), SETTINGS),
    "optim.eps": (1e-8, SETTINGS),
    "optim.weight_decay": (5e-4, PAPER),
    "optim.schedule": ("constant", SETTINGS),
    "optim.warmup_epochs": (0.0, SILENT),
    "optim.clip": (float("inf"), SILENT),
    "loss.rotation": ("log-mean", SETTINGS),
    "loss.position": ("l1-mean", SETTINGS),
    "loss.unit": ("deviation", SETTINGS),
    "loss.start": ((0.0, -3.0), PAPER),
    "loss.balance_lr": (5e-5, SETTINGS),
    "loss.balance_decay": (True, SETTINGS),
    "augment.geometry": ("crop", PAPER),
    **TEST,
}
ROBOTCAR: Rows = {
    **BINGCS,
    "phases": ("all 100", PAPER),
    **{f"augment.{key}": (0.7, PAPER) for key in ("brightness", "contrast", "saturation")},
    "augment.hue": (0.5, PAPER),
    "label_frame": ("body-to-world", SETTINGS),
}
MS_OWN: Rows = {**FERENS, **MS, "optim.gamma": (0.1, README), **TEST}

RECIPES = (
    Published(
        "HyperPose, one indoor scene", "posenet+hyper", "7scenes-chess", "paper-indoor",
        {**hyperpose(True, 100, 20), **POSENET, **ONE_LAYER}, ("posenet-7scenes-", "posenet-hyper-7scenes-"),
    ),
    Published(
        "HyperPose, one outdoor scene", "posenet+hyper", "cambridge-shop-facade", "paper-outdoor",
        {**hyperpose(False, 600, 200), **POSENET, **ONE_LAYER}, ("posenet-cambridge-", "posenet-hyper-cambridge-"),
    ),
    Published(
        "HyperAtLoc, one indoor scene", "atloc+hyper", "7scenes-chess", "paper-indoor",
        {**hyperpose(True, 100, 20), **ATLOC, **ONE_LAYER}, ("atloc-hyper-7scenes-",),
    ),
    Published(
        "HyperAtLoc, one outdoor scene", "atloc+hyper", "cambridge-shop-facade", "paper-outdoor",
        {**hyperpose(False, 600, 200), **ATLOC, **ONE_LAYER}, ("atloc-cambridge-", "atloc-hyper-cambridge-"),
    ),
    Published(
        "MS-HyperPose on 7Scenes", "ms-transformer+hyper", "7scenes", "paper-multi-indoor",
        {**hyperpose(True, 30, 10), **MS, **LAYERS_44, **THREE_LAYERS}, ("ms-hyperpose-7scenes",),
    ),
    Published(
        "MS-HyperPose on Cambridge", "ms-transformer+hyper", "cambridge", "paper-multi-outdoor",
        {**hyperpose(False, 600, 200), **MS, **LAYERS_44, **THREE_LAYERS}, ("ms-hyperpose-cambridge",),
    ),
    Published(
        "AtLoc on RobotCar", "atloc", "robotcar-loop", "paper-robotcar",
        ROBOTCAR, ("atloc-robotcar-",),
    ),
    Published(
        "AtLoc+ on RobotCar", "atloc.plus", "robotcar-loop", "paper-robotcar",
        {**ROBOTCAR, "tuple_length": (3, PAPER), "tuple_gap": (10, PAPER)},
    ),
    Published(
        "HyperAtLoc on RobotCar", "atloc+hyper", "robotcar-loop", "paper-robotcar",
        {**ROBOTCAR, **ONE_LAYER}, ("atloc-hyper-robotcar-",),
    ),
    Published(
        "AtLoc on 7Scenes", "atloc", "7scenes-chess", "paper-atloc-7scenes",
        {
            **BINGCS, **{key: (value, SETTINGS) for key, (value, _) in STILL.items()},
            "phases": ("all 100", SILENT),
            "loss.unit": ("deviation", SILENT), "normalise_position": (True, SILENT),
            "label_frame": ("camera-to-world", SETTINGS),
        },
        ("atloc-7scenes-",),
    ),
    Published(
        "MS-Transformer on 7Scenes", "ms-transformer", "7scenes", "paper-ms-transformer-7scenes",
        {
            **MS_OWN, **STILL, "position_layers": (6, PAPER), "orientation_layers": (4, PAPER),
            "phases": ("all 30", README), "optim.step_epochs": (10, README), "loss.start": ((0.0, -3.0), README),
            "label_frame": ("camera-to-world", SETTINGS), "equalise_scenes": (False, README),
        },
        ("ms-transformer-7scenes",),
    ),
    Published(
        "MS-Transformer on Cambridge", "ms-transformer", "cambridge", "paper-ms-transformer-cambridge",
        {
            **MS_OWN, **VARIED, "position_layers": (6, PAPER), "orientation_layers": (6, PAPER),
            "phases": ("all 600, not augmented; position 60, weights (1, 0), a step every 20", README),
            "optim.step_epochs": (200, README), "loss.start": ((-3.0, -6.5), SILENT),
            "label_frame": ("world-to-camera", SETTINGS), "equalise_scenes": (True, README),
        },
        ("ms-transformer-cambridge",),
    ),
)  # fmt: skip

OTHERWISE: dict[tuple[str, Any], Any] = {("selection", "test"): "validation", ("augment.hue", 0.2): 0.0}
"""(Setting, published value) -> what our recipes have instead, on purpose; the page says why."""
