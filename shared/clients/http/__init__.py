"""One HTTP call, its errors, and the links that answers give."""
