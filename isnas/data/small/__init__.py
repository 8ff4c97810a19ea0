"""Images that are whole in memory, and batches of them made on the device."""
