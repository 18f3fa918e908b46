"""Fits a body to key points: from the 3-D positions of cameras to joint angles."""
