"""Choice of the parts of a video that a summary keeps."""
