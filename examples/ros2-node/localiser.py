"""A ROS 2 node: images in, camera poses out. See README.md."""

import math
import sys

import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from PIL import Image as Picture
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

import posezoo
from posezoo.zoo.stream import predict_pictures

NINE_OF_TEN = 2.5003  # deviations within which nine of ten draws of a Gaussian in three dimensions lie
CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}
SELDOM_SECONDS = 5.0  # between two lines of the log about images


class Localiser(Node):
    """Publishes the pose of the camera for every image that it is in time for."""

    def __init__(self) -> None:
        super().__init__("posezoo_localiser")
        for name, value in (("model", ""), ("topic", "/camera/image_raw"), ("frame", "map"), ("device", "cpu")):
            self.declare_parameter(name, value)
        self.declare_parameter("sigma_m", 0.5)
        self.declare_parameter("sigma_deg", 5.0)
        self.model = posezoo.load(self.text("model"), device=self.text("device"))
        self.publisher = self.create_publisher(PoseWithCovarianceStamped, "~/pose", 1)
        # one image waits at most: a pose of a second ago helps nobody. Cameras that send reliably are heard too
        newest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, self.text("topic"), self.answer, newest)

    def text(self, name: str) -> str:
        return str(self.get_parameter(name).value)

    def answer(self, image: Image) -> None:
        """Publish the pose of one image."""
        try:
            picture = picture_of(image)
        except ValueError as error:
            self.get_logger().error(f"no pose: {error}", throttle_duration_sec=SELDOM_SECONDS)
            return
        poses = predict_pictures(self.model, [picture])
        metres, degrees = self.deviations(poses)
        if not (math.isfinite(metres) and math.isfinite(degrees)):
            self.get_logger().warning("unfamiliar image: no pose", throttle_duration_sec=SELDOM_SECONDS)
            return
        found = PoseWithCovarianceStamped()
        found.header.stamp, found.header.frame_id = image.header.stamp, self.text("frame")
        position, orientation = found.pose.pose.position, found.pose.pose.orientation
        position.x, position.y, position.z = poses.position[0].tolist()
        orientation.w, orientation.x, orientation.y, orientation.z = poses.quaternion[0].tolist()
        found.pose.covariance = np.diag([metres**2] * 3 + [math.radians(degrees) ** 2] * 3).ravel().tolist()
        self.publisher.publish(found)

    def deviations(self, poses: posezoo.Poses) -> tuple[float, float]:
        """Of one axis, in metres and degrees: by the pose's radii, or as set where the model is not calibrated."""
        if poses.radius_m is None or poses.radius_deg is None:
            return float(self.get_parameter("sigma_m").value), float(self.get_parameter("sigma_deg").value)
        return float(poses.radius_m[0]) / NINE_OF_TEN, float(poses.radius_deg[0]) / NINE_OF_TEN


def picture_of(image: Image) -> Picture.Image:
    """The message as a picture. Raises ValueError for what is none."""
    if image.encoding not in CHANNELS:
        raise ValueError(f"encoding {image.encoding!a} is not one of {', '.join(CHANNELS)}")
    channels = CHANNELS[image.encoding]
    if not image.height or not image.width or len(image.data) < image.height * image.step:
        raise ValueError(f"{len(image.data)} bytes for {image.width}x{image.height}")
    if image.step < image.width * channels:
        raise ValueError(f"rows of {image.step} bytes for {image.width} pixels in {image.encoding}")
    rows = np.frombuffer(image.data, np.uint8, image.height * image.step).reshape(image.height, image.step)
    pixels = rows[:, : image.width * channels].reshape(image.height, image.width, channels)
    order = [0, 0, 0] if channels == 1 else [2, 1, 0] if image.encoding.startswith("bgr") else [0, 1, 2]
    return Picture.fromarray(np.ascontiguousarray(pixels[:, :, order]))


def main() -> None:
    """Run the node until Ctrl-C, or until it is told to stop."""
    rclpy.init()
    try:
        rclpy.spin(Localiser())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except posezoo.PosezooError as error:  # of the parameters: no such model, no such device
        sys.exit(f"posezoo_localiser: {error}")
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
