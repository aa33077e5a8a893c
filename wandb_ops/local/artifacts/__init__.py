"""Artifacts and registries: versions, collections, contents, and the HTTP routes that move them."""
