"""W&B's media objects without the SDK: tables, images, HTML and histograms, in artifacts and in runs."""
