"""Files of other kinds than ours: tables, pictures, tensors, the hub, pickles; written whole."""
