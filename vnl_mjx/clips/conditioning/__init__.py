"""From poses as they were recorded to poses to learn from: one module for each step."""
