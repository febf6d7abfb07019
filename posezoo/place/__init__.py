"""From somebody's videos or photographs of a place to a data set: frames, structure from motion, metres, a report."""
