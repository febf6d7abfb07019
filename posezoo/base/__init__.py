"""What all rooms share: errors, poses, specs of plugins, hooks, observers. No torch."""
