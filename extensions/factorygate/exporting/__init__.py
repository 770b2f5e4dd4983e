"""A folder of a person as a zip, made while it is downloaded: nothing is written to the disk, which may be full."""
