"""The end of a workshop: its report, certificates of attendance, more time, and what is kept of its people."""
