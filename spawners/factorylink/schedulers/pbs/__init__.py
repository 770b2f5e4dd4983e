"""The PBS dialect."""
