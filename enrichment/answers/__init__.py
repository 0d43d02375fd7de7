"""What goes out, to read at once or piece by piece."""
