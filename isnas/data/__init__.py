"""Image sets in memory: datasets and their files, splits by purpose, batches augmented on the device."""
