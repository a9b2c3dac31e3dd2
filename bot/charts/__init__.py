"""Charts as pictures, drawn by a process of their own."""
