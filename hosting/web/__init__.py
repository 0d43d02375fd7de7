"""What the web application adds to its routes."""
