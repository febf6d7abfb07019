"""A user's script: train, evaluate, load, predict, list, export. Checked by type checkers, not run."""

from __future__ import annotations

from pathlib import Path

import torch

import posezoo


def infused(model: str) -> list[str]:
    """The variants of an architecture that have a hypernetwork, those of plugins included."""
    broken = [plugin.name for plugin in posezoo.list_plugins() if plugin.error]
    print(posezoo.__version__, "switched off:", ", ".join(broken))
    return [name for name in posezoo.list_models(f"{model}*") if "+hyper" in name]


def trained(data: str, out: Path, root: str | Path | None = None) -> Path:
    """The run folder of a small infused model."""
    if data not in posezoo.list_datasets():
        print(posezoo.how_to(data))
    run = posezoo.train("atloc+hyper", data=data, root=root, out=str(out), epochs=5, seed=1, hyper={"rank": 64})
    print(f"{run.seconds:.0f} s in {run.path}, on {run.report.data}")
    report = posezoo.evaluate(run, data=data, root=root, subset="test")
    medians = {name: float(position.mean()) for name, (position, _) in report.errors.items()}
    print(min(medians, key=lambda name: medians[name]), report.scene_accuracy)
    return posezoo.resume(run.path).path


def predicted(name: str | Path, images: list[Path], device: str = "cpu") -> str:
    """The images' poses, one line each."""
    model = posezoo.load(name, device=torch.device(device))
    kept: posezoo.PoseModel = model.eval()
    poses = kept.predict([*images], batch_size=8)
    assert poses.matrix().shape == (len(poses), 4, 4)
    poses.plot(Path("seen.png"))
    east = [float(x) for x in poses.position[:, 0]]
    return poses.to_tum() + f"# from {min(east):.1f} to {max(east):.1f}\n"


def pose_of_noise() -> torch.Tensor:
    """What an untrained model says."""
    model: posezoo.PoseModel = posezoo.create_model("ms-transformer+hyper=two", pretrained_backbone=False)
    images_BCHW = torch.randint(0, 256, (2, 3, 256, 320), dtype=torch.uint8)
    output = model.eval()(model.prepare(images_BCHW))
    quaternion: torch.Tensor = output.quaternion
    if isinstance(model.position_head, posezoo.HyperHead):
        print(model.position_head.widths, model.config.crop)
    written: posezoo.Export = posezoo.export("posenet-anchors-demo", to="onnx", out="posenet.onnx")
    light: posezoo.ExportedModel = posezoo.load(written.path, exported=True)
    print(light.name)
    return quaternion
