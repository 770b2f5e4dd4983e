"""Help in a workshop, on the notebook's side: asks the workshop's helpers, and sends them a notebook.

Asking for help is called raising the person's hand. Saved states of the notebook are sent while the person lets helpers
see it.
"""
