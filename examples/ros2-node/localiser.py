"""A ROS 2 node: images in, camera poses out. See README.md."""

import math

import numpy as np
import rclpy
from geometry_msgs.msg import PoseWithCovarianceStamped
from PIL import Image as Picture
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

import posezoo
from posezoo.zoo.stream import predict_pictures

NINE_OF_TEN = 2.5003  # deviations within which nine of ten draws of a Gaussian in three dimensions lie
ORDER = {"rgb8": (0, 1, 2), "bgr8": (2, 1, 0), "mono8": (0, 0, 0)}


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
        # one image waits at most: a pose of a second ago helps nobody
        self.create_subscription(Image, self.text("topic"), self.answer, qos_profile_sensor_data)

    def text(self, name: str) -> str:
        return str(self.get_parameter(name).value)

    def answer(self, image: Image) -> None:
        """Publish the pose of one image."""
        if image.encoding not in ORDER:
            self.get_logger().error(f"encoding {image.encoding} is not one of {', '.join(ORDER)}")
            return
        channels = 1 if image.encoding == "mono8" else 3
        rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)[:, : image.width * channels]
        pixels = rows.reshape(image.height, image.width, channels)[:, :, ORDER[image.encoding]]
        poses = predict_pictures(self.model, [Picture.fromarray(np.ascontiguousarray(pixels))])
        found = PoseWithCovarianceStamped()
        found.header.stamp, found.header.frame_id = image.header.stamp, self.text("frame")
        position, orientation = found.pose.pose.position, found.pose.pose.orientation
        position.x, position.y, position.z = poses.position[0].tolist()
        orientation.w, orientation.x, orientation.y, orientation.z = poses.quaternion[0].tolist()
        metres, degrees = self.deviations(poses)
        if math.isinf(metres):
            self.get_logger().warning("unfamiliar image: no pose", throttle_duration_sec=5.0)
            return
        found.pose.covariance = np.diag([metres**2] * 3 + [math.radians(degrees) ** 2] * 3).ravel().tolist()
        self.publisher.publish(found)

    def deviations(self, poses: posezoo.Poses) -> tuple[float, float]:
        """Of one axis, in metres and degrees: by the pose's radii, or as set where the model is not calibrated."""
        if poses.radius_m is None or poses.radius_deg is None:
            return float(self.get_parameter("sigma_m").value), float(self.get_parameter("sigma_deg").value)
        return float(poses.radius_m[0]) / NINE_OF_TEN, float(poses.radius_deg[0]) / NINE_OF_TEN


def main() -> None:
    """Run the node."""
    rclpy.init()
    try:
        rclpy.spin(Localiser())
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
