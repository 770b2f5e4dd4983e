"""The PBS dialect: makes the commands and the batch script for PBS, and parses PBS' output."""
