"""Images that no memory holds: read by workers, from folders or shards."""
