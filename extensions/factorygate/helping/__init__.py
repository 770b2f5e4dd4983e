"""Help in a workshop, on the notebook's side: raises a hand, and sends a saved notebook while its person agrees."""
