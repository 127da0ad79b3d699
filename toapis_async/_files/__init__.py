"""Pictures on disk, on their way up and down."""
