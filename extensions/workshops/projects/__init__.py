"""What workshops may use and what the link reads of them: the operator's pools, and the table of projects."""
