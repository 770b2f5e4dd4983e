"""The steps of a workshop's material in a session: which there are, and which its person has done."""
