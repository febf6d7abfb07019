"""As much of ROS 2 as the example node uses, for machines without it: written by its documentation, as strict as it is.

Messages have the fields of sensor_msgs, geometry_msgs, std_msgs and builtin_interfaces and refuse other ones and other
types, as rclpy's setters do; a parameter has the type of its default, and one that was not declared is refused. `spin`
gives the subscriptions the images of `rclpy.ARRIVING`, then ends as Ctrl-C does.
"""

from __future__ import annotations

from pathlib import Path

FILES = {
    "builtin_interfaces/msg/__init__.py": """
class Message:
    FIELDS = {}

    def __init__(self, **given):
        for name, kind in self.FIELDS.items():
            object.__setattr__(self, name, given.pop(name, None) or kind())
        assert not given, given

    def __setattr__(self, name, value):
        assert name in self.FIELDS, f"{type(self).__name__} has no field {name}"
        assert isinstance(value, self.FIELDS[name]), (name, type(value))
        object.__setattr__(self, name, value)


class Time(Message):
    FIELDS = {"sec": int, "nanosec": int}
""",
    "std_msgs/msg/__init__.py": """
from builtin_interfaces.msg import Message, Time


class Header(Message):
    FIELDS = {"stamp": Time, "frame_id": str}
""",
    "sensor_msgs/msg/__init__.py": """
from array import array

from builtin_interfaces.msg import Message
from std_msgs.msg import Header


class Octets(array):
    def __new__(cls, values=()):
        return super().__new__(cls, "B", values)


class Image(Message):
    FIELDS = {"header": Header, "height": int, "width": int, "encoding": str, "is_bigendian": int, "step": int,
              "data": Octets}
""",
    "geometry_msgs/msg/__init__.py": """
from builtin_interfaces.msg import Message
from std_msgs.msg import Header


class Point(Message):
    FIELDS = {"x": float, "y": float, "z": float}


class Quaternion(Message):
    FIELDS = {"x": float, "y": float, "z": float, "w": float}


class Pose(Message):
    FIELDS = {"position": Point, "orientation": Quaternion}


class PoseWithCovariance(Message):
    FIELDS = {"pose": Pose, "covariance": list}

    def __setattr__(self, name, value):
        assert name != "covariance" or (len(value) == 36 and all(isinstance(v, float) for v in value))
        super().__setattr__(name, value)


class PoseWithCovarianceStamped(Message):
    FIELDS = {"header": Header, "pose": PoseWithCovariance}
""",
    "rclpy/__init__.py": """
ARRIVING, PARAMETERS, NODES, ENDED = [], {}, [], []


def init():
    ENDED.clear()


def spin(node):
    for image in ARRIVING:
        for kind, _, callback, _ in node.subscribed:
            assert isinstance(image, kind)
            callback(image)
    raise KeyboardInterrupt


def try_shutdown():
    ENDED.append(True)
""",
    "rclpy/executors.py": "class ExternalShutdownException(Exception):\n    pass\n",
    "rclpy/qos.py": """
from dataclasses import dataclass
from enum import Enum


class ReliabilityPolicy(Enum):
    RELIABLE = 1
    BEST_EFFORT = 2


@dataclass(kw_only=True)
class QoSProfile:
    depth: int
    reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE
""",
    "rclpy/node.py": """
import rclpy


class Parameter:
    def __init__(self, value):
        self.value = value


class Logger:
    def __init__(self):
        self.lines = []

    def error(self, text, *, throttle_duration_sec=None):
        self.lines.append(("error", text, throttle_duration_sec))

    def warning(self, text, *, throttle_duration_sec=None):
        self.lines.append(("warning", text, throttle_duration_sec))


class Publisher:
    def __init__(self, kind, topic):
        self.kind, self.topic, self.sent = kind, topic, []

    def publish(self, message):
        assert isinstance(message, self.kind)
        self.sent.append(message)


class Node:
    def __init__(self, name):
        self.parameters, self.published, self.subscribed, self.log = {}, [], [], Logger()
        rclpy.NODES.append(self)

    def declare_parameter(self, name, value):
        given = rclpy.PARAMETERS.get(name, value)
        assert type(given) is type(value), f"parameter {name} is a {type(value).__name__}"
        self.parameters[name] = Parameter(given)

    def get_parameter(self, name):
        return self.parameters[name]

    def create_publisher(self, kind, topic, qos):
        self.published.append(Publisher(kind, topic))
        return self.published[-1]

    def create_subscription(self, kind, topic, callback, qos):
        self.subscribed.append((kind, topic, callback, qos))

    def get_logger(self):
        return self.log
""",
}
PACKAGES = ("builtin_interfaces", "std_msgs", "sensor_msgs", "geometry_msgs", "rclpy")


def write(folder: Path) -> None:
    """Write the packages to a folder that is then put on the path."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for package in PACKAGES:
        (folder / package / "__init__.py").touch()
