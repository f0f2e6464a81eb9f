"""The page a run is looked at on: one file, its style and its drawing inside it, nothing fetched from anywhere."""
