"""People and projects: who may use what, under which site account, and the use of budgets."""
