"""What all packages share: errors, poses, specs of plugins, hooks, observers. No torch."""
