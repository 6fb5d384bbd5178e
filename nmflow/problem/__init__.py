"""What is asked: patterns, scores, ties, and any framework's weights as tiles."""
