"""Charts as pictures, drawn by a separate process."""
