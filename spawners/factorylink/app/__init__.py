"""The link's process, and the module ``assembly``, which creates and connects the link's parts."""
