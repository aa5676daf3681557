"""What becomes of work whose disk is full, whose folder vanishes, or that is killed."""
