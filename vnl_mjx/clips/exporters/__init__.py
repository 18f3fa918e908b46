"""Writers of clips in the layouts that other packages read."""
