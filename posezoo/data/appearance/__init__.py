"""Pictures of a data set under another appearance, with their original poses: weather, camera faults, seasons.

    corrupt.corrupt(...)    fog, snow, night, rain, blur, occlusion in five severities, without a generative model
    redraw.make_ecl(...)    redrawn by InstructPix2Pix, as Extended Cambridge Landmarks was made

Both write a `tree.Tree`: pictures by condition, poses.csv, and a card that says how each picture was made.
"""
