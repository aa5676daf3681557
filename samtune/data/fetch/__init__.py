"""Known data sets: from their published archives to a folder that samtune trains on."""
