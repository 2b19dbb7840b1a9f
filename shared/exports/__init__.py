"""F&O to OneDrive: the steps of an export, its schedule, its delivery."""
