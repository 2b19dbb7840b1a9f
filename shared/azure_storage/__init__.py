"""The app's own storage account: connection, leases, checkpoints, queue."""
