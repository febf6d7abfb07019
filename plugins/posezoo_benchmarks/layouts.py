"""Which files belong where, for `posezoo data how-to`. Text only: importing this imports no torch."""

SEVEN_SCENES = """\
SCENE/TrainSplit.txt, TestSplit.txt        lines `sequence1`, which is the folder seq-01
SCENE/seq-01/frame-000000.color.png        or .jpg copies; *.depth.png if wanted
SCENE/seq-01/frame-000000.pose.txt         4x4, camera-to-world, metres"""

CAMBRIDGE = """\
SCENE/dataset_train.txt, dataset_test.txt  three lines of header, then `seq1/frame00001.png X Y Z W P Q R`
SCENE/reconstruction.nvm                   focal lengths; without it intrinsics are unknown
SCENE/seq1/frame00001.png"""

ECL = """\
cambridge/SCENE/...                                    Cambridge Landmarks: training, and the original appearance
ecl/FLAVOUR/SCENE/seq1/frame00001_FLAVOUR.png
ecl/..._SCENE_test_FLAVOUR.csv                         label files, anywhere below ecl"""

ROBOTCAR = """\
SEQUENCE/stereo.timestamps                 SEQUENCE is a date, such as 2014-06-26-08-53-56
SEQUENCE/stereo/centre/TIME.png            raw images, as unpacked
SEQUENCE/gps/ins.csv
SEQUENCE/vo/vo.csv                         for poses=vo only"""

FOLDER = """\
poses.csv    image,x,y,z,qw,qx,qy,qz and, where known, scene, split, sequence, timestamp, condition, fx, fy, cx, cy
...          images, named in poses.csv relative to this folder
or groundtruth.txt (TUM) or poses.txt (KITTI, or 4x4 matrices) in place of poses.csv
calib.txt, calibration.txt or intrinsics.txt beside those: the camera"""

LABELS = """\
labels.csv   scene,split,seq,img_path,t1,t2,t3,q1,q2,q3,q4; q is (w, x, y, z)
...          images, relative to this file's folder or to root=PATH
say what q means: ?convention=camera-to-world or ?convention=world-to-camera"""

COLMAP = """\
cameras.bin, images.bin (or .txt)   here, in sparse/0 or in sparse
images/...                          or root=PATH
scale=2.4 sets the model's unit in metres"""

NERF = """\
transforms.json                     or transforms_train.json and transforms_test.json
...                                 images, named in it
scale=2.4 sets the file's unit in metres"""

ARKIT = """\
keyframes/images/TIME.jpg, keyframes/cameras/TIME.json    Polycam's raw data; corrected_... are preferred
or metadata.json and rgb/N.jpg (rgbd/N.jpg)               Record3D; a .r3d file is a zip file: unpack it
poses are ARKit's, in metres"""
