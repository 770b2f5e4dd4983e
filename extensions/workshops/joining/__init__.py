"""How people come into a workshop: by a code, or because a trainer adds them."""
