"""Generated videos: those of the demo, and edited videos to train the bundled model on."""
