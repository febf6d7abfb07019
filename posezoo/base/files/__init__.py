"""Files: tables, pictures, tensors, the hub, other projects' checkpoints, locks; written whole."""
