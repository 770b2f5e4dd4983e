"""People and projects: who may use what, under which site account, and how much was used."""
